"""Finds and reads the text file of each picture, beside it or in a folder of texts."""

import posixpath
from collections.abc import Iterable
from pathlib import Path

from stackgan_jax.data.folder import annotations
from stackgan_jax.data.folder.annotations import MAX_TEXT, Row, annotate
from stackgan_jax.data.folder.values import Unusable


def of_pictures(pictures: Iterable[str], files: Iterable[str]) -> dict[str, str]:
    """Returns picture → its text: `a/1.txt` or `a/1.json` of `a/1.jpg`, or `texts/1.txt`.

    A text of another folder is taken if the two paths differ in one folder only, no other text
    fits, and neither folder holds both pictures and texts.

    Args:
      pictures: paths below a folder.
      files: all paths below it.
    """
    texts = {}
    for suffix in (".json", ".txt"):  # a .txt counts before a .json
        texts |= {_stem(name): name for name in files if name.lower().endswith(suffix)}
    found = {name: texts[_stem(name)] for name in pictures if _stem(name) in texts}
    with_texts = {posixpath.dirname(name) for name in found.values()}
    with_pictures = {posixpath.dirname(name) for name in pictures}
    keys: dict[str, str | None] = {}
    for stem, name in texts.items():
        if name.lower().endswith(".txt") and posixpath.dirname(name) not in with_pictures:
            for key in _without_a_folder(stem):
                keys[key] = None if key in keys else name
    for name in pictures:
        matches = {keys.get(key) for key in _without_a_folder(_stem(name))} - {None}
        if posixpath.dirname(name) not in with_texts and len(matches) == 1:
            found[name] = matches.pop()
    return found


def annotate_from(path: Path, row: Row) -> None:
    """Annotates a picture with its text file, or with a JSON file that has a caption."""
    if path.suffix.lower() == ".txt":
        annotate(row, lambda: annotations.from_text(_content(path)))
        return
    try:
        fields = annotations.from_json(_content(path))
    except Unusable:  # of another program
        return
    if annotations.first_given(fields, annotations.CAPTION_KEYS) is not None:
        annotate(row, lambda: annotations.from_fields(fields))


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]


def _without_a_folder(stem: str) -> list[str]:
    """Returns a path, and the path without each one of its folders."""
    *folders, base = stem.split("/")
    return [stem, *("/".join([*folders[:i], *folders[i + 1 :], base]) for i in range(len(folders)))]


def _content(path: Path) -> bytes:
    """Returns the content of a text file; raises Unusable."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEXT + 1)
    except OSError as error:
        raise Unusable(f"its text file can't be read ({error.strerror})") from error
    if len(content) > MAX_TEXT:
        raise Unusable("its text file is larger than 1 MiB")
    return content

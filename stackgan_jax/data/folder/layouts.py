"""Reads a folder in one of four layouts into rows: an image, its name and its annotation."""

import dataclasses
import posixpath
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from stackgan_jax.data import picture_files
from stackgan_jax.data.folder import annotations, metadata, tar_shards
from stackgan_jax.data.folder.annotations import (
    MAX_TEXT,
    SPLITS,
    Annotation,
    Row,
    Unusable,
    annotate,
)
from stackgan_jax.data.picture_files import is_picture, printable
from stackgan_jax.data.records import Location

Files = Mapping[str, Path]  # path below the folder, with slashes → the file


def read(files: Files, left_out: list[str]) -> list[Row]:
    """Returns the images of a folder, read in the first layout that matches.

    1. metadata.jsonl or metadata.csv, whose `file_name` is a path relative to their own folder;
    2. .tar shards of images, each image with a .txt or .json file of the same name;
    3. images with a .txt file of the same name, one caption on each line;
    4. sub-folders, whose names are used as class and as caption.

    Args:
      files: the files of the folder that are not `unread`.
      left_out: one line is appended for each file that is not used.

    Raises:
      UserError: a metadata file or a shard can't be read.
    """
    sources = [name for name in files if posixpath.basename(name).lower() in metadata.NAMES]
    shards = [name for name in files if name.lower().endswith(".tar")]
    images = [name for name in files if is_picture(name)]
    texts = {posixpath.splitext(name)[0]: name for name in files if name.lower().endswith(".txt")}
    if sources:
        return _with_metadata(files, sources, images, left_out)
    if shards:
        left_out += [f"{name}: not in a shard" for name in images]
        return [row for name in shards for row in tar_shards.read(name, files[name], left_out)]
    if any(posixpath.splitext(name)[0] in texts for name in images):
        return _with_texts(files, images, texts, left_out)
    return _in_class_folders(files, images)


def unread(name: str) -> str | None:
    """Returns why no layout reads a file of that name; "" if one may, None for other files."""
    if name.lower().endswith((".txt", ".tar", *metadata.NAMES)):
        return ""
    return picture_files.unread(name)


def _with_metadata(
    files: Files, sources: list[str], images: list[str], left_out: list[str]
) -> list[Row]:
    rows: dict[str, Row] = {}
    # File systems differ in how they store accents, so names are compared in one normal form.
    known = {unicodedata.normalize("NFC", name): name for name in files}
    for source in sources:
        for where, image, fields in metadata.read(source, files[source]):
            if isinstance(image, Unusable):
                rows[where] = Row(printable(where), None, problem=str(image))
                continue
            name = known.get(unicodedata.normalize("NFC", image), image)
            if name not in rows:
                rows[name] = _found(name, files)
            annotate(rows[name], lambda fields=fields: annotations.from_fields(fields))
    left_out += [f"{printable(name)}: not in the metadata" for name in images if name not in rows]
    folder_splits = _split_folders(rows)
    for name, row in rows.items():
        if name in folder_splits and not row.annotation.split:
            row.annotation = dataclasses.replace(row.annotation, split=folder_splits[name])
    return list(rows.values())


def _found(name: str, files: Files) -> Row:
    """Returns the row of an image that the metadata names, if there is such an image."""
    if name in files:
        return Row(printable(name), Location(files[name]))
    why = picture_files.unread(name)
    problem = "there is no such file" if why == "" else why or "not a picture"
    return Row(printable(name), None, problem=problem)


def _with_texts(
    files: Files, images: list[str], texts: dict[str, str], left_out: list[str]
) -> list[Row]:
    rows = {name: Row(printable(name), Location(files[name])) for name in images}
    splits = _split_folders(rows)
    for name, row in rows.items():
        text = texts.get(posixpath.splitext(name)[0])
        folder = posixpath.basename(posixpath.dirname(name))
        # Folders with numbers are img2dataset's shards, not classes.
        kind = "" if folder.isdigit() or folder.lower() in SPLITS else folder
        row.annotation = Annotation(kind=printable(kind), split=splits.get(name, ""))
        if text:
            annotate(row, lambda text=text: annotations.from_text(_content(files[text])))
    unused = texts.keys() - {posixpath.splitext(name)[0] for name in images}
    left_out += [f"{printable(texts[stem])}: no picture of that name" for stem in sorted(unused)]
    return list(rows.values())


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


def _in_class_folders(files: Files, images: list[str]) -> list[Row]:
    rows = {name: Row(printable(name), Location(files[name])) for name in images}
    splits = _split_folders(rows)
    for name, row in rows.items():
        folder = posixpath.basename(posixpath.dirname(name))
        if folder and folder.lower() not in SPLITS:
            captions = tuple(filter(None, [class_caption(printable(folder))]))
            row.annotation = Annotation(captions, printable(folder), split=splits.get(name, ""))
    return list(rows.values())


def class_caption(folder: str) -> str:
    """Returns a folder's name as a caption: `001.Black_footed-Bird` → `Black footed Bird`."""
    words = annotations.clean(re.sub(r"[_\-]+", " ", re.sub(r"^\d+[._\- ]+", "", folder)))
    return words or annotations.clean(folder)


def _split_folders(names: Mapping[str, Row]) -> dict[str, str]:
    """Returns name → split if the top folders are called train and test (or val, …), else {}."""
    tops = {name: name.split("/", 1)[0].lower() for name in names if "/" in name}
    splits = {name: SPLITS[top] for name, top in tops.items() if top in SPLITS}
    return splits if set(splits.values()) == {"train", "test"} else {}

"""WebDataset shards: tar files of images, each with a .txt or .json of the same name."""

import posixpath
import tarfile
from pathlib import Path

from stackgan_jax.data.folder import annotations
from stackgan_jax.data.folder.annotations import (
    IMAGES,
    MAX_TEXT,
    Annotation,
    Row,
    annotate,
    is_outside,
    readable,
)
from stackgan_jax.data.records import Location
from stackgan_jax.runtime.errors import UserError


def read(name: str, path: Path, left: list[str]) -> list[Row]:
    """The images of a WebDataset shard; they stay in it, and are read from their place there."""
    rows: dict[str, Row] = {}
    said: dict[str, dict[str, bytes]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                _add_member(name, path, tar, member, rows, said, left)
            _refuse_cut_off(name, path, tar)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(
            f"The shard {readable(name)} is no whole, uncompressed tar ({error}); fetch or make it "
            "again, or remove it."
        ) from error
    for stem, row in rows.items():
        _annotate_with(row, said.pop(stem, {}))
    left += [f"{readable(f'{name}/{stem}')}: no picture of that name" for stem in said]
    return list(rows.values())


def _annotate_with(row: Row, parts: dict[str, bytes]) -> None:
    def from_json() -> Annotation:
        fields = annotations.from_json(parts[".json"])
        if ".txt" in parts:  # img2dataset tells the caption in both
            fields = {k: v for k, v in fields.items() if k not in annotations.CAPTION_KEYS}
        return annotations.from_fields(fields)

    if ".json" in parts:
        annotate(row, from_json)
    if ".txt" in parts:
        annotate(row, lambda: annotations.from_text(parts[".txt"]))


def _add_member(
    name: str,
    path: Path,
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    rows: dict[str, Row],
    said: dict[str, dict[str, bytes]],
    left: list[str],
) -> None:
    whole = readable(f"{name}/{member.name}")
    stem, suffix = posixpath.splitext(member.name)
    suffix = suffix.lower()
    if member.isdir() or not (suffix in IMAGES or suffix in (".txt", ".json")):
        return
    if is_outside(member.name):
        rows[member.name] = Row(whole, None, problem="its path lies outside the shard")
    elif not member.isreg() or member.issparse():
        rows[member.name] = Row(whole, None, problem="a link, not a file")
    elif suffix in IMAGES:
        rows[stem] = Row(whole, Location(path, member.offset_data, member.size))
    elif member.size > MAX_TEXT:
        left.append(f"{whole}: larger than 1 MiB")
    else:
        said.setdefault(stem, {})[suffix] = tar.extractfile(member).read()


def _refuse_cut_off(name: str, path: Path, tar: tarfile.TarFile) -> None:
    """tarfile takes a header that is garbage, or missing, for the end."""
    with path.open("rb") as file:
        file.seek(tar.offset)
        after = file.read(tarfile.BLOCKSIZE)
    if any(after) or tar.offset > path.stat().st_size:
        raise tarfile.ReadError("cut off or damaged in the middle")

"""Reads WebDataset shards: tar files of images, each with a .txt or .json file of the same name."""

import collections
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


def read(name: str, path: Path, left_out: list[str]) -> list[Row]:
    """Returns the images of a shard. They stay in the shard, and are read from their offset there.

    Args:
      name: the shard's path below the data folder.
      path: the shard.
      left_out: one line is appended for each file that is not used.

    Raises:
      UserError: the shard is truncated, damaged, compressed, or not a tar file.
    """
    shard = _Shard(name, path, left_out)
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                shard.add(member, tar)
            _require_end(path, tar)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(
            f"The shard {readable(name)} is not a complete, uncompressed tar file ({error}); "
            "download or create it again, or remove it."
        ) from error
    return shard.annotated_rows()


class _Shard:
    """The images and texts found in a shard so far."""

    def __init__(self, name: str, path: Path, left_out: list[str]) -> None:
        self.name, self.path, self.left_out = name, path, left_out
        self.rows: dict[str, Row] = {}  # member's name without its suffix → image
        # member's name without its suffix → suffix → content
        self.texts: dict[str, dict[str, bytes]] = collections.defaultdict(dict)

    def add(self, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        """Adds the next file of the shard; other kinds of files are ignored."""
        name = readable(f"{self.name}/{member.name}")
        stem, suffix = posixpath.splitext(member.name)
        suffix = suffix.lower()
        if member.isdir() or not (suffix in IMAGES or suffix in (".txt", ".json")):
            return
        if is_outside(member.name):
            self.rows[member.name] = Row(name, None, problem="its path is outside the shard")
        elif not member.isreg() or member.issparse():
            self.rows[member.name] = Row(name, None, problem="a link, not a file")
        elif suffix in IMAGES:
            self.rows[stem] = Row(name, Location(self.path, member.offset_data, member.size))
        elif member.size > MAX_TEXT:
            self.left_out.append(f"{name}: larger than 1 MiB")
        else:
            self.texts[stem][suffix] = tar.extractfile(member).read()

    def annotated_rows(self) -> list[Row]:
        """Returns the images with their annotations; texts without an image are left out."""
        for stem, row in self.rows.items():
            _annotate(row, self.texts.pop(stem, {}))
        self.left_out += [
            f"{readable(f'{self.name}/{stem}')}: no picture of that name" for stem in self.texts
        ]
        return list(self.rows.values())


def _annotate(row: Row, texts: dict[str, bytes]) -> None:
    """Annotates an image with the contents of its files, given by suffix."""

    def from_json() -> Annotation:
        fields = annotations.from_json(texts[".json"])
        if ".txt" in texts:  # img2dataset writes the caption into both files
            fields = {k: v for k, v in fields.items() if k not in annotations.CAPTION_KEYS}
        return annotations.from_fields(fields)

    if ".json" in texts:
        annotate(row, from_json)
    if ".txt" in texts:
        annotate(row, lambda: annotations.from_text(texts[".txt"]))


def _require_end(path: Path, tar: tarfile.TarFile) -> None:
    """Raises ReadError unless the shard ends where its last file ends.

    tarfile takes a damaged or missing header for the end of the file.
    """
    with path.open("rb") as file:
        file.seek(tar.offset)
        after = file.read(tarfile.BLOCKSIZE)
    if any(after) or tar.offset > path.stat().st_size:
        raise tarfile.ReadError("truncated, or damaged in the middle")

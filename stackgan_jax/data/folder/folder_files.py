"""The files of a folder by kind: pictures, their texts, tables and shards."""

import functools
import posixpath
from collections.abc import Mapping
from pathlib import Path

from stackgan_jax.data import picture_files
from stackgan_jax.data.folder import metadata, text_files
from stackgan_jax.data.folder.annotations import Row
from stackgan_jax.data.picture_files import is_picture, printable
from stackgan_jax.data.records import Location

Files = Mapping[str, Path]  # path below the folder, with slashes → the file
PACKED = {  # endings of data that are not read → what to do
    **dict.fromkeys((".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"), "packed; unpack it"),
    **dict.fromkeys((".parquet", ".arrow", ".xlsx", ".xls"), "save it as metadata.csv"),
}


class Folder:
    """The files of a folder by kind: pictures, texts of a single picture, possible tables."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.pictures = [name for name in files if is_picture(name)]
        self.texts = text_files.of_pictures(self.pictures, files)
        self.shards = [name for name in files if name.lower().endswith(".tar")]

    @functools.cached_property
    def json_of_pictures(self) -> set[str]:
        """JSON files with the name of a picture: its captions, or other programs' data about it."""
        stems = {posixpath.splitext(name)[0] for name in self.pictures}
        both = ((name, *posixpath.splitext(name)) for name in self.files)
        return {name for name, stem, suffix in both if suffix.lower() == ".json" and stem in stems}

    @functools.cached_property
    def tables(self) -> list[str]:
        """The tables called metadata; if there are none, others with a file and a caption."""
        single = {*self.texts.values(), *self.json_of_pictures}
        texts = [n for n in self.files if n.lower().endswith(metadata.SUFFIXES) and n not in single]
        return [n for n in texts if is_declared(n)] or [
            n for n in texts if metadata.is_table(n, self.files[n])
        ]

    def row(self, name: str) -> Row:
        """Returns the row of a picture, without an annotation."""
        return Row(printable(name), Location(self.files[name]))


def unread(name: str) -> str | None:
    """Returns why no layout reads a file of that name; "" if one may, None for other files."""
    suffix = posixpath.splitext(name)[1].lower()
    if suffix == ".tar" or suffix in metadata.SUFFIXES:
        return ""
    return PACKED.get(suffix) or picture_files.unread(name)


def is_declared(table: str) -> bool:
    """Returns whether a file is a table by its name."""
    return posixpath.basename(table).lower() in metadata.NAMES

"""Reads WebDataset shards: tar files of images, each with a .txt or .json file of the same name."""

import collections
import io
import posixpath
import tarfile
from pathlib import Path

from stackgan_jax.data import picture_files
from stackgan_jax.data.folder.annotations import MAX_TEXT, Row, annotate_from_files, is_outside
from stackgan_jax.data.picture_files import printable
from stackgan_jax.data.records import Location
from stackgan_jax.runtime.errors import UserError

TEXTS = (".txt", ".json")


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
        with _Reader(io.FileIO(path)) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            end = 0
            for member in tar:
                if tar.offset <= end:
                    raise tarfile.ReadError("a file of negative size")
                end = tar.offset
                shard.add(member, tar)
                tar.members.clear()  # tarfile keeps them, which takes memory for each
            _require_end(path, tar)
    except Exception as error:  # tarfile raises a dozen kinds of errors for damaged bytes
        raise UserError(
            f"The shard {printable(name)} is not a complete, uncompressed tar file ({error}); "
            "download or create it again, or remove it."
        ) from error
    return shard.annotated_rows()


class _Reader(io.BufferedReader):
    """Reads headers and texts of a tar file. tarfile reads as much as a header asks for at once."""

    def read(self, size: int = -1, /) -> bytes:
        """Returns at most `size` bytes; raises ReadError if those are more than a text has."""
        if not 0 <= size <= MAX_TEXT + tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return super().read(size)


class _Shard:
    """The images and texts found in a shard so far."""

    def __init__(self, name: str, path: Path, left_out: list[str]) -> None:
        self.name, self.path, self.left_out = name, path, left_out
        self.rows: dict[str, Row] = {}  # member's name → image
        # member's name without its suffix → suffix → content
        self.texts: dict[str, dict[str, bytes]] = collections.defaultdict(dict)

    def add(self, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        """Adds the next file of the shard; other kinds of files are ignored."""
        name = printable(f"{self.name}/{member.name}")
        stem, suffix = posixpath.splitext(member.name)
        why = "" if suffix.lower() in TEXTS else picture_files.unread(member.name)
        if member.isdir() or why is None or picture_files.is_hidden(member.name):
            return
        if why:
            self.left_out.append(f"{name}: {why}")
        elif is_outside(member.name):
            self.rows[member.name] = Row(name, None, problem="its path is outside the shard")
        elif not member.isreg() or member.issparse():
            reason = "a sparse file" if member.issparse() else "a link, not a file"
            self.rows[member.name] = Row(name, None, problem=reason)
        elif suffix.lower() not in TEXTS:
            image = Location(self.path, member.offset_data, member.size)
            self.rows[member.name] = Row(name, image)
        elif member.size > MAX_TEXT:
            self.left_out.append(f"{name}: larger than 1 MiB")
        else:
            self.texts[stem][suffix.lower()] = tar.extractfile(member).read()

    def annotated_rows(self) -> list[Row]:
        """Returns the images with their annotations; texts without an image are left out."""
        used = set()
        for member, row in list(self.rows.items()):
            # WebDataset's key ends at the first dot; people's file names have dots in them as well.
            stem, key = posixpath.splitext(member)[0], _key(member)
            if stem not in self.texts and stem != key and self._is_whole(key):
                del self.rows[member]
                self.left_out.append(f"{row.name}: another part of {printable(key)}")
                continue
            found = stem if stem in self.texts else key
            used.add(found)
            annotate_from_files(row, self.texts.get(found, {}))
        self.left_out += [
            f"{printable(f'{self.name}/{stem}')}: no picture of that name"
            for stem in self.texts
            if stem not in used
        ]
        return list(self.rows.values())

    def _is_whole(self, key: str) -> bool:
        """Returns whether the shard has a picture whose name is the key and one ending."""
        return any(f"{key}{suffix}" in self.rows for suffix in picture_files.suffixes())


def _key(member: str) -> str:
    folder, base = posixpath.split(member)
    return posixpath.join(folder, base.split(".", 1)[0])


def _require_end(path: Path, tar: tarfile.TarFile) -> None:
    """Raises ReadError unless the shard ends where its last file ends.

    tarfile takes a damaged or missing header for the end of the file.
    """
    with path.open("rb") as file:
        file.seek(tar.offset)
        after = file.read(tarfile.BLOCKSIZE)
    if any(after) or tar.offset > path.stat().st_size:
        raise tarfile.ReadError("truncated, or damaged in the middle")

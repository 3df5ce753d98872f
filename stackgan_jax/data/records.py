"""Records: the form in which every source of pictures (folder, shards, TFDS) yields its images."""

import dataclasses
import itertools
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

MAX_BYTES = 1 << 28  # largest image file that is read


@dataclasses.dataclass(frozen=True)
class Location:
    """Bytes on disk: a whole file or a part of one, for example a member of a tar file.

    Attributes:
        path: the file.
        offset: where the part begins, in bytes.
        size: its length in bytes; None for up to the end of the file.
    """

    path: Path
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """Reads the bytes.

        Raises:
            OSError: the file cannot be read.
            ValueError: there are more than MAX_BYTES, or the path is a pipe or a device.
        """
        status = os.stat(self.path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise ValueError("not a regular file")
        size = status.st_size - self.offset if self.size is None else self.size
        if size > MAX_BYTES:
            raise ValueError(f"the file is larger than {MAX_BYTES >> 20} MiB")
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(size)


@dataclasses.dataclass(frozen=True)
class Record:
    """One image with its captions and class.

    Attributes:
        name: the name in reports, unique in its source: `birds/0001.jpg`, `shard-3.tar/0001.jpg`.
        image: the encoded image (JPEG, PNG, …), or its location.
        captions: one or more sentences.
        label: the class, from 0; mismatched pairs are drawn from different labels.
        box: (left, top, width, height) for `crop="bbox"`, in pixels of the picture after its EXIF
            rotation; None if unknown.
        attributes: name → value; all records of a source have the same names.
        problem: the reason why the record cannot be used. If it is not empty, the record is listed
            as damaged and not decoded.
    """

    name: str
    image: bytes | Location
    captions: Sequence[str]
    label: int
    box: tuple[float, float, float, float] | None = None
    attributes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    problem: str = ""


class Source(Protocol):
    """A data set that can be prepared. A subclass has to define `count` and `records`.

    Attributes:
        name: its name in messages: "the folder my_pictures".
        directory: where its prepared data are kept. A split that exists there is not prepared
            again, so different content needs a different path.
    """

    name: str
    directory: Path

    def count(self, split: str) -> int:
        """The number of records of a split, "train" or "test"."""
        ...

    def records(self, split: str) -> Iterator[Record]:
        """The records of a split, always in the same order."""
        ...

    def part(self, split: str, start: int, stop: int) -> Iterator[Record]:
        """The records from number `start` to before `stop` of a split."""
        return itertools.islice(self.records(split), start, stop)

    def left_out(self) -> Sequence[str]:
        """Files of the source that no record uses, one line each: `a.jpg: no caption`."""
        return ()

    def remarks(self) -> Sequence[str]:
        """Sentences for the user about classes and splits."""
        return ()

    def finish(self) -> None:
        """Called after the last record. Raises UserError if the source changed meanwhile."""

"""What every source of pictures yields, be it a folder, shards or a TFDS builder: records."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

MAX_BYTES = 1 << 28  # of one image file; a larger one is no picture to learn from


@dataclasses.dataclass(frozen=True)
class Location:
    """Bytes on disk: a file, or a part of one (a member of an uncompressed tar, say)."""

    path: Path
    offset: int = 0
    size: int | None = None  # None: to the file's end

    def read(self) -> bytes:
        """The bytes; raises OSError, or ValueError beyond MAX_BYTES."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            content = file.read(MAX_BYTES + 1 if self.size is None else self.size)
        if len(content) > MAX_BYTES:
            raise ValueError(f"the file is larger than {MAX_BYTES >> 20} MiB")
        return content


@dataclasses.dataclass(frozen=True)
class Record:
    """One image and what is known of it.

    Attributes:
      name: how reports name it: `birds/0001.jpg`, `shard-3.tar/0001.jpg`. Unique in its source.
      image: the encoded image (JPEG, PNG, WebP, GIF) or where it lies.
      captions: one or more sentences.
      label: its class, 0 …; mismatched pairs are taken from different labels.
      box: (left, top, width, height) in pixels of the picture as it is shown (after its EXIF
        rotation), for `crop="bbox"`; None where it is not known.
      attributes: name → value; the same names in every record of a source.
      problem: why the record can't be used; it is then listed as damaged, and not decoded.
    """

    name: str
    image: bytes | Location
    captions: Sequence[str]
    label: int
    box: tuple[float, float, float, float] | None = None
    attributes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    problem: str = ""


class Source(Protocol):
    """A data set that can be prepared.

    Attributes:
      name: how sentences name it: "the folder my_pictures".
      directory: where its preparations are kept. What lies there is never asked again, so the path
        must be another one when the content is.
    """

    name: str
    directory: Path

    def count(self, split: str) -> int:
        """How many records a split has."""

    def records(self, split: str) -> Iterator[Record]:
        """The records of a split, always in the same order."""

    def left_out(self) -> Sequence[str]:
        """What the source holds and no record stands for, a line each: `a.jpg: no caption`."""

    def remarks(self) -> Sequence[str]:
        """What a person should know of classes and splits, a sentence each."""

    def finish(self) -> None:
        """Raises UserError where the source has changed while it was read."""

"""Writes the files of one prepared split: pixels, captions, labels and facts."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from stackgan_jax.data.decoding import DamagedImage, Picture
from stackgan_jax.data.records import Record

LEFT_OUT = "left_out.txt"
FACTS = "facts.json"


def identity(
    digest: bytes, captions: Sequence[str], label: int, attributes: Mapping[str, int]
) -> bytes:
    """What a record adds to the fingerprint of its split.

    Args:
      digest: 16 bytes, the hash of its image file.
      captions: its sentences.
      label: its class.
      attributes: its attributes.
    """
    known = [list(captions), label, sorted(attributes.items())]
    return digest + json.dumps(known, default=int).encode()


class SplitWriter:
    """Writes a split image by image. Memory holds captions and numbers, but no pixels.

    Attributes:
      problems: one line for each image that can't be used: `name: reason`.
    """

    def __init__(self, directory: Path, load_size: int) -> None:
        """Writes into `directory`, which exists; `load_size` is the pictures' side in pixels."""
        self.directory, self.shape = directory, (load_size, load_size, 3)
        self.problems: list[str] = []
        self._records: list[Record] = []  # without their images
        self._sizes: list[tuple[int, int]] = []
        self._digests: list[bytes] = []
        self._fingerprint = hashlib.sha256()

    def __enter__(self) -> Self:
        """Opens images.npy."""
        self._images = open(self.directory / "images.npy", "wb")
        self._write_header()
        return self

    def __exit__(self, *error: object) -> None:
        """Writes the number of images into the header of images.npy and closes it."""
        self._images.seek(0)
        self._write_header()  # has the same length: numpy reserves space for a larger count
        self._images.close()

    def add(self, record: Record, picture: Picture | DamagedImage, digest: bytes) -> None:
        """Adds the next record, or lists it as a problem if its image is damaged.

        Args:
          record: the record; its image is not read here.
          picture: its decoded picture, or why there is none.
          digest: 16 bytes, the hash of its image file.
        """
        if isinstance(picture, DamagedImage):
            self.problems.append(f"{record.name}: {picture}".replace("\n", " "))
            return
        self._images.write(picture.pixels.tobytes())
        self._records.append(dataclasses.replace(record, image=b""))
        self._sizes.append((picture.width, picture.height))
        self._digests.append(digest)
        self._fingerprint.update(identity(digest, record.captions, record.label, record.attributes))

    def finish(self, left_out: Sequence[str], **known: object) -> None:
        """Writes every file except images.npy.

        Args:
          left_out: one line for each file of the source that no record uses; they follow the
            problems in left_out.txt.
          **known: further facts about the split, for facts.json.
        """
        self._write_arrays()
        self._write_text("captions.json", json.dumps([list(r.captions) for r in self._records]))
        self._write_text("names.json", json.dumps([record.name for record in self._records]))
        unused = [*self.problems, *left_out]
        self._write_text(LEFT_OUT, "".join(f"{line}\n" for line in unused))
        known |= {
            "left_out": len(unused),
            "images": len(self._records),
            "damaged": len(self.problems),
            "records": len(self._records) + len(self.problems),
            "fingerprint": self._fingerprint.hexdigest(),
        }
        self._write_text(FACTS, json.dumps(known, indent=2) + "\n")

    def _write_arrays(self) -> None:
        names = self._records[0].attributes if self._records else ()
        attributes = {
            name: np.asarray([r.attributes[name] for r in self._records], np.int32)
            for name in names
        }
        np.savez(self.directory / "attributes.npz", **attributes)
        labels = np.asarray([record.label for record in self._records], np.int32)
        np.save(self.directory / "labels.npy", labels)
        sizes = np.asarray(self._sizes, np.int32).reshape(-1, 2)
        np.save(self.directory / "sizes.npy", sizes)
        np.save(self.directory / "digests.npy", np.asarray(self._digests, "V16"))

    def _write_header(self) -> None:
        shape = (len(self._records), *self.shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._images, header)

    def _write_text(self, name: str, text: str) -> None:
        # Names of files may hold bytes that are not UTF-8; surrogateescape writes them unchanged.
        (self.directory / name).write_text(text, encoding="utf-8", errors="surrogateescape")

"""The one way from any source's records to a decoded split on disk, which appears whole or not."""

import collections
import concurrent.futures
import contextlib
import functools
import hashlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from stackgan_jax.data import decoding
from stackgan_jax.data.records import Record, Source
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.locking import locked, unwritable
from stackgan_jax.runtime.progress import Progress

FORMAT = 2  # of what is written; another number makes another place
PROBLEMS = "problems.txt"
LEFT_OUT = "left_out.txt"
FACTS = "facts.json"


def place(source: Source, split: str, load_size: int, crop: str) -> Path:
    """Where a prepared split lies, or will."""
    return source.directory / f"decoded-{FORMAT}-{crop}-{load_size}" / split


def prepare(source: Source, split: str, load_size: int, crop: str, max_damaged: float) -> Path:
    """Decodes a split unless that has been done, and returns where it lies.

    Images that can't be used are left out and listed in `problems.txt`. One process prepares while
    others wait; what an interrupted preparation left is removed first.

    Leaves: images.npy uint8 `[n, load_size, load_size, 3]`, labels.npy int32 `[n]`, captions.json,
    attributes.npz, sizes.npy int32 `[n, 2]` (width, height as shown), digests.npy (of the files),
    names.json, facts.json, problems.txt, left_out.txt.

    Raises:
      UserError: unknown crop or split, nothing to decode, more damaged images than `max_damaged`
        (a share) allows, or the disk can't be written.
    """
    if crop not in decoding.CROPS:
        choices = ", ".join(decoding.CROPS)
        raise UserError(f"Unknown config.data.crop {crop!r}; choose from {choices}.")
    directory = place(source, split, load_size, crop)
    if not directory.exists():
        count = source.count(split)  # first: a builder asks for a directory that is not there yet
        try:
            with locked(directory):
                if not directory.exists():
                    _write(source, count, split, load_size, crop, directory)
        except OSError as error:
            raise unwritable(directory, error) from error
    _refuse_damaged(source, directory, max_damaged)
    return directory


def facts(directory: Path) -> dict:
    """What is known of a prepared split: images, records, damaged, fingerprint, …"""
    return json.loads((directory / FACTS).read_text(encoding="utf-8"))


def _refuse_damaged(source: Source, directory: Path, max_damaged: float) -> None:
    known = facts(directory)
    damaged, records = known["damaged"], known["records"]
    if not records:
        raise UserError(f"The split {known['split']} of {source.name} is empty.")
    if known["images"] and damaged <= max_damaged * records:
        return
    lines = (directory / PROBLEMS).read_text(encoding="utf-8").splitlines()
    remedy = f"mend or remove them, or allow more with --config.data.max_damaged={_share(known)}"
    raise UserError(
        f"{damaged:,} of {records:,} images of {source.name} ({known['split']}) can't be used, "
        f"more than config.data.max_damaged={max_damaged:g} allows: {'; '.join(lines[:3])}"
        f"{' …' if damaged > 3 else ''}. All are listed in {directory / PROBLEMS}; "
        + (remedy if known["images"] else "mend them")
        + "."
    )


def _share(known: dict) -> str:
    """The damaged images' share, rounded up to a thousandth."""
    return f"{-(-1000 * known['damaged'] // known['records']) / 1000:g}"


def _write(
    source: Source, count: int, split: str, load_size: int, crop: str, directory: Path
) -> None:
    partial = directory.with_name(f".{split}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    progress = Progress(f"{source.name}, {split}, {load_size} pixels", count, "decoded")
    decode = functools.partial(_decode, load_size=load_size, crop=crop)
    with Writer(partial, load_size) as writer, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on images that it reads all the same
        for done, (record, result) in enumerate(_in_order(decode, source.records(split)), 1):
            writer.add(record, *result)
            progress(done)
    source.finish()
    writer.finish(
        left_out=source.left_out(),
        source=source.name,
        split=split,
        load_size=load_size,
        crop=crop,
        remarks=list(source.remarks()),
    )
    _tell(source, split, writer, directory)
    partial.rename(directory)


def _tell(source: Source, split: str, writer: "Writer", directory: Path) -> None:
    """Says how much is missing; what is left out concerns the whole source and is said once."""
    left_out = source.left_out() if split == "train" else ()
    for missing, what, listed in (
        (writer.problems, "images can't be used", PROBLEMS),
        (left_out, "files are left out", LEFT_OUT),
    ):
        if missing:
            told = f"{source.name}: {len(missing):,} {what}: {directory / listed}"
            print(told, file=sys.stderr, flush=True)


Decoded = tuple[decoding.Picture | decoding.DamagedImage, bytes]


def _decode(record: Record, load_size: int, crop: str) -> Decoded:
    """A record's picture, or why there is none; and a digest of its file."""
    if record.problem:
        return decoding.DamagedImage(record.problem), b""
    try:
        content = record.image if isinstance(record.image, bytes) else record.image.read()
        picture = decoding.decode(content, load_size, crop, record.box)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return decoding.DamagedImage(f"can't be read ({reason})"), b""
    except decoding.DamagedImage as damaged:
        return damaged, b""
    return picture, hashlib.blake2b(content, digest_size=16).digest()


def _in_order(decode, records: Iterable[Record]) -> Iterator[tuple[Record, Decoded]]:
    """Each record with its decoded picture, in order, decoded by all cores, a few ahead.

    Threads suffice: Pillow decodes and resizes without Python's lock.
    """
    workers = len(os.sched_getaffinity(0))
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    waiting = collections.deque()
    with contextlib.ExitStack() as stack:
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        for record in records:
            waiting.append((record, pool.submit(decode, record)))
            if len(waiting) > 4 * workers:
                record, future = waiting.popleft()
                yield record, future.result()
        for record, future in waiting:
            yield record, future.result()


class Writer:
    """Writes a split image by image; memory holds its captions and numbers, never its pictures."""

    def __init__(self, directory: Path, load_size: int):
        self.directory, self.shape = directory, (load_size, load_size, 3)
        self.problems: list[str] = []
        self._names, self._captions, self._labels, self._attributes = [], [], [], []
        self._sizes, self._digests = [], []
        self._fingerprint = hashlib.sha256()

    def __enter__(self) -> "Writer":
        self._images = open(self.directory / "images.npy", "wb")
        self._header()
        return self

    def __exit__(self, *error) -> None:
        self._images.seek(0)
        self._header()  # of the same length: numpy leaves room for the count to grow
        self._images.close()

    def add(
        self, record: Record, picture: decoding.Picture | decoding.DamagedImage, digest: bytes
    ) -> None:
        """The next record, whose picture may be damaged; a record needs a caption besides."""
        if isinstance(picture, decoding.DamagedImage):
            self.problems.append(f"{record.name}: {picture}".replace("\n", " "))
            return
        self._images.write(picture.pixels.tobytes())
        captions, attributes = list(record.captions), dict(record.attributes)
        self._names.append(record.name)
        self._captions.append(captions)
        self._labels.append(record.label)
        self._attributes.append(attributes)
        self._sizes.append((picture.width, picture.height))
        self._digests.append(digest)
        known = [captions, record.label, sorted(attributes.items())]
        self._fingerprint.update(digest + json.dumps(known, default=int).encode())

    def finish(self, left_out: Sequence[str], **known) -> None:
        """Writes all but the images, which are written by then."""
        names = self._attributes[0] if self._attributes else {}
        attributes = {
            name: np.asarray([each[name] for each in self._attributes], np.int32) for name in names
        }
        np.savez(self.directory / "attributes.npz", **attributes)
        np.save(self.directory / "labels.npy", np.asarray(self._labels, np.int32))
        sizes = np.asarray(self._sizes, np.int32).reshape(-1, 2)
        np.save(self.directory / "sizes.npy", sizes)
        np.save(self.directory / "digests.npy", np.asarray(self._digests, "V16"))
        self._text("captions.json", json.dumps(self._captions))
        self._text("names.json", json.dumps(self._names))
        self._text(PROBLEMS, "".join(f"{line}\n" for line in self.problems))
        self._text(LEFT_OUT, "".join(f"{line}\n" for line in left_out))
        known |= {
            "left_out": len(left_out),
            "images": len(self._labels),
            "damaged": len(self.problems),
            "records": len(self._labels) + len(self.problems),
            "fingerprint": self._fingerprint.hexdigest(),
        }
        self._text(FACTS, json.dumps(known, indent=2) + "\n")

    def _header(self) -> None:
        shape = (len(self._labels), *self.shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._images, header)

    def _text(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text, encoding="utf-8", errors="surrogateescape")

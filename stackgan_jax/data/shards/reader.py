"""Reads the shards of a prepared split where they lie; nothing is held but the index."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stackgan_jax.data import decoding, preparation
from stackgan_jax.data.shards import shard
from stackgan_jax.data.shards.index import Index
from stackgan_jax.data.shards.shard import Entry, Numbers

_KEPT = 512  # shards whose numbers are kept, some 130 kB each: those of two windows
_TEXTS_KEPT = 64  # shards whose captions are kept, up to some MB each


class ShardReader:
    """Reads the shards of one split: records, pictures, numbers and captions.

    Attributes:
        index: its shards.
        directory: its folder.
        load_size: side of the pictures in pixels.
        crop: the part of the pictures that is used.
        buffer: the number of records, over all processes, whose order is drawn together.
        numbers: number of a shard → its `Numbers`; those of a few shards are kept.
        captions_of: number of a shard → all its captions, likewise.
    """

    def __init__(self, index: Index, load_size: int, crop: str, buffer: int) -> None:
        """Reads nothing."""
        self.index, self.directory = index, index.directory
        self.load_size, self.crop, self.buffer = load_size, crop, buffer
        self.numbers = functools.lru_cache(maxsize=_KEPT)(self._numbers)
        self.captions_of = functools.lru_cache(maxsize=_TEXTS_KEPT)(self._captions_of)

    def __len__(self) -> int:
        """The number of images."""
        return sum(entry.images for entry in self.index.shards)

    @property
    def counts(self) -> dict[str, int]:
        """The number of images, captions and labels."""
        known = preparation.facts(self.directory)
        captions = sum(entry.captions for entry in self.index.shards)
        return {"images": len(self), "captions": captions, "labels": known["labels"]}

    def texts(self, entry: Entry) -> Mapping[str, Any]:
        """See `shard.read_texts`."""
        return shard.read_texts(self.directory, entry)

    def records(self, number: int, start: int, stop: int) -> list[memoryview]:
        """Records of a shard, checked; see `shard.read_records`."""
        entry = self.index.shards[number]
        return shard.read_records(self.directory, entry, self.numbers(number), start, stop)

    def picture(self, number: int, record: int, content: memoryview) -> np.ndarray:
        """The picture in a record, decoded where that is needed: `[load_size, load_size, 3]`.

        Args:
            number: of the shard.
            record: its number in the shard.
            content: the record.

        Raises:
            UserError: the picture can't be decoded, though it could when it was prepared.
        """
        image = shard.image(content, self.index.stored)
        if self.index.stored == shard.PIXELS:
            return np.frombuffer(image, np.uint8).reshape(self.load_size, self.load_size, 3)
        box = self.numbers(number).boxes[record]
        try:
            known = None if np.isnan(box).any() else tuple(box.tolist())
            return decoding.decode(image, self.load_size, self.crop, known).pixels
        except decoding.DamagedImage as damaged:
            why = f"can't be used: its picture {record:,} can't be decoded ({damaged})"
            raise shard.changed(self.directory, self.index.shards[number], why) from damaged

    def _captions_of(self, number: int) -> list[str]:
        """All captions of a shard."""
        return [c for several in self.texts(self.index.shards[number])["captions"] for c in several]

    def _numbers(self, number: int) -> Numbers:
        return shard.read_numbers(self.directory, self.index.shards[number])


class Rows:
    """Rows of all shards as one array that is read where it is indexed."""

    def __init__(
        self, counts: Sequence[int], shape: Sequence[int], dtype: Any, read: Callable
    ) -> None:
        """Reads nothing.

        Args:
            counts: the number of rows of each shard.
            shape: of one row.
            dtype: of the rows.
            read: (shard, first row, stop) → `[stop - first, *shape]`.
        """
        self._ends, self._read = np.cumsum([0, *counts]), read
        self.shape, self.dtype = (int(self._ends[-1]), *shape), np.dtype(dtype)

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Reads rows by a number, a slice or numbers; further indices apply to what was read."""
        key, *others = key if isinstance(key, tuple) else (key,)
        if isinstance(key, int | np.integer):
            return self._rows(np.array([key]))[(0, *others)]
        if isinstance(key, slice):
            key = np.arange(*key.indices(len(self)))
        key = np.asarray(key)
        rows = np.flatnonzero(key) if key.dtype == bool else key
        return self._rows(rows)[(slice(None), *others)]

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        rows = np.where(rows < 0, rows + len(self), rows)
        order = np.argsort(rows, kind="stable")
        owners = np.searchsorted(self._ends, rows[order], "right") - 1
        for owner, group in itertools.groupby(range(len(order)), key=lambda i: owners[i]):
            # Neighbours are read together, and others one by one.
            places = [order[i] for i in group]
            for run in _runs(rows[places] - self._ends[owner]):
                first, stop = run[0][1], run[-1][1] + 1
                read = self._read(int(owner), int(first), int(stop))
                for i, row in run:
                    found[places[i]] = read[row - first]
        return found


def _runs(rows: np.ndarray) -> Iterator[list[tuple[int, int]]]:
    """Groups (place, row) of sorted rows that follow each other or are equal."""
    run: list[tuple[int, int]] = []
    for place, row in enumerate(rows.tolist()):
        if run and row - run[-1][1] > 1:
            yield run
            run = []
        run.append((place, row))
    if run:
        yield run

"""Training batches streamed from shards: the interface of `batches.Source`, holding two windows."""

import collections
import concurrent.futures
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stackgan_jax.data import batches, choices
from stackgan_jax.data.batches import Batch
from stackgan_jax.data.shards import shard
from stackgan_jax.data.shards.embeddings import Embeddings
from stackgan_jax.data.shards.order import Order
from stackgan_jax.data.shards.reader import ShardReader
from stackgan_jax.runtime import cores

_READERS = 16  # threads; a bucket answers each in some hundredths of a second
_KEPT = 3  # windows: of the step, the one before for steps still being made, and the next


@dataclasses.dataclass(frozen=True)
class Window:
    """What is held of one window.

    Attributes:
        labels: `[lanes, w]` classes, in the order in which the records are taken.
        counts: `[lanes, w]` numbers of captions.
        records: lane → w (shard, record, its content), for the lanes of this process.
        texts: lane → w arrays of one row for each caption, likewise.
    """

    labels: np.ndarray
    counts: np.ndarray
    records: Mapping[int, list[tuple[int, int, memoryview]]]
    texts: Mapping[int, list[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Drawn:
    """The records of a batch.

    Attributes:
        labels: `[b]` classes.
        counts: `[b]` numbers of captions.
        rows: of the batch that this process makes, r of b.
        pictures: `[r, L, L, 3]` uint8.
        texts: r arrays of one row for each caption.
    """

    labels: np.ndarray
    counts: np.ndarray
    rows: slice
    pictures: np.ndarray
    texts: list[np.ndarray]


class Stream:
    """Batches of a prepared split as a function of (seed, step).

    Attributes:
        held: None: nothing of a stream is held on a device.
    """

    held = None

    def __init__(
        self,
        split: ShardReader,
        order: Order,
        texts: Callable[[int, int, int], np.ndarray],
        make: Callable[[int, Drawn], Batch],
    ) -> None:
        """Reads nothing yet.

        Args:
            split: what is streamed.
            order: of its records.
            texts: (shard, first caption, stop) → one row for each caption.
            make: (step, its records) → this process's rows of the batch.
        """
        self.split, self.order, self._make = split, order, make
        self._records, self._texts = split.records, texts
        if len(split) <= split.buffer:  # A window is all of it, and every epoch has one.
            shards = split.index.shards
            self._records = _read_once(split.records, [entry.images for entry in shards])
            self._texts = _read_once(texts, [entry.captions for entry in shards])
        self._readers = concurrent.futures.ThreadPoolExecutor(_READERS)
        self._loader = concurrent.futures.ThreadPoolExecutor(1)
        self._windows: collections.OrderedDict = collections.OrderedDict()
        self._lock = threading.Lock()

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """This process's part of the batches of the steps from `start` to before `stop`."""
        decodes = self.split.index.stored != shard.PIXELS
        workers = max(2, cores.usable()) if decodes else 2
        return batches.read_ahead(self.batch, start, stop, workers)

    def batch(self, step: int) -> Batch:
        """This process's part of a step's batch."""
        return self._batch(step, batches.rows_of_this_process(self.order.batch_size))

    def whole(self, step: int) -> Batch:
        """The whole batch of a step, of all processes."""
        return self._batch(step, range(self.order.batch_size))

    def _batch(self, step: int, rows: range) -> Batch:
        epoch, number, first = self.order.place(step)
        window = self._window(rows, epoch, number)
        columns = slice(first, first + self.order.rows)
        places = [divmod(row, self.order.rows) for row in rows]
        records = [window.records[lane][first + place] for lane, place in places]
        drawn = Drawn(
            labels=window.labels[:, columns].reshape(-1),
            counts=window.counts[:, columns].reshape(-1),
            rows=slice(rows.start, rows.stop),
            pictures=np.stack([self.split.picture(*record) for record in records]),
            texts=[window.texts[lane][first + place] for lane, place in places],
        )
        return self._make(step, drawn)

    def _window(self, rows: range, epoch: int, window: int) -> Window:
        """A window for some rows, read now unless it is there; the next one is begun."""
        with self._lock:
            wanted = [(rows, epoch, window), (rows, *self.order.after(epoch, window))]
            for key in wanted:
                if key not in self._windows:
                    self._windows[key] = self._loader.submit(self._read, *key)
            while len(self._windows) > _KEPT:
                self._windows.popitem(last=False)
            future = self._windows[wanted[0]]
        return future.result()

    def _read(self, rows: range, epoch: int, window: int) -> Window:
        own = self.order.lanes_of(rows.start, rows.stop)
        parts = [self.order.stretch(epoch, lane, window) for lane in range(self.order.lanes)]
        orders = [self.order.permutation(epoch, lane, window) for lane in range(self.order.lanes)]
        numbers = list(self._readers.map(self._numbers, parts))
        read = list(self._readers.map(self._lane, [parts[lane] for lane in own]))
        return Window(
            labels=np.stack([n[0][order] for n, order in zip(numbers, orders, strict=True)]),
            counts=np.stack([n[1][order] for n, order in zip(numbers, orders, strict=True)]),
            records={
                lane: [r[0][i] for i in orders[lane]] for lane, r in zip(own, read, strict=True)
            },
            texts={
                lane: [r[1][i] for i in orders[lane]] for lane, r in zip(own, read, strict=True)
            },
        )

    def _numbers(self, parts: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
        known = [(self.split.numbers(number), start, stop) for number, start, stop in parts]
        labels = np.concatenate([each.labels[start:stop] for each, start, stop in known])
        return labels, np.concatenate([each.counts[start:stop] for each, start, stop in known])

    def _lane(self, parts: list[tuple[int, int, int]]) -> tuple[list, list]:
        """(shard, record, content) of each record of a lane's window, and its texts."""
        records, texts = [], []
        for number, start, stop in parts:
            first = self.split.numbers(number).first_captions
            read = self._texts(number, int(first[start]), int(first[stop]))
            records += [
                (number, start + i, content)
                for i, content in enumerate(self._records(number, start, stop))
            ]
            texts += np.split(read, first[start + 1 : stop] - first[start])
        return records, texts


def _read_once(
    read: Callable[[int, int, int], Any], counts: Sequence[int]
) -> Callable[[int, int, int], Any]:
    """Makes a reader of parts of shards read whole shards, and keep them.

    Two threads that want the same shard wait for one reading.

    Args:
        read: (shard, start, stop) → rows of that shard.
        counts: the number of rows of each shard.
    """
    whole = functools.lru_cache(maxsize=None)(lambda number: read(number, 0, counts[number]))
    locks = [threading.Lock() for _ in counts]

    def part(number: int, start: int, stop: int) -> Any:
        with locks[number]:
            rows = whole(number)
        return rows[start:stop]

    return part


def image_text(
    split: ShardReader,
    embeddings: Embeddings,
    batch_size: int,
    captions_per_image: int,
    seed: int,
) -> Stream:
    """The stream of the GANs' batches, which are as those of `batches.image_text`.

    Args:
        split: of training.
        embeddings: of its captions, which have been computed.
        batch_size: b, over all processes.
        captions_per_image: number of captions whose embeddings are averaged.
        seed: of all choices.

    Raises:
        UserError: the batch is larger than the data set.
    """
    order = Order(tuple(e.images for e in split.index.shards), batch_size, split.buffer, seed)
    most = split.index.most

    def make(step: int, drawn: Drawn) -> Batch:
        rng = np.random.default_rng((seed, 1, step))
        first = np.zeros_like(drawn.counts)
        choice = choices.drawn_captions(rng, first, drawn.counts, most, captions_per_image)
        captions, share = choice["captions"][drawn.rows], choice["share"][drawn.rows]
        starts = np.cumsum([0, *map(len, drawn.texts[:-1])])[:, None]
        places = np.where(captions < 0, -1, captions + starts)
        partner = choices.mismatched(np.random.default_rng((seed, 3, step)), drawn.labels)
        return {
            "image": drawn.pictures,
            "embedding": batches.mean(np.concatenate(drawn.texts), places, share),
            "partner": partner[drawn.rows],
        }

    return Stream(split, order, embeddings.read, make)


def joint_embedding(
    split: ShardReader,
    texts: Callable[[int, int, int], np.ndarray],
    batch_size: int,
    seed: int,
) -> Stream:
    """The stream of the joint embedding's batches: fields as of `batches.joint_embedding`.

    The pictures of a batch are those of the order, so that several may be of one class.

    Args:
        split: of training.
        texts: (shard, first caption, stop) → the text tower's input for these captions.
        batch_size: b, over all processes.
        seed: of all choices.

    Raises:
        UserError: the batch is larger than the data set.
    """
    order = Order(tuple(e.images for e in split.index.shards), batch_size, split.buffer, seed)
    several = split.counts["labels"] > 1

    def make(step: int, drawn: Drawn) -> Batch:
        chosen = np.random.default_rng((seed, 2, step)).integers(0, drawn.counts)[drawn.rows]
        label = drawn.labels if several else np.arange(batch_size, dtype=np.int32)
        tokens = [rows[caption] for rows, caption in zip(drawn.texts, chosen, strict=True)]
        return {
            "image": drawn.pictures,
            "label": label[drawn.rows],
            "tokens": np.stack(tokens),
        }

    return Stream(split, order, texts, make)

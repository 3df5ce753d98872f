"""Which records a step takes: arithmetic of (seed, step), without reading anything.

An epoch permutes the shards. Their records, one shard after another, are then cut into `lanes`
equal stretches. Every batch takes as many records of each lane. A lane is read window by window,
and the records of a window are taken in a permuted order. A process reads only the lanes of its own
rows, of which it holds two windows, whatever the size of the set.
"""

import dataclasses
import functools

import numpy as np

from stackgan_jax.runtime.errors import UserError

MOST_LANES = 256  # more places to read at once would make small reads


@dataclasses.dataclass(frozen=True, eq=False)
class Order:
    """The order of a stream.

    Attributes:
        counts: the number of records of each shard.
        batch_size: b, over all processes.
        buffer: the number of records, over all lanes, of which a window's order is drawn.
        seed: of all permutations.
    """

    counts: tuple[int, ...]
    batch_size: int
    buffer: int
    seed: int

    def __post_init__(self) -> None:
        """Raises UserError if there are fewer records than a batch has."""
        if self.total < self.batch_size:
            raise UserError(
                f"batch_size {self.batch_size} is more than the data set's {self.total} images; "
                f"set --config.batch_size to {self.total} or less."
            )

    @functools.cached_property
    def total(self) -> int:
        """The number of records."""
        return sum(self.counts)

    @functools.cached_property
    def lanes(self) -> int:
        """The number of places that are read at once; it divides the batch."""
        most = min(self.batch_size, MOST_LANES)
        return next(n for n in range(most, 0, -1) if self.batch_size % n == 0)

    @property
    def rows(self) -> int:
        """The number of records of each lane in a batch; lane i has rows i·rows and following."""
        return self.batch_size // self.lanes

    @functools.cached_property
    def length(self) -> int:
        """The number of records of each lane in an epoch; the rest of an epoch is dropped."""
        return self.total // self.lanes // self.rows * self.rows

    @functools.cached_property
    def window(self) -> int:
        """The number of records of a lane's window; the last one of an epoch may have fewer."""
        return max(self.rows, self.buffer // self.lanes // self.rows * self.rows)

    @property
    def windows(self) -> int:
        """The number of windows of an epoch."""
        return -(-self.length // self.window)

    def place(self, step: int) -> tuple[int, int, int]:
        """Epoch and window of a step, and the step's first record in each lane's window."""
        epoch, position = divmod(step, self.length // self.rows)
        window, start = divmod(position * self.rows, self.window)
        return epoch, window, start

    @functools.lru_cache(maxsize=4)  # noqa: B019, an order lives as long as its training
    def shards(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards in the order of an epoch, and for each the number of records to its end."""
        shards = np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.counts))
        return shards, np.cumsum(np.asarray(self.counts)[shards])

    def after(self, epoch: int, window: int) -> tuple[int, int]:
        """Epoch and window of the next window."""
        return (epoch, window + 1) if window + 1 < self.windows else (epoch + 1, 0)

    def stretch(self, epoch: int, lane: int, window: int) -> list[tuple[int, int, int]]:
        """A lane's window as parts of shards: (shard, first record, stop), in order."""
        shards, ends = self.shards(epoch)
        begin = lane * (self.total // self.lanes) + window * self.window
        stop = begin + self._size(window)
        parts, position = [], begin
        place = int(np.searchsorted(ends, begin, "right"))
        while position < stop:
            start = int(ends[place]) - self.counts[shards[place]]
            upto = min(stop, int(ends[place]))
            if upto > position:
                parts.append((int(shards[place]), position - start, upto - start))
            position, place = upto, place + 1
        return parts

    def permutation(self, epoch: int, lane: int, window: int) -> np.ndarray:
        """The order in which the records of a lane's window are taken."""
        rng = np.random.default_rng((self.seed, 4, epoch, lane, window))
        return rng.permutation(self._size(window))

    def lanes_of(self, first: int, stop: int) -> range:
        """The lanes that have rows from `first` to before `stop` of the batch."""
        return range(first // self.rows, -(-stop // self.rows))

    def _size(self, window: int) -> int:
        return min(self.window, self.length - window * self.window)

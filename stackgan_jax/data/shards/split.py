"""A prepared split that is read where it lies: the interface of `data.split.Split`.

Nothing is held but the index. What is asked for is read from the shards: a picture, the captions of
a shard, the labels of all. The test split and reports are read so; training streams by `stream`.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stackgan_jax.data.batches import CaptionEmbeddings
from stackgan_jax.data.shards import shard, stream
from stackgan_jax.data.shards.embeddings import Embeddings
from stackgan_jax.data.shards.reader import Rows, ShardReader
from stackgan_jax.data.shards.stream import Stream

LOOKED_AT = 8  # shards whose captions stand for all


class ShardedSplit(ShardReader):
    """A split in shards; its methods are those of `data.split.Split`."""

    @property
    def images(self) -> Rows:
        """`[n, load_size, load_size, 3]` uint8, read where it is indexed."""
        counts = [entry.images for entry in self.index.shards]
        return Rows(counts, (self.load_size, self.load_size, 3), np.uint8, self._pictures)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """`[n]` int32, read from all shards at the first use."""
        shards = range(len(self.index.shards))
        return np.concatenate([self._numbers(number).labels for number in shards])

    def caption_counts(self) -> np.ndarray:
        """`[n]`, the number of each image's captions, read from all shards."""
        shards = range(len(self.index.shards))
        return np.concatenate([self._numbers(number).counts for number in shards])

    @functools.cached_property
    def attributes(self) -> Mapping[str, np.ndarray]:
        """Name → `[n]` int32, read from all shards at the first use."""
        each = [shard.all_numbers(self.directory, entry) for entry in self.index.shards]
        names = [name for name in each[0] if name.startswith("attribute/")]
        return {
            name.removeprefix("attribute/"): np.concatenate([arrays[name] for arrays in each])
            for name in names
        }

    @property
    def captions(self) -> "Captions":
        """A list of sentences for each image, read shard by shard."""
        return Captions(self)

    def some_captions(self) -> list[str]:
        """The captions of a few shards, evenly spaced, which stand for all."""
        shards = range(len(self.index.shards))
        chosen = shards[:: -(-len(shards) // LOOKED_AT)]
        return [caption for number in chosen for caption in self._captions_of(number)]

    def embed_captions(self, encoder: Any) -> CaptionEmbeddings:
        """The embeddings of every caption, computed once and stored beside the shards.

        Args:
            encoder: a `text.Encoder` of width t.

        Returns:
            `flat`: `[captions, t]` float32, read where it is indexed.
        """
        counts = self.caption_counts()
        return CaptionEmbeddings(self._embedded(encoder).rows, np.cumsum([0, *counts]))

    def image_text(
        self, encoder: Any, batch_size: int, captions_per_image: int, seed: int
    ) -> Stream:
        """The GANs' batches, streamed; see `Split.image_text`."""
        embedded = self._embedded(encoder)
        return stream.image_text(self, embedded, batch_size, captions_per_image, seed)

    def joint_embedding(self, encoder: Any, batch_size: int, seed: int, *_: Any) -> Stream:
        """The joint embedding's batches, streamed; see `Split.joint_embedding`."""
        tokens = lambda number, *part: encoder.tokens(self.captions_of(number)[slice(*part)])
        read = tokens if encoder.trainable else self._embedded(encoder).read
        return stream.joint_embedding(self, read, batch_size, seed)

    def _embedded(self, encoder: Any) -> Embeddings:
        embeddings = Embeddings(self, encoder)
        embeddings.compute()
        return embeddings

    def _pictures(self, number: int, start: int, stop: int) -> np.ndarray:
        read = enumerate(self.records(number, start, stop), start)
        return np.stack([self.picture(number, i, content) for i, content in read])


class Captions(Sequence):
    """The captions of each image; the texts of one shard are held at a time."""

    def __init__(self, split: ShardedSplit) -> None:
        self._split = split
        self._ends = np.cumsum([0, *(entry.images for entry in split.index.shards)])
        self._of_shard = functools.lru_cache(maxsize=2)(self._read)

    def __len__(self) -> int:
        """The number of images."""
        return int(self._ends[-1])

    def __iter__(self) -> Iterator[list[str]]:
        """The captions of each image in order."""
        for number in range(len(self._split.index.shards)):
            yield from self._read(number)

    def __getitem__(self, key: int) -> list[str]:
        """The captions of an image."""
        if not 0 <= key < len(self):
            raise IndexError(key)
        owner = int(np.searchsorted(self._ends, key, "right")) - 1
        return self._of_shard(owner)[key - int(self._ends[owner])]

    def _read(self, number: int) -> list[list[str]]:
        return self._split.texts(self._split.index.shards[number])["captions"]

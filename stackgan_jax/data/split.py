"""A split of a data set, decoded: its pictures and captions, and the batches made of them.

Its pictures lie in one memory-mapped uint8 array. Any number of them streams in bounded memory, an
epoch's order is a true permutation, and a resumed run continues with the next batch at once.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_jax.data import batches
from stackgan_jax.data.batches import CaptionEmbeddings, Source
from stackgan_jax.runtime import files, mesh
from stackgan_jax.runtime.locking import locked

EMBEDDED_AT_ONCE = 1 << 13  # captions; bounds the memory


@dataclasses.dataclass(frozen=True)
class Split:
    """One split of a data set, decoded.

    Attributes:
        directory: its folder.
        images: `[n, load_size, load_size, 3]` uint8, memory-mapped.
        labels: `[n]` int32 classes.
        captions: n lists of one or more sentences.
        attributes: name → `[n]` int32; empty for data sets without attributes.
    """

    directory: Path
    images: np.ndarray
    labels: np.ndarray
    captions: Sequence[Sequence[str]]
    attributes: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    @property
    def counts(self) -> dict[str, int]:
        """The number of images, captions and labels."""
        captions = sum(map(len, self.captions))
        return {"images": len(self), "captions": captions, "labels": len(np.unique(self.labels))}

    def some_captions(self) -> list[str]:
        """All captions. Of a split in shards these are those of a few shards."""
        return [caption for captions in self.captions for caption in captions]

    def embed_captions(self, encoder: Any) -> CaptionEmbeddings:
        """The embeddings of every caption, computed once and stored in the split's folder.

        Args:
            encoder: a `text.Encoder` of width t.

        Returns:
            `flat`: `[captions, t]` float32, memory-mapped.
        """

        def write(path: Path) -> None:
            flat = self.some_captions()
            print(f"Embedding {len(flat):,} captions with {encoder.name} …", flush=True)
            shape = len(flat), encoder.width
            embedded = np.lib.format.open_memmap(path, "w+", np.float32, shape)
            for start in range(0, len(flat), EMBEDDED_AT_ONCE):
                stop = start + EMBEDDED_AT_ONCE
                embedded[start:stop] = encoder.embed(flat[start:stop])
            embedded.flush()

        stored = computed_once(self.directory / f"embeddings-{encoder.fingerprint}.npy", write)
        return self._per_caption(stored)

    def image_text(
        self, encoder: Any, batch_size: int, captions_per_image: int, seed: int
    ) -> Source:
        """The GANs' batches; see `batches.image_text`. The captions are embedded first.

        Args:
            encoder: a `text.Encoder`.
            batch_size: over all processes.
            captions_per_image: number of captions whose embeddings are averaged.
            seed: of all choices.

        Raises:
            UserError: the batch is larger than the split.
        """
        embedded = self.embed_captions(encoder)
        return batches.image_text(
            self.images, self.labels, embedded, batch_size, captions_per_image, seed
        )

    def joint_embedding(
        self,
        encoder: Any,
        batch_size: int,
        seed: int,
        pictures: np.ndarray | None = None,
        places: np.ndarray | None = None,
    ) -> Source:
        """The joint embedding's batches; see `batches.joint_embedding`.

        Args:
            encoder: a `text.Encoder`; one that is trained reads tokens, others give embeddings.
            batch_size: over all processes.
            seed: of all choices.
            pictures: what the image tower reads in place of the split's images.
            places: see `batches.joint_embedding`.
        """
        if encoder.trainable:
            tokens = self._per_caption(encoder.tokens(self.some_captions()))
        else:
            tokens = self.embed_captions(encoder)
        pictures = self.images if pictures is None else pictures
        return batches.joint_embedding(pictures, self.labels, tokens, batch_size, seed, places)

    def _per_caption(self, rows: np.ndarray) -> CaptionEmbeddings:
        """Rows of all captions, `[captions, …]`, with each image's part of them."""
        return CaptionEmbeddings(rows, np.cumsum([0, *map(len, self.captions)]))


def open_split(directory: Path) -> Split:
    """Opens a split that was prepared in a folder."""
    with np.load(directory / "attributes.npz") as stored:
        attributes = dict(stored)
    return Split(
        directory=directory,
        images=np.load(directory / "images.npy", mmap_mode="r"),
        labels=np.load(directory / "labels.npy"),
        captions=json.loads((directory / "captions.json").read_text(encoding="utf-8")),
        attributes=attributes,
    )


def computed_once(path: Path, write: Callable[[Path], None]) -> np.ndarray:
    """An array that is kept in a file, memory-mapped; the first use computes it.

    Of several processes the first one writes. Another run may need the same array at that time.

    Args:
        path: an .npy file.
        write: writes the array to the path that it is given, which becomes `path` when all is done.
    """

    def compute() -> None:
        if path.exists():
            return
        with locked(path):
            if not path.exists():
                with files.replacing(path) as partial:
                    write(partial)

    mesh.process_0_first(compute, f"compute {path}")
    return np.load(path, mmap_mode="r")

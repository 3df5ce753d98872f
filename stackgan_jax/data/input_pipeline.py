"""From a data set to a decoded split on disk, and from its captions to embeddings.

A split is decoded once, at load size, into one memory-mapped uint8 array. Any number of images then
streams in bounded memory, an epoch's order is a true permutation, and a resumed run continues with
the next batch at once. `batches` draws from it.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.data import batches, preparation, registry
from stackgan_jax.data.batches import CaptionEmbeddings, Source
from stackgan_jax.data.shards import index, stream, writing
from stackgan_jax.data.shards.embeddings import Embeddings
from stackgan_jax.data.shards.split import ShardedSplit
from stackgan_jax.data.shards.stream import Stream
from stackgan_jax.runtime import configuration, files, mesh, paths, run_files
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.locking import locked

DATA = "data.json"  # the file of a run that identifies its training data
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


def require_known(data: ConfigDict) -> None:
    """Raises UserError if the data of a config are unknown or not there."""
    if not data.get("shards"):
        registry.source(data)


def load(data: ConfigDict, split: str, load_size: int) -> Split | ShardedSplit:
    """Opens a split. It is prepared and decoded first unless that has already been done.

    A split in `data.shards` is only opened there: --mode=prepare prepares it.

    Args:
        data: `config.data`: `name`, `builder_config`, `path`, `crop`, `dir` ("" for the default),
            `max_damaged` (the share of images that may be unusable), `shards` ("" for none).
        split: "train" or "test".
        load_size: side of the stored pictures in pixels.

    Raises:
        UserError: the data do not exist, or too many images are damaged.
    """
    if data.get("shards"):
        return _open_shards(data, split, load_size)
    for name in ("path", "dir"):
        paths.require_local(data.get(name) or "", f"config.data.{name}")
    source = registry.source(data)
    directory = preparation.place(source, split, load_size, data.crop)
    mesh.process_0_first(
        lambda: preparation.prepare(source, split, load_size, data.crop, data.max_damaged),
        f"prepare {directory}",
    )
    return _open(directory)


def prepare(data: ConfigDict, split: str, load_size: int) -> Split | ShardedSplit:
    """Prepares a split, in `data.shards` or in the local cache, and opens it; errors as of `load`.

    What is whole already is left as it is.
    """
    if data.get("shards"):
        paths.require_local(data.get("path") or "", "config.data.path")
        writing.prepare(data, split, load_size)
    return load(data, split, load_size)


def _open_shards(data: ConfigDict, split: str, load_size: int) -> ShardedSplit:
    data = registry.completed(data)
    directory = index.place(data, split, load_size)
    if not index.exists(directory):
        raise UserError(
            f"There is no prepared set {directory}; prepare it with the same options and "
            "--mode=prepare, or correct --config.data.shards."
        )
    found = index.read(directory, data.leave_out)
    index.require_whole(found, found.shards[jax.process_index() :: jax.process_count()])
    return ShardedSplit(found, load_size, data.crop, data.shuffle_buffer)


def record_data(split: Split, workdir: Path) -> None:
    """Records in a run which data it is trained on, by their content, not by their location.

    Raises:
        UserError: the run has already begun with other data.
    """
    facts = preparation.facts(split.directory)
    here = {name: facts[name] for name in ("source", "images", "fingerprint")}
    there = _recorded_data(workdir) if configuration.has_begun(workdir) else None
    if there and there["fingerprint"] != here["fingerprint"]:
        raise UserError(
            f"{workdir} was trained on {there['images']:,} images of {there['source']}. The data "
            f"here are {here['images']:,} images of {here['source']} with other contents; give "
            "another --workdir, or restore the earlier pictures and captions."
        )
    if jax.process_index() == 0:
        files.write_text(workdir / DATA, json.dumps(here, indent=2) + "\n")


def warn_of_other_data(split: Split, encoder_run: Path) -> None:
    """Prints a message if a text encoder was trained on other data, which may be intended."""
    there, here = _recorded_data(encoder_run), preparation.facts(split.directory)
    if there and there["fingerprint"] != here["fingerprint"] and jax.process_index() == 0:
        print(
            f"The text encoder of {encoder_run} was trained on other data: "
            f"{there['images']:,} images of {there['source']}. "
            "Choose another with --config.text_encoder if that is not intended.",
            flush=True,
        )


def _recorded_data(workdir: Path) -> dict[str, Any] | None:
    path = workdir / DATA
    return run_files.read(path) if run_files.exists(path) else None


def embed_captions(split: Split, encoder: Any) -> CaptionEmbeddings:
    """The embeddings of every caption of a split, computed once and stored in its folder.

    Args:
        split: its captions are embedded.
        encoder: a `text.Encoder` of width t.

    Returns:
        `flat`: `[captions, t]` float32, memory-mapped.
    """
    if isinstance(split, ShardedSplit):
        rows = _embedded(split, encoder).rows
        return CaptionEmbeddings(rows, np.cumsum([0, *split.caption_counts()]))

    def write(path: Path) -> None:
        flat = [caption for captions in split.captions for caption in captions]
        print(f"Embedding {len(flat):,} captions with {encoder.name} …", flush=True)
        shape = len(flat), encoder.width
        embedded = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        for start in range(0, len(flat), EMBEDDED_AT_ONCE):
            stop = start + EMBEDDED_AT_ONCE
            embedded[start:stop] = encoder.embed(flat[start:stop])
        embedded.flush()

    stored = computed_once(split.directory / f"embeddings-{encoder.fingerprint}.npy", write)
    return per_caption(split, lambda _: stored)


def image_text(
    split: Split | ShardedSplit, encoder: Any, config: ConfigDict, batch_size: int = 0
) -> Source | Stream:
    """The GANs' batches from a split; its captions are embedded first unless they are already.

    Args:
        split: of training.
        encoder: a `text.Encoder`.
        config: of a stage: `batch_size`, `captions_per_image`, `seed`.
        batch_size: another size of the batches than the config's; 0 for that.

    Raises:
        UserError: the batch is larger than the split.
    """
    known = batch_size or config.batch_size, config.captions_per_image, config.seed
    if isinstance(split, ShardedSplit):
        return stream.image_text(split, _embedded(split, encoder), *known)
    embedded = embed_captions(split, encoder)
    return batches.image_text(split.images, split.labels, embedded, *known)


def joint_embedding(
    split: Split | ShardedSplit,
    encoder: Any,
    batch_size: int,
    seed: int,
    pictures: np.ndarray | None = None,
    places: np.ndarray | None = None,
) -> Source | Stream:
    """The joint embedding's batches from a split.

    Args:
        split: of training.
        encoder: a `text.Encoder`; one that is trained reads tokens, others give embeddings.
        batch_size: over all processes.
        seed: of all choices.
        pictures: what the image tower reads in place of the split's images; not of shards.
        places: see `batches.joint_embedding`; not of shards.
    """
    if isinstance(split, ShardedSplit):
        tokens = lambda number, *part: encoder.tokens(split.captions_of(number)[slice(*part)])
        read = tokens if encoder.trainable else _embedded(split, encoder).read
        return stream.joint_embedding(split, read, batch_size, seed)
    if encoder.trainable:
        tokens = per_caption(split, encoder.tokens)
    else:
        tokens = embed_captions(split, encoder)
    pictures = split.images if pictures is None else pictures
    return batches.joint_embedding(pictures, split.labels, tokens, batch_size, seed, places)


def _embedded(split: ShardedSplit, encoder: Any) -> Embeddings:
    embeddings = Embeddings(split, encoder)
    embeddings.compute()
    return embeddings


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


def per_caption(split: Split, read: Callable[[Sequence[str]], np.ndarray]) -> CaptionEmbeddings:
    """The array that `read` returns for all captions of a split, with each image's part of it.

    Args:
        split: a split with c captions in all.
        read: c captions → `[c, …]`.
    """
    flat = [caption for captions in split.captions for caption in captions]
    counts = [len(captions) for captions in split.captions]
    return CaptionEmbeddings(read(flat), np.cumsum([0, *counts]))


def _open(directory: Path) -> Split:
    with np.load(directory / "attributes.npz") as stored:
        attributes = dict(stored)
    return Split(
        directory=directory,
        images=np.load(directory / "images.npy", mmap_mode="r"),
        labels=np.load(directory / "labels.npy"),
        captions=json.loads((directory / "captions.json").read_text(encoding="utf-8")),
        attributes=attributes,
    )

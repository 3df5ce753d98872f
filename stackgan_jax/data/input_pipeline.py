"""From a data set to a decoded split: decode once, keep on disk.

A split is decoded once to load size into one memory-mapped uint8 array, so that any number of
images streams in bounded memory, an epoch's order is a true permutation, and a resumed run takes
up the next batch at once. `batches` draws from it.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from stackgan_jax.data import preparation, registry
from stackgan_jax.data.batches import CaptionEmbeddings
from stackgan_jax.runtime import configuration, mesh, paths
from stackgan_jax.runtime.errors import UserError

DATA = "data.json"  # in a run: what its data were
EMBEDDED_AT_ONCE = 1 << 13  # captions, so that memory is bounded


@dataclasses.dataclass(frozen=True)
class Split:
    """One split of a data set, decoded.

    Attributes:
      directory: where it lies on disk.
      images: `[n, load_size, load_size, 3]` uint8, memory-mapped.
      labels: `[n]` int32 classes.
      captions: n lists of one or more sentences.
      attributes: name → `[n]` int32, for data sets that have them.
    """

    directory: Path
    images: np.ndarray
    labels: np.ndarray
    captions: Sequence[Sequence[str]]
    attributes: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.images)


def load(data: Any, split: str, load_size: int) -> Split:
    """Opens a split, preparing and decoding it first where that has not been done.

    Args:
      data: `config.data`: `name`, `builder_config`, `path`, `crop`, `dir` ("" for the default),
        `max_damaged` (the share of images that may be unusable).
      split: "train" or "test".
      load_size: side of the stored pictures in pixels.

    Raises UserError when there are no such data, or too many of them are damaged.
    """
    for name in ("path", "dir"):
        paths.require_local(data.get(name) or "", f"config.data.{name}")
    source = registry.source(data)
    directory = preparation.place(source, split, load_size, data.crop)
    mesh.process_0_first(
        lambda: preparation.prepare(source, split, load_size, data.crop, data.max_damaged),
        f"prepare {directory}",
    )
    return _open(directory)


def claim(split: Split, workdir: Path) -> None:
    """Notes in a run what its data are, wherever they lie; UserError where it began with others."""
    path = workdir / DATA
    here = preparation.facts(split.directory)
    here = {name: here[name] for name in ("source", "images", "fingerprint")}
    there = _noted(workdir) if configuration.has_begun(workdir) else None
    if there and there["fingerprint"] != here["fingerprint"]:
        raise UserError(
            f"{workdir} was trained on {there['images']:,} images of {there['source']}, and these "
            f"are {here['images']:,} images of {here['source']} with other contents; give another "
            "--workdir, or the pictures and captions as they were."
        )
    if jax.process_index() == 0:
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps(here, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)


def tell_of_other_data(split: Split, encoder_run: Path) -> None:
    """Says so where the text encoder was trained on other data, which may be meant or a mistake."""
    there, here = _noted(encoder_run), preparation.facts(split.directory)
    if there and there["fingerprint"] != here["fingerprint"] and jax.process_index() == 0:
        print(
            f"The text encoder of {encoder_run} was trained on other data: "
            f"{there['images']:,} images of {there['source']}. "
            "--config.text_encoder names another.",
            flush=True,
        )


def _noted(workdir: Path) -> dict[str, Any] | None:
    path = workdir / DATA
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def embed_captions(split: Split, encoder: Any) -> CaptionEmbeddings:
    """The embeddings of every caption of a split, computed once and kept beside it."""
    path = split.directory / f"embeddings-{encoder.fingerprint}.npy"

    def embed() -> None:
        if path.exists():
            return
        flat = [caption for captions in split.captions for caption in captions]
        print(f"Embedding {len(flat):,} captions with {encoder.name} …", flush=True)
        partial = path.with_name(f".{path.stem}.{os.getpid()}.npy")
        embedded = np.lib.format.open_memmap(partial, "w+", np.float32, (len(flat), encoder.width))
        for start in range(0, len(flat), EMBEDDED_AT_ONCE):
            stop = start + EMBEDDED_AT_ONCE
            embedded[start:stop] = encoder.embed(flat[start:stop])
        embedded.flush()
        partial.replace(path)

    mesh.process_0_first(embed, f"embed {path}")
    return per_caption(split, lambda _: np.load(path, mmap_mode="r"))


def per_caption(split: Split, read: Callable[[Sequence[str]], np.ndarray]) -> CaptionEmbeddings:
    """What `read` makes of every caption of a split, `[captions, …]`."""
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

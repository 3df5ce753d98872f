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

from stackgan_jax.data import preparation, registry
from stackgan_jax.data.batches import CaptionEmbeddings
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


def load(data: ConfigDict, split: str, load_size: int) -> Split:
    """Opens a split. It is prepared and decoded first unless that has already been done.

    Args:
        data: `config.data`: `name`, `builder_config`, `path`, `crop`, `dir` ("" for the default),
            `max_damaged` (the share of images that may be unusable).
        split: "train" or "test".
        load_size: side of the stored pictures in pixels.

    Raises:
        UserError: the data do not exist, or too many images are damaged.
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

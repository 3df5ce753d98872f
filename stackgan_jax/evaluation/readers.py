"""The networks that read pictures for the metrics; what they read in real ones is kept on disk."""

import dataclasses
import hashlib
import json
import os
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import numpy as np

from stackgan_jax.data.images import to_float
from stackgan_jax.evaluation import attributes, inception_weights
from stackgan_jax.evaluation.inception import RESIZES, Extractor
from stackgan_jax.evaluation.inception_weights import SHA256_PREFIX, Weights
from stackgan_jax.evaluation.protocols import Protocol
from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.scorer import Scorer

Features = dict[str, np.ndarray]  # name → [n, …], row by row of the pictures
BLOCK = 256  # pictures read at once
_FORMAT = 1  # of what is kept; another when a reader's numbers change


class Reader(typing.Protocol):
    """A network that reads pictures.

    Attributes:
      stamp: the fields of a `Stamp` that are its own.
    """

    @property
    def stamp(self) -> Mapping[str, str]: ...

    @property
    def warning(self) -> str:
        """What to mind of every score by this network."""
        return ""

    def read(self, images: np.ndarray) -> Features:
        """uint8 [n, s, s, 3] → what it reads of each."""
        ...


@dataclasses.dataclass(frozen=True)
class InceptionReader(Reader):
    """FID's Inception-v3: "2048" and "logits_unbiased"."""

    weights: Weights
    extractor: Extractor

    @classmethod
    def of(cls, protocol: Protocol) -> "InceptionReader":
        """With the weights, the resize and the precision that a protocol names."""
        weights = inception_weights.load(protocol.inception)
        extractor = Extractor(
            weights.variables, protocol.resize, protocol.dtype, protocol.batch_size
        )
        return cls(weights, extractor)

    @property
    def stamp(self) -> dict[str, str]:
        which = "the published weights" if self.weights.published else "not the published weights"
        return {
            "weights": f"{self.weights.file} ({which})",
            "sha256": self.weights.sha256,
            "resize": f"{self.extractor.resize}: {RESIZES[self.extractor.resize]}",
            "precision": self.extractor.dtype,
        }

    @property
    def warning(self) -> str:
        if self.weights.published:
            return ""
        return (
            f"not the published weights, whose SHA-256 begins with {SHA256_PREFIX}: comparable "
            "with no published number"
        )

    def read(self, images: np.ndarray) -> Features:
        features = self.extractor(images)
        return {layer: features[layer] for layer in ("2048", "logits_unbiased")}


@dataclasses.dataclass(frozen=True)
class TowerReader(Reader):
    """The image tower that was trained with the run's text encoder: "joint"."""

    towers: Scorer

    @property
    def stamp(self) -> dict[str, str]:
        size = self.towers.image_size
        return {
            "weights": f"the run's text encoder and image tower ({self.towers.encoder.name})",
            "sha256": sha256([self.towers.encoder.fingerprint, self.towers.params]),
            "resize": f"middle, averaged over squares to {size}×{size}",
            "precision": "float32",
        }

    def read(self, images: np.ndarray) -> Features:
        size = self.towers.image_size
        if min(images.shape[1:3]) < size:
            raise UserError(
                f"Pictures of {images.shape[1]} pixels are too small for the image tower, which "
                f"reads {size}; choose a text encoder with a smaller config.joint.image_size."
            )
        return {"joint": self.towers.embed_images(images)}


@dataclasses.dataclass(frozen=True)
class AttributeReader(Reader):
    """The judge of synthetic birds: each attribute's values, "attribute/<name>"."""

    judge: attributes.Judge

    @property
    def stamp(self) -> dict[str, str]:
        return {
            "weights": "attribute classifier, trained on the real training images",
            "sha256": sha256(self.judge.variables),
            "resize": f"area average to {attributes.WORKING_SIZE}×{attributes.WORKING_SIZE}",
            "precision": "float32",
        }

    def read(self, images: np.ndarray) -> Features:
        read = self.judge.read(to_float(images))
        return {f"attribute/{name}": values for name, values in read.items()}


def sha256(tree: Any) -> str:
    """64 hex digits of names, strings and arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        content = leaf.encode() if isinstance(leaf, str) else np.ascontiguousarray(leaf).tobytes()
        digest.update(jax.tree_util.keystr(path).encode() + content)
    return digest.hexdigest()


def blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """uint8 [n, s, s, 3], which may lie on disk → parts of at most BLOCK."""
    for start in range(0, len(images), BLOCK):
        yield np.ascontiguousarray(images[start : start + BLOCK])


def read_all(
    reader: Reader, images: np.ndarray, progress: Callable[[int], None] = lambda done: None
) -> Features:
    """Everything that `reader` reads in pictures; `progress` hears how many are done."""
    parts, done = [], 0
    for block in blocks(images):
        parts.append(reader.read(block))
        done += len(block)
        progress(done)
    return joined(parts)


def joined(parts: list[Features]) -> Features:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def real_features(
    reader: Reader, images: np.ndarray, folder: Path, progress: Callable[[int], None]
) -> Features:
    """As `read_all`, read once and then kept in `folder`.

    What is kept is found by the pictures' own content, the network, its weights, the resize and
    the precision: change any and it is read anew.
    """
    # The weights' file may be called otherwise: its content decides.
    stamp = {name: value for name, value in reader.stamp.items() if name != "weights"}
    digest = hashlib.sha256(json.dumps([_FORMAT, images.shape, stamp]).encode())
    for block in blocks(images):
        digest.update(block.tobytes())
    path = folder / f"features-{digest.hexdigest()[:32]}.npz"
    if jax.process_index() == 0 and _kept(path) is None:
        _keep(path, read_all(reader, images, progress))
    mesh.wait_for_all_processes(f"read {path}")
    kept = _kept(path)
    return read_all(reader, images, progress) if kept is None else kept


def _kept(path: Path) -> Features | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, EOFError, BadZipFile):  # not there, or damaged
        return None


def _keep(path: Path, features: Features) -> None:
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(partial, **features)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        print(f"What was read of the real images can't be kept: {error}.", flush=True)

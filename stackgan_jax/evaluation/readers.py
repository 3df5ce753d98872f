"""Readers: the networks that read features from pictures for the metrics."""

import dataclasses
import hashlib
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from stackgan_jax.data.images import to_float
from stackgan_jax.evaluation import attributes, inception_weights
from stackgan_jax.evaluation.inception import RESIZES, Extractor
from stackgan_jax.evaluation.inception_weights import SHA256_PREFIX, Weights
from stackgan_jax.evaluation.protocols import Protocol
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text import scorer
from stackgan_jax.training.game import prior_configs

Features = dict[str, np.ndarray]  # name → [n, …], one row for each picture
BLOCK = 256  # pictures read at once


class Reader(typing.Protocol):
    """A network that reads pictures.

    Attributes:
        name: one of `registry.READS`; metrics say by it whose features they use.
    """

    name: typing.ClassVar[str]

    @property
    def stamp(self) -> Mapping[str, str]:
        """The fields of a `Stamp` that describe the network."""
        ...

    @property
    def warning(self) -> str:
        """What a reader of every score by this network must know; "" for nothing."""
        return ""

    def read(self, images: np.ndarray) -> Features:
        """Reads pictures, uint8 `[n, s, s, 3]`."""
        ...


@dataclasses.dataclass(frozen=True)
class InceptionReader(Reader):
    """FID's Inception-v3: reads "2048" and "logits_unbiased"."""

    name: typing.ClassVar[str] = "inception"
    weights: Weights
    extractor: Extractor

    @classmethod
    def of(cls, protocol: Protocol) -> "InceptionReader":
        """Returns the reader with the weights, the resize and the precision of a protocol."""
        weights = inception_weights.load(protocol.inception)
        extractor = Extractor(
            weights.variables, protocol.resize, protocol.dtype, protocol.batch_size
        )
        return cls(weights, extractor)

    @property
    def stamp(self) -> dict[str, str]:
        """The weights' file and content, the resize and the precision."""
        which = "the published weights" if self.weights.published else "not the published weights"
        return {
            "weights": f"{self.weights.file} ({which})",
            "sha256": self.weights.sha256,
            "resize": f"{self.extractor.resize}: {RESIZES[self.extractor.resize]}",
            "precision": self.extractor.dtype,
        }

    @property
    def warning(self) -> str:
        """Warns of weights that are not the published ones."""
        if self.weights.published:
            return ""
        return (
            f"not the published weights, whose SHA-256 begins with {SHA256_PREFIX}: comparable "
            "with no published number"
        )

    def read(self, images: np.ndarray) -> Features:
        """Reads pictures, uint8 `[n, s, s, 3]`."""
        features = self.extractor(images)
        return {layer: features[layer] for layer in ("2048", "logits_unbiased")}


@dataclasses.dataclass(frozen=True)
class JointReader(Reader):
    """The image encoder of the run's joint embedding of text and images: reads "joint".

    Attributes:
        scorer: the text encoder and the image tower.
        trained_against: whether the generator was trained to please this very image tower, or a
            probe on the network that it reads.
    """

    name: typing.ClassVar[str] = "joint"
    scorer: "scorer.Scorer"
    trained_against: bool = False

    @classmethod
    def of_run(cls, directory: Path) -> "JointReader":
        """Returns the reader of a run.

        Raises:
            UserError: as `scorer.load`.
        """
        loaded = scorer.load(directory)
        return cls(loaded, trained_against=trained_against(directory, loaded.network))

    @property
    def stamp(self) -> dict[str, str]:
        """The encoders of the run, with a fingerprint of their weights."""
        size = self.scorer.image_size
        # "tower" stays: stamps of earlier evaluations say so.
        return {
            "weights": f"the run's text encoder and image tower ({self.scorer.encoder.name})",
            "sha256": sha256([self.scorer.encoder.fingerprint, self.scorer.params]),
            "resize": (
                f"middle, averaged over squares to {size}×{size}"
                if self.scorer.network == scorer.TRAINED
                else f"bilinear to {size}×{size}, read by {self.scorer.network}"
            ),
            "precision": "float32",
        }

    @property
    def warning(self) -> str:
        """Warns of an image tower that the generator was trained against."""
        if not self.trained_against:
            return ""
        if self.scorer.network == scorer.TRAINED:
            return "the generator was trained against the image tower that gives this score"
        return (
            "the generator was trained by a probe on a pretrained network's features, and this "
            "score reads such features"
        )

    def read(self, images: np.ndarray) -> Features:
        """Reads pictures, uint8 `[n, s, s, 3]`; raises UserError for too small ones."""
        self.require_size(images)
        return {"joint": self.scorer.embed_images(images)}

    def require_size(self, images: np.ndarray) -> None:
        """Raises UserError for pictures, `[n, s, s, 3]`, that are too small."""
        size = self.scorer.image_size
        # Pictures for a pretrained network are scaled, larger or smaller.
        if self.scorer.network == scorer.TRAINED and min(images.shape[1:3]) < size:
            raise UserError(
                f"Pictures of {images.shape[1]} pixels are too small for the image encoder, which "
                f"reads {size}; choose a text encoder with a smaller config.joint.image_size."
            )


@dataclasses.dataclass(frozen=True)
class AttributeReader(Reader):
    """The judge of synthetic birds: reads the value of each attribute, "attribute/<name>"."""

    name: typing.ClassVar[str] = "attributes"
    judge: attributes.Judge

    @property
    def stamp(self) -> dict[str, str]:
        """The judge, with a fingerprint of its weights."""
        return {
            "weights": "attribute classifier of the package",
            "sha256": sha256(self.judge.variables),
            "resize": "area average to 64×64, and of close looks",
            "precision": "float32",
        }

    def read(self, images: np.ndarray) -> Features:
        """Reads pictures, uint8 `[n, s, s, 3]`."""
        read = self.judge.read(to_float(images))
        return {f"attribute/{name}": values for name, values in read.items()}


def trained_against(directory: Path, network: str) -> bool:
    """Whether a run's generators, or one of them, were trained against its image tower.

    Args:
        directory: of the run.
        network: that the image tower reads; if it is pretrained, a probe counts as well, because
            its features are of that kind.
    """
    if not (directory / "config.json").is_file():  # an encoder's own folder
        return False
    config = configuration.read(directory / "config.json")
    if not configuration.is_stage(config):
        return False
    stages = (config, *prior_configs(config, directory))
    term = "matching_weight" if network == scorer.TRAINED else "probe_weight"
    return any(stage.training[term] for stage in stages)


def sha256(tree: Any) -> str:
    """Returns 64 hex digits that depend on the names, the strings and the arrays of a tree."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        content = leaf.encode() if isinstance(leaf, str) else np.ascontiguousarray(leaf).tobytes()
        digest.update(jax.tree_util.keystr(path).encode() + content)
    return digest.hexdigest()


def blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yields parts of at most BLOCK pictures, uint8 `[n, s, s, 3]`, which may lie on disk."""
    for start in range(0, len(images), BLOCK):
        yield np.ascontiguousarray(images[start : start + BLOCK])


def read_all(
    reader: Reader, images: np.ndarray, progress: Callable[[int], None] = lambda done: None
) -> Features:
    """Reads all pictures, block by block.

    Args:
        reader: the network.
        images: uint8 `[n, s, s, 3]`.
        progress: called with the number of pictures read so far.
    """
    parts, done = [], 0
    for block in blocks(images):
        parts.append(reader.read(block))
        done += len(block)
        progress(done)
    return joined(parts)


def joined(parts: list[Features]) -> Features:
    """Concatenates the features of several blocks."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

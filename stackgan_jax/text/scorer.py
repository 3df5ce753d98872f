"""Scores any caption against any picture, by a trained text encoder and image tower.

The image tower is kept with the run's text encoder (Reed et al., CVPR 2016).
"""

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from stackgan_jax import text
from stackgan_jax.data import image_features
from stackgan_jax.data.augment import reduced
from stackgan_jax.models.image_tower import FeatureTower, ImageTower
from stackgan_jax.runtime import numpy_files
from stackgan_jax.runtime.errors import UserError, reason
from stackgan_jax.text.encoders.encoder import require_finite

IMAGE_TOWER_FILE = "image_tower.npz"
TRAINED = "trained"  # the network of an image tower that reads pictures itself
CHUNK = 256  # pictures embedded at once


@dataclasses.dataclass(frozen=True)
class Scorer:
    """A text encoder and the image tower trained with it. Their inner products are scores.

    Attributes:
        encoder: Embeds the captions, with the shift and scale of the joint training. The run's own
            text encoder may be normalised differently afterwards.
        image: The image tower; its width is the encoder's.
        params: The image tower's parameters.
        image_size: Side of the pictures that the image tower reads. Others are cut and reduced;
            for a pretrained network they are scaled.
        network: `TRAINED`, or the frozen network whose features the tower reads. Its weights are
            not part of the run.
    """

    encoder: text.Encoder
    image: ImageTower | FeatureTower
    params: Any
    image_size: int
    network: str = TRAINED

    def embed_captions(self, captions: Iterable[str]) -> np.ndarray:
        """Embeds n captions: [n, width] float32."""
        return self.encoder.embed(captions)

    def embed_images(self, images: np.ndarray) -> np.ndarray:
        """Embeds pictures.

        Args:
            images: [n, l, l, 3] uint8, l at least `image_size` unless the network is pretrained.

        Returns:
            [n, width] float32.

        Raises:
            UserError: If the network's package is missing, or only its features were known.
        """
        if self.network == image_features.FILE:
            raise UserError(
                f"The image tower of {self.encoder.name} was trained on features from a file, so "
                "it can't score other pictures; train one with --config.image.network="
                f"{image_features.NETWORKS[0]} or {TRAINED}."
            )
        if self.network != TRAINED:
            found = image_features.compute(images, self.network, self.image_size)
            return self.embed_features(found)
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        padded = [np.resize(chunk, (min(CHUNK, len(images)), *chunk.shape[1:])) for chunk in chunks]
        embedded = [_embed(self.image, self.image_size, self.params, chunk) for chunk in padded]
        return np.concatenate(embedded)[: len(images)]

    def embed_features(self, features: np.ndarray) -> np.ndarray:
        """Embeds pictures by their features: [n, views, d] → [n, width] float32."""
        mean = np.asarray(features, np.float32).mean(axis=1)
        return np.asarray(self.image.apply({"params": self.params}, mean))

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the content of `IMAGE_TOWER_FILE`, which doesn't repeat the encoder's weights."""
        description = {
            "width": self.image.width,
            "network": self.network,
            "features": list(getattr(self.image, "features", ())),
            "image_size": self.image_size,
        }
        weights = traverse_util.flatten_dict(self.params, sep="/")
        return {
            "description": np.array(json.dumps(description)),
            "text_shift": self.encoder.shift,
            "text_scale": np.float64(self.encoder.scale),
            **{f"weights/{name}": np.asarray(array) for name, array in weights.items()},
        }


def load(path: str | Path) -> Scorer:
    """Loads the scorer of a text encoder's folder, or of a workdir that holds one.

    Raises:
        UserError: If there is no text encoder, it has no image tower, or a file is damaged.
    """
    directory = text.find(path)
    encoder = text.load_encoder(directory)
    file = directory / IMAGE_TOWER_FILE
    if not file.is_file():
        raise UserError(
            f"The text encoder {encoder.name} in {directory} has no image tower "
            f"({IMAGE_TOWER_FILE}), so it can't score pictures; train one with "
            "--config=configs/text_encoder.py."
        )
    try:
        return _restored(encoder, numpy_files.read_npz(file, lambda names: names))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"The image tower {file} is damaged ({reason(error)}); train the encoder again."
        ) from error


def _restored(encoder: text.Encoder, arrays: Mapping[str, np.ndarray]) -> Scorer:
    """The inverse of `Scorer.arrays`."""
    require_finite(arrays)
    fields = json.loads(str(arrays["description"]))
    weights = {
        name.removeprefix("weights/"): array
        for name, array in arrays.items()
        if name.startswith("weights/")
    }
    scale = float(arrays["text_scale"])
    network = fields.get("network", TRAINED)  # Earlier files don't say.
    width, features = fields["width"], tuple(fields["features"])
    image = ImageTower(width, features) if network == TRAINED else FeatureTower(width)
    if network == TRAINED:
        _require_shapes(image, fields["image_size"], weights)
    return Scorer(
        encoder=dataclasses.replace(encoder, shift=arrays["text_shift"], scale=scale),
        image=image,
        params=traverse_util.unflatten_dict(weights, sep="/"),
        image_size=fields["image_size"],
        network=network,
    )


def _require_shapes(image: ImageTower, size: int, weights: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError unless the weights are those of the image tower."""
    init = functools.partial(image.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
    wanted = traverse_util.flatten_dict(jax.eval_shape(init)["params"], sep="/")
    if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in weights.items()}:
        raise ValueError("its weights belong to another network")


@functools.partial(jax.jit, static_argnums=(0, 1))
def _embed(module: ImageTower, size: int, params: Any, images: jax.Array) -> jax.Array:
    return module.apply({"params": params}, reduced(jnp.asarray(images), size))

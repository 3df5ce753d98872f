"""The two towers of a joint embedding after training: kept beside the text encoder, loaded to score
any caption against any picture (Reed et al., 2016)."""

import dataclasses
import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from stackgan_jax import text
from stackgan_jax.data.augment import reduced
from stackgan_jax.models.image_tower import ImageTower
from stackgan_jax.runtime.errors import UserError

FILE = "image_tower.npz"
CHUNK = 256  # pictures embedded at once


@dataclasses.dataclass(frozen=True)
class Towers:
    """A text encoder and the image tower trained with it; inner products are scores.

    Attributes:
        encoder: of the captions, shifted and scaled as the image tower knew it; a run's own text
            encoder may be normalised otherwise afterwards.
        image: the image tower; of the encoder's width.
        params: of the image tower.
        image_size: side of the pictures that it sees; others are cut and reduced.
    """

    encoder: text.Encoder
    image: ImageTower
    params: Any
    image_size: int

    def embed_captions(self, captions: Iterable[str]) -> np.ndarray:
        """Captions → [n, width] float32."""
        return self.encoder.embed(captions)

    def embed_images(self, images: np.ndarray) -> np.ndarray:
        """[n, l, l, 3] uint8, l at least `image_size` → [n, width] float32."""
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        padded = [np.resize(chunk, (min(CHUNK, len(images)), *chunk.shape[1:])) for chunk in chunks]
        embedded = [_embed(self.image, self.image_size, self.params, chunk) for chunk in padded]
        return np.concatenate(embedded)[: len(images)]

    def arrays(self) -> dict[str, np.ndarray]:
        """What `FILE` holds; the encoder's weights lie beside it and are not repeated."""
        description = {
            "width": self.image.width,
            "features": list(self.image.features),
            "image_size": self.image_size,
        }
        weights = traverse_util.flatten_dict(self.params, sep="/")
        return {
            "description": np.array(json.dumps(description)),
            "text_shift": self.encoder.shift,
            "text_scale": np.float64(self.encoder.scale),
            **{f"weights/{name}": np.asarray(array) for name, array in weights.items()},
        }


def load(path: str | Path) -> Towers:
    """The towers in a text encoder's directory or in a workdir that holds one.

    Raises UserError when there is no text encoder, or it came without an image tower, or the
    tower's file is damaged.
    """
    directory = text.find(path)
    encoder = text.load_encoder(directory)
    if not (directory / FILE).is_file():
        raise UserError(
            f"The text encoder {encoder.name} in {directory} has no image tower ({FILE}), so it "
            "can't score pictures; train one with --config=configs/text_encoder.py."
        )
    try:
        with (directory / FILE).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        fields = json.loads(str(arrays["description"]))
        image = ImageTower(fields["width"], tuple(fields["features"]))
        weights = {
            name.removeprefix("weights/"): array
            for name, array in arrays.items()
            if name.startswith("weights/")
        }
        encoder = dataclasses.replace(
            encoder, shift=arrays["text_shift"], scale=float(arrays["text_scale"])
        )
        params = traverse_util.unflatten_dict(weights, sep="/")
        return Towers(encoder, image, params, fields["image_size"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise UserError(
            f"The image tower {directory / FILE} is damaged ({error}); train the encoder again."
        ) from error


@functools.partial(jax.jit, static_argnums=(0, 1))
def _embed(module: ImageTower, size: int, params: Any, images: jax.Array) -> jax.Array:
    return module.apply({"params": params}, reduced(jnp.asarray(images), size))

"""The interface of all text encoders: captions in, embeddings out (StackGAN, sec. 3.1)."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np

from stackgan_jax.data.split import Split
from stackgan_jax.runtime.errors import UserError

# A few thousand captions are enough to measure the mean and the spread of the embeddings.
_NORMALISED_BY = 4096
# A spread that is smaller than this share of the numbers themselves is their rounding.
_ROUNDING = 1e-5
# What a sentence of advice names; `ENCODERS` has them all, and imports this module.
_CHOICES = ("sentence_transformer", "bag_of_words", "char_cnn_rnn", "precomputed")


class Identity(nn.Module):
    """The text network of an encoder that is not trained: returns the embeddings it is given."""

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Returns `tokens`, [b, t]."""
        return tokens

    @staticmethod
    def without_words(key: jax.Array, tokens: jax.Array, share: float) -> jax.Array:
        """Returns `tokens` unchanged: an embedding has no words to leave out."""
        return tokens


def require_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError if an array that was read holds NaN or infinity."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"its {name} holds numbers that are not finite")


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Captions in, normalised embeddings out.

    `embed` returns (x - shift) * scale for a raw embedding x. Every network that reads embeddings
    therefore starts from the same range, whatever trained the encoder. Published encoders keep
    shift 0 and scale 1.

    A new encoder defines `name`, `fresh` and `raw_embeddings`. An encoder with fields of its own
    also defines `saved_fields`, `saved_arrays` and `from_saved`. An entry in `ENCODERS` makes it
    available as `config.encoder`.

    Attributes:
        name: The encoder's name in a config.
        trainable: Whether the joint embedding trains the encoder. If not, only the image tower is
            trained, to match the given embeddings.
        width: t, the length of an embedding.
        shift: [t] float32.
        scale: A single number, so that directions keep their relative weight.
    """

    name: ClassVar[str]
    trainable: ClassVar[bool] = False
    reads: ClassVar[str] = "words that it knows"  # what a caption must be written in
    width: int
    shift: np.ndarray
    scale: float

    @classmethod
    def fresh(cls, choice: Mapping[str, Any], train: Split, test: Split) -> "Encoder":
        """Returns the encoder that a config chooses: untrained, or normalised by `train`.

        Args:
            choice: The config. Each encoder reads the fields that concern it, of `text`, `model`,
                `embeddings` and `data`.
            train: The training split. Only its captions and its folder are read.
            test: The test split, likewise.

        Raises:
            UserError: If the chosen model or file is missing or unfit.
        """
        raise NotImplementedError

    def embed(self, captions: str | Iterable[str], batch_size: int = 256) -> np.ndarray:
        """Embeds captions.

        Args:
            captions: One caption, or n of them.
            batch_size: How many different captions are embedded at a time.

        Returns:
            [n, width] float32, n at least 1.

        Raises:
            UserError: If there is no caption, or an empty one.
        """
        captions = [captions] if isinstance(captions, str) else list(captions)
        if not captions:
            raise UserError("There is no caption to embed; give at least one.")
        for number, caption in enumerate(captions, start=1):
            if not caption.strip():
                raise UserError(f"Caption {number} of {len(captions)} is empty; write a sentence.")
        # Captions of whole classes repeat, so each different caption is embedded once.
        places = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
        once = list(places)
        batches = [once[i : i + batch_size] for i in range(0, len(once), batch_size)]
        raw = np.concatenate([self.raw_embeddings(batch) for batch in batches])
        embeddings = (raw - self.shift) * np.float32(self.scale)
        return embeddings[[places[caption] for caption in captions]]

    def normalised_by(self, captions: Sequence[str], batch_size: int = 256) -> "Encoder":
        """Returns this encoder with the shift and scale that normalise the given captions.

        Their embeddings then have mean 0 and a root mean square of 1 per number. If they are all
        the same, they have no spread to divide by, and the size of their numbers takes its place.
        Of many captions, a few thousand are used, evenly spaced.
        """
        plain = dataclasses.replace(self, shift=np.zeros(self.width, np.float32), scale=1.0)
        embeddings = plain.embed(captions[:: len(captions) // _NORMALISED_BY + 1], batch_size)
        shift = embeddings.mean(axis=0)
        spread, size = (
            float(np.sqrt(np.mean(np.square(each)))) for each in (embeddings - shift, embeddings)
        )
        unit = spread if spread > _ROUNDING * size else size
        return dataclasses.replace(self, shift=shift, scale=1 / (unit or 1.0))

    def unread(self, captions: Sequence[str]) -> list[str]:
        """Returns the captions of which the encoder reads nothing, as another alphabet's."""
        return []

    def require_read(self, captions: Sequence[str], allowed: float = 0.0) -> None:
        """Raises UserError if the encoder reads nothing of some captions.

        Args:
            captions: n captions.
            allowed: The largest share of such captions that is accepted.
        """
        blank = self.unread(captions)
        if len(blank) > allowed * len(captions):
            raise UserError(
                f"The text encoder {self.name} can read nothing of {len(blank):,} of the "
                f"{len(captions):,} captions, the first is {blank[0]!r}; write them in "
                f"{self.reads}, or train another encoder, --config.encoder=… with one of "
                f"{', '.join(other for other in _CHOICES if other != self.name)}."
            )

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with the weights and the normalisation; names caches."""
        digest = hashlib.sha256(json.dumps(self.description(), sort_keys=True).encode())
        for name, array in sorted(self.arrays().items()):
            digest.update(f"{name} {array.shape} {array.dtype} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @property
    def tower(self) -> nn.Module:
        """The text network that the joint embedding trains. It reads `tokens`."""
        return Identity()

    def tokens(self, captions: Sequence[str]) -> np.ndarray:
        """Returns the input of `tower` for n captions: [n, …]."""
        return self.embed(captions)

    def trained(self, params: Any) -> "Encoder":
        """Returns this encoder with the parameters of `tower`, not normalised.

        An encoder that is not trained returns itself.
        """
        return self

    def description(self) -> dict[str, Any]:
        """Returns the content of encoder.json."""
        return {"encoder": self.name, "width": self.width, "scale": self.scale} | {
            "fields": self.saved_fields()
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the content of arrays.npz."""
        weights = {f"weights/{name}": array for name, array in self.saved_arrays().items()}
        return {"shift": self.shift} | weights

    @classmethod
    def restored(
        cls, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "Encoder":
        """Returns the encoder of a `description` and `arrays`.

        Raises:
            KeyError, TypeError, ValueError: If these are not the ones of such an encoder.
        """
        weights = {
            name.removeprefix("weights/"): array
            for name, array in arrays.items()
            if name.startswith("weights/")
        }
        require_finite(arrays | {"scale": np.float64(description["scale"])})
        if arrays["shift"].shape != (description["width"],) or not description["scale"] > 0:
            raise ValueError("its normalisation belongs to another encoder")
        common = {"width": description["width"], "scale": description["scale"]}
        return cls.from_saved(description["fields"], weights, shift=arrays["shift"], **common)

    def raw_embeddings(self, captions: list[str]) -> np.ndarray:
        """Returns the embeddings before normalisation of n captions: [n, width] float32."""
        raise NotImplementedError

    def saved_fields(self) -> dict[str, Any]:
        """Returns the encoder's own fields as JSON, without arrays and normalisation."""
        return {}

    def saved_arrays(self) -> dict[str, np.ndarray]:
        """Returns the encoder's own arrays under flat names."""
        return {}

    @classmethod
    def from_saved(
        cls,
        fields: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        *,
        width: int,
        shift: np.ndarray,
        scale: float,
    ) -> "Encoder":
        """Returns the encoder of `saved_fields` and `saved_arrays`; raises as `restored` does."""
        return cls(width=width, shift=shift, scale=scale)

"""What every text encoder is: captions in, normalised embeddings out (StackGAN, sec. 3.1)."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import numpy as np

from stackgan_jax.runtime.errors import UserError


class Identity(nn.Module):
    """The text tower of an encoder whose embeddings are given: returns them."""

    def __call__(self, tokens):
        """tokens: [b, t] → the same."""
        return tokens

    @staticmethod
    def without_words(key, tokens, share):
        """The same: nothing can be left out of an embedding."""
        return tokens


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Captions in, normalised embeddings out.

    An encoder's own embeddings x leave it as (x - shift) * scale, so that whatever trained it, a
    network that reads them starts from the same range. Published encoders keep shift 0 and scale 1.

    Attributes:
        width: t, how many numbers an embedding has.
        shift: [t] float32.
        scale: one number, so that directions keep their weights.
    """

    name: ClassVar[str]
    # Whether the joint embedding trains it; otherwise only an image tower learns to meet it.
    trainable: ClassVar[bool] = False
    width: int
    shift: np.ndarray
    scale: float

    @classmethod
    def fresh(cls, choice: Mapping[str, Any], train: Any, test: Any) -> "Encoder":
        """The encoder that a config chooses: untrained, or normalised by the training captions.

        Args:
            choice: the config's `text`, `model` and `embeddings`, of which each encoder reads its
                own.
            train: the training split, of which the captions are read; test: likewise.
        Raises UserError when what was chosen is missing or unfit.
        """
        raise NotImplementedError

    def embed(self, captions: str | Iterable[str], batch_size: int = 256) -> np.ndarray:
        """Captions → [n, width] float32, n at least 1; raises UserError on an empty caption."""
        captions = [captions] if isinstance(captions, str) else list(captions)
        if not captions:
            raise UserError("There is no caption to embed; give at least one.")
        for number, caption in enumerate(captions, start=1):
            if not caption.strip():
                raise UserError(f"Caption {number} of {len(captions)} is empty; write a sentence.")
        # Captions of whole classes come again and again.
        places = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
        once = list(places)
        batches = [once[i : i + batch_size] for i in range(0, len(once), batch_size)]
        raw = np.concatenate([self._raw(batch) for batch in batches])
        embeddings = (raw - self.shift) * np.float32(self.scale)
        return embeddings[[places[caption] for caption in captions]]

    def normalised_by(self, captions: Sequence[str], batch_size: int = 256) -> "Encoder":
        """This encoder, shifted and scaled so that the embeddings of these captions have mean 0 and
        a root mean square of 1 per number; a few thousand of them, evenly taken, decide."""
        plain = dataclasses.replace(self, shift=np.zeros(self.width, np.float32), scale=1.0)
        embeddings = plain.embed(captions[:: len(captions) // 4096 + 1], batch_size)
        shift = embeddings.mean(axis=0)
        spread = float(np.sqrt(np.mean(np.square(embeddings - shift))))
        return dataclasses.replace(self, shift=shift, scale=1 / max(spread, 1e-6))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when a weight or the normalisation does; names caches."""
        digest = hashlib.sha256(json.dumps(self.description(), sort_keys=True).encode())
        for name, array in sorted(self.arrays().items()):
            digest.update(f"{name} {array.shape} {array.dtype} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @property
    def tower(self) -> nn.Module:
        """The network that the joint embedding trains; it reads `tokens`."""
        return Identity()

    def tokens(self, captions: Sequence[str]) -> np.ndarray:
        """[n, …]: what `tower` reads."""
        return self.embed(captions)

    def trained(self, params: Any) -> "Encoder":
        """This encoder with the tower's parameters, not normalised; itself if none is trained."""
        return self

    def description(self) -> dict[str, Any]:
        """What encoder.json says of it."""
        return {"encoder": self.name, "width": self.width, "scale": self.scale} | {
            "fields": self._fields()
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """What arrays.npz holds of it."""
        return {"shift": self.shift} | {f"weights/{k}": v for k, v in self._arrays().items()}

    @classmethod
    def restored(
        cls, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "Encoder":
        """From `description` and `arrays`; raises KeyError, TypeError or ValueError on others."""
        weights = {
            name.removeprefix("weights/"): array
            for name, array in arrays.items()
            if name.startswith("weights/")
        }
        common = {"width": description["width"], "scale": description["scale"]}
        return cls._from_saved(description["fields"], weights, shift=arrays["shift"], **common)

    def _raw(self, captions: list[str]) -> np.ndarray:
        """A batch of captions → [n, width] float32 before normalisation."""
        raise NotImplementedError

    def _fields(self) -> dict[str, Any]:
        """What besides arrays and normalisation makes this encoder, as JSON."""
        raise NotImplementedError

    def _arrays(self) -> dict[str, np.ndarray]:
        """Its weights under flat names."""
        raise NotImplementedError

    @classmethod
    def _from_saved(cls, fields: dict, arrays: dict[str, np.ndarray], **common) -> "Encoder":
        raise NotImplementedError

"""A pretrained sentence encoder of the sentence-transformers library (Reimers & Gurevych, 2019)."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders.encoder import Encoder

# What tells one model from another that came to stand under the same name.
PROBE = "a small red bird with black wings and a long, pointed beak."


@dataclasses.dataclass(frozen=True)
class SentenceTransformerEncoder(Encoder):
    """Any model that sentence-transformers loads, as it is; its weights stay where they are.

    Attributes:
        model: its name on the Hugging Face hub, or the absolute path of its folder.
        probe: [t] float32, its embedding of `PROBE`.
    """

    name: ClassVar[str] = "sentence_transformer"
    model: str
    probe: np.ndarray

    @classmethod
    def fresh(cls, choice, train, test) -> "SentenceTransformerEncoder":
        encoder = cls.create(choice["model"])
        if jax.process_index() == 0:
            print(f"Normalising {encoder.model} by the training captions …", flush=True)
        return encoder.normalised_by([c for captions in train.captions for c in captions])

    @classmethod
    def create(cls, model: str) -> "SentenceTransformerEncoder":
        """Not normalised. Raises UserError when the library or the model is missing."""
        model = str(Path(model).absolute()) if Path(model).is_dir() else model
        probe = _encode(model, [PROBE])[0]
        return cls(len(probe), np.zeros(len(probe), np.float32), 1.0, model, probe)

    def _raw(self, captions: list[str]) -> np.ndarray:
        if not np.allclose(_probed(self.model), self.probe, atol=0.01 * np.abs(self.probe).max()):
            raise UserError(
                f"The sentence encoder {self.model} is no longer the one that this run was trained "
                "with: it gives other embeddings; restore that one."
            )
        return _encode(self.model, captions)

    def _fields(self) -> dict[str, Any]:
        return {"model": self.model}

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"probe": self.probe}

    @classmethod
    def _from_saved(cls, fields, arrays, *, width, shift, scale) -> "SentenceTransformerEncoder":
        if not len(arrays["probe"]) == len(shift) == width:
            raise ValueError("its arrays are of another width")
        return cls(width, shift, scale, fields["model"], arrays["probe"])


def _encode(model: str, captions: list[str]) -> np.ndarray:
    embeddings = _loaded(model).encode(captions, convert_to_numpy=True, show_progress_bar=False)
    return np.asarray(embeddings, np.float32)


@functools.cache
def _probed(model: str) -> np.ndarray:
    return _encode(model, [PROBE])[0]


@functools.cache
def _loaded(model: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UserError(
            f"The text encoder sentence_transformer ({model}) needs the library "
            f"sentence-transformers ({error}); install it with pip install -e '.[sentence]'."
        ) from error
    try:
        return SentenceTransformer(model)
    except Exception as error:  # the library raises whatever its parts do
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(
            f"The sentence encoder {model!r} can't be loaded ({reason}); name a model of "
            "sentence-transformers, which is fetched once, or the folder of one."
        ) from error

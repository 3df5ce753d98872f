"""Pretrained sentence encoders of the sentence-transformers library (Reimers & Gurevych, 2019)."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from stackgan_jax.data.split import Split
from stackgan_jax.runtime import packages
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders.encoder import Encoder

# The embedding of this sentence shows whether another model now has the same name.
PROBE = "a small red bird with black wings and a long, pointed beak."


@dataclasses.dataclass(frozen=True)
class SentenceTransformerEncoder(Encoder):
    """Any model that sentence-transformers loads. The run keeps its name, not its weights.

    Attributes:
        model: Its name on the Hugging Face hub, or the absolute path of its folder.
        probe: [t] float32, its embedding of `PROBE`.
    """

    name: ClassVar[str] = "sentence_transformer"
    model: str
    probe: np.ndarray

    @classmethod
    def fresh(
        cls, choice: Mapping[str, Any], train: Split, test: Split
    ) -> "SentenceTransformerEncoder":
        """Returns the model of `choice["model"]`, normalised by the training captions."""
        encoder = cls.create(choice["model"])
        if jax.process_index() == 0:
            print(f"Normalising {encoder.model} by the training captions …", flush=True)
        return encoder.normalised_by(train.some_captions())

    @classmethod
    def create(cls, model: str) -> "SentenceTransformerEncoder":
        """Returns the encoder of a model, not normalised.

        Raises:
            UserError: If the library or the model is missing.
        """
        model = str(Path(model).absolute()) if Path(model).is_dir() else model
        probe = _encode(model, [PROBE])[0]
        return cls(len(probe), np.zeros(len(probe), np.float32), 1.0, model, probe)

    def raw_embeddings(self, captions: list[str]) -> np.ndarray:
        """Returns [n, t] float32; raises UserError if the model is no longer the same."""
        if not np.allclose(_probed(self.model), self.probe, atol=0.01 * np.abs(self.probe).max()):
            raise UserError(
                f"The sentence encoder {self.model} is no longer the one that this run was trained "
                "with: its embeddings differ; restore the earlier model."
            )
        return _encode(self.model, captions)

    def saved_fields(self) -> dict[str, Any]:
        """Returns the model's name."""
        return {"model": self.model}

    def saved_arrays(self) -> dict[str, np.ndarray]:
        """Returns the probe."""
        return {"probe": self.probe}

    @classmethod
    def from_saved(
        cls,
        fields: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        *,
        width: int,
        shift: np.ndarray,
        scale: float,
    ) -> "SentenceTransformerEncoder":
        """Returns the saved encoder; raises ValueError if an array has another width."""
        if not len(arrays["probe"]) == len(shift) == width:
            raise ValueError("its arrays have different widths")
        return cls(width, shift, scale, fields["model"], arrays["probe"])


def _encode(model: str, captions: list[str]) -> np.ndarray:
    embeddings = _loaded(model).encode(captions, convert_to_numpy=True, show_progress_bar=False)
    return np.asarray(embeddings, np.float32)


@functools.cache
def _probed(model: str) -> np.ndarray:
    return _encode(model, [PROBE])[0]


@functools.cache
def _loaded(model: str) -> Any:
    by = f"The text encoder sentence_transformer ({model})"
    with packages.needed("sentence-transformers", by, install="sentence-transformers"):
        from sentence_transformers import SentenceTransformer
    try:
        return SentenceTransformer(model)
    except Exception as error:  # The library raises many kinds of errors.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(
            f"The sentence encoder {model!r} can't be loaded ({reason}); give the name of a "
            "sentence-transformers model, which is downloaded once, or the folder of a model."
        ) from error

"""The interface of every logger, and the names under which metrics are logged."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

# Name in metrics.jsonl → the field's name for it. What stands before the slash is one section of
# curves in TensorBoard and Weights & Biases.
FIELD_NAMES = {
    "d_loss": "loss/discriminator",
    "d_loss_real": "loss/discriminator on real pairs",
    "d_loss_wrong": "loss/discriminator on wrong captions",
    "d_loss_fake": "loss/discriminator on fake pairs",
    "penalty": "loss/gradient penalty",
    "g_loss": "loss/generator adversarial",
    "kl": "loss/KL divergence",
    "matching": "loss/image-text matching",
    "consistency": "loss/consistency with the earlier stage",
    "diversity": "loss/likeness of pictures of one caption",
    "probe": "loss/pictures show less of their captions than real ones",
    "spectrum": "loss/spectrum beside that of real pictures",
    "restoration": "loss/restoration of reduced real pictures",
    "loss": "loss/joint embedding",
    "g_gradient_norm": "gradient norm/generator",
    "d_gradient_norm": "gradient norm/discriminator",
    "learning_rate": "learning rate/generator",
    "text_to_image_accuracy": "retrieval/top-1 image of a caption in the batch",
    "image_to_text_accuracy": "retrieval/top-1 caption of an image in the batch",
    "steps_per_second": "speed/steps a second",
    "noise_spread": "diversity/RMS between noises of one caption",
    "caption_spread": "diversity/RMS between captions of one noise",
}


def field_name(name: str) -> str:
    """The field's name of a metric; metrics without one keep theirs."""
    return FIELD_NAMES.get(name, name)


class Logger(Protocol):
    """Where one run is logged; every method may raise, and may be called in another thread.

    The steps of one method's calls rise; those of different methods' calls may not.
    """

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs numbers by name."""

    def text(self, step: int, name: str, text: str) -> None:
        """Logs a text, in Markdown."""

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Logs a picture, uint8 `[h, w, 3]`."""

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Logs the distribution of numbers by name, an array of any shape each."""

    def close(self) -> None:
        """Ends the log; what has been logged is kept."""

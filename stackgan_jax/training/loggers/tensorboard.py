"""TensorBoard: event files in the run's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.runtime import tensorboard


class TensorBoardLogger:
    """Logs to event files.

    TensorFlow 2.21 keeps 0.8 kB of every scalar that it writes of Python's own numbers, but nothing
    of NumPy's.

    Args:
        writer: clu's.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    @classmethod
    def open(cls, config: ConfigDict, workdir: Path) -> "TensorBoardLogger | None":
        """The logger of a run; None where TensorFlow is not installed, which is said."""
        writer = tensorboard.writer(workdir)
        return None if writer is None else cls(writer)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Draws curves."""
        numbers = {name: np.float32(value) for name, value in values.items()}
        self._writer.write_scalars(np.int64(step), numbers)

    def text(self, step: int, name: str, text: str) -> None:
        """Shows Markdown."""
        self._writer.write_texts(np.int64(step), {name: text})

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Shows a picture."""
        self._writer.write_images(np.int64(step), {name: picture[None]})

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Shows histograms over the steps."""
        self._writer.write_histograms(np.int64(step), values)

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()

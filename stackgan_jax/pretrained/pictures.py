"""Pictures as people use them: PIL images, shown as a grid by Jupyter."""

import importlib.metadata
import io
import math

import numpy as np
from PIL import Image

from stackgan_jax.data import images
from stackgan_jax.sample import Sampler


def provenance(sampler: Sampler, caption: str, seed: str, truncation: float) -> dict[str, str]:
    """What a picture was drawn from, for the text of its PNG.

    Args:
        sampler: that drew it.
        caption: its sentence.
        seed: of its noise, in words where it takes more than a number.
        truncation: of its noise, as in `Sampler.noise`.
    """
    return {
        "caption": caption,
        "seed": seed,
        "truncation": f"{truncation:g}" if truncation else "none",
        "run": str(sampler.directory),
        "model": f"{sampler.config.name} ({sampler.config.kind})",
        "step": str(sampler.step),
        "Software": f"stackgan_jax {importlib.metadata.version('stackgan_jax')}",
    }


class Pictures(list[Image.Image]):
    """A list of pictures, which Jupyter shows as one grid."""

    def grid(self, columns: int | None = None) -> Image.Image:
        """Lays the pictures out in rows.

        Args:
            columns: pictures in a row; by default about as many as rows, at most 8.
        """
        columns = columns or min(8, math.ceil(math.sqrt(len(self))))
        arrays = [np.asarray(picture) for picture in self]
        rows = [arrays[start : start + columns] for start in range(0, len(arrays), columns)]
        return Image.fromarray(images.captioned_grid(rows))

    def _repr_png_(self) -> bytes | None:
        """The grid as PNG, for Jupyter."""
        if not self:
            return None
        file = io.BytesIO()
        self.grid().save(file, "PNG")
        return file.getvalue()

    def __repr__(self) -> str:
        """How many pictures, and of which size."""
        if not self:
            return "0 pictures"
        width, height = self[0].size
        return f"{len(self)} picture{'s' * (len(self) > 1)} of {width}×{height}"

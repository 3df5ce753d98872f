"""StackGAN: text to photo-realistic image synthesis in two stages, in JAX and Flax.

import stackgan_jax
model = stackgan_jax.load()  # the built-in model; or load("runs/quickstart")
model("a small red bird with black wings", n=8, seed=0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackgan_jax.runtime.errors import UserError

if TYPE_CHECKING:
    import os

    from stackgan_jax.pretrained.model import Model

__all__ = ["UserError", "load"]


def load(source: str | os.PathLike[str] | None = None, step: int | None = None) -> Model:
    """Opens a trained model, ready to draw.

    Args:
        source: the folder of a run (of a quickstart, its last stage is taken), a file that
            `Model.save` wrote, a folder that `Model.save_hub` wrote, or "hf://owner/name" for such
            a folder on the Hugging Face hub; None for the built-in model, which draws small birds.
        step: of a run's checkpoint; by default the best by `config.keep.best`, or the newest.

    Raises:
        UserError: there is no model, or it is damaged.
    """
    from stackgan_jax.pretrained import loading

    return loading.load(source, step)

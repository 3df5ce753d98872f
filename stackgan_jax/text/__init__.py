"""Text encoders: by name, kept in a run, and scored by retrieval (StackGAN, sec. 3.1)."""

from stackgan_jax.text.encoders import ENCODERS, Encoder
from stackgan_jax.text.store import (
    DIRECTORY,
    copy_encoder,
    embed,
    exists,
    find,
    kind,
    load_encoder,
    require_of_stage1,
    require_width,
    save_encoder,
)

__all__ = [
    "DIRECTORY",
    "ENCODERS",
    "Encoder",
    "copy_encoder",
    "embed",
    "exists",
    "find",
    "kind",
    "load_encoder",
    "require_of_stage1",
    "require_width",
    "save_encoder",
]

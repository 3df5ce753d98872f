"""Text encoders: a registry by name, their files in a run, and retrieval (StackGAN, sec. 3.1)."""

from stackgan_jax.text.encoders import ENCODERS, Encoder
from stackgan_jax.text.store import (
    DIRECTORY,
    copy_encoder,
    embed,
    exists,
    find,
    kind,
    load_encoder,
    repair,
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
    "repair",
    "require_of_stage1",
    "require_width",
    "save_encoder",
]

"""The published programs' network settings by name (StackGAN, sec. 3.5, and its two programs).

`tensorflow` is the program for birds and flowers, `pytorch` the one for COCO. Every setting is a
field of the network's class; widths and sizes are a config's own choice.
"""

from collections.abc import Mapping
from typing import Any

from stackgan_jax.runtime.errors import UserError

Fields = Mapping[str, Any]

# Of all layers, of every generator, and of every discriminator.
_LAYERS: Mapping[str, Fields] = {
    "tensorflow": {"unbiased_variance": False, "truncated_init": True},
    "pytorch": {"unbiased_variance": True, "truncated_init": False},
}
_GENERATOR: Mapping[str, Fields] = {
    "tensorflow": {"condition_slope": 0.2, "log_variance": False},
    "pytorch": {"condition_slope": 0.0, "log_variance": True},
}
_DISCRIMINATOR: Mapping[str, Fields] = {
    "tensorflow": {"residual": True, "project": True, "joint_kernel": 1, "logit_bias": False},
    "pytorch": {"residual": False, "project": False, "joint_kernel": 3, "logit_bias": True},
}
# Of one kind of network.
_KINDS: Mapping[str, Mapping[str, Fields]] = {
    "tensorflow": {
        "stage1_generator": {
            "residual": True,
            "noise_first": False,
            "dense_bias": True,
            "image_upsamples": True,
        },
        "stage2_generator": {"residual_blocks": 4},
        "stage1_discriminator": {
            "linear_before_last": True,
            "reduce_kernel": 0,
            "unconditional_head": False,
        },
        "stage2_discriminator": {
            "linear_before_last": False,
            "reduce_kernel": 1,
            "unconditional_head": False,
        },
    },
    "pytorch": {
        "stage1_generator": {
            "residual": False,
            "noise_first": True,
            "dense_bias": False,
            "image_upsamples": False,
        },
        "stage2_generator": {"residual_blocks": 2},
        "stage1_discriminator": {
            "linear_before_last": False,
            "reduce_kernel": 0,
            "unconditional_head": False,
        },
        "stage2_discriminator": {
            "linear_before_last": False,
            "reduce_kernel": 3,
            "unconditional_head": True,
        },
    },
}
# Widths that the programs were published with, by the same names.
FEATURES: Mapping[str, Mapping[str, int]] = {
    "tensorflow": {"generator": 128, "discriminator": 64},
    "pytorch": {"generator": 192, "discriminator": 96},
}


def generator(program: str, stage: str) -> dict[str, Any]:
    """Fields of a published generator but its widths and size.

    Args:
        program: "tensorflow" or "pytorch".
        stage: "stage1", or "stage2", whose network serves every later stage as well.

    Raises:
        UserError: the program is unknown.
    """
    return {**_of(_GENERATOR, program), **_KINDS[program][f"{stage}_generator"], **_LAYERS[program]}


def discriminator(program: str, stage: str) -> dict[str, Any]:
    """Fields of a published discriminator but its widths and size; arguments as in `generator`."""
    kind = _KINDS[program][f"{stage}_discriminator"]
    return {**_of(_DISCRIMINATOR, program), **kind, **_LAYERS[program]}


def _of(settings: Mapping[str, Fields], program: str) -> Fields:
    if program not in settings:
        raise UserError(f"Unknown preset {program!r}; choose from {', '.join(settings)}.")
    return settings[program]

"""Converts published char-CNN-RNN weights to `CharCnnRnn` parameters and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from stackgan_jax.models.char_cnn_rnn import ALPHABET, PUBLISHED, TAPS, CharCnnRnn
from stackgan_jax.runtime.errors import UserError

_CONVOLUTIONS = {f"conv{n}": f"convolution_{n}" for n in (1, 2, 3)}
_PLAIN = {"rnn.i2h": "recurrence/input", "rnn.h2h": "recurrence/hidden"}
_GATES = {
    f"rnn.{side}_{gate}": f"recurrence/{ours}_{gate}"
    for gate in ("update", "reset")
    for side, ours in (("i2h", "input"), ("h2h", "hidden"))
}
_PROJECTION = {"emb_proj": "projection"}


def layers(cell: str) -> dict[str, str]:
    """Returns published layer name → ours, for a "plain" or a "gated" recurrence."""
    gates = _GATES if cell == "gated" else {}
    return _CONVOLUTIONS | _PLAIN | gates | _PROJECTION


def shapes(module: CharCnnRnn) -> dict[str, tuple[int, ...]]:
    """Returns every key of a network's published state dict → its shape in PyTorch's layout."""
    first, second, third = module.features
    sizes = {
        "conv1": (first, len(ALPHABET), TAPS),
        "conv2": (second, first, TAPS),
        "conv3": (third, second, TAPS),
        "emb_proj": (module.width, third),
    }
    named = {}
    for layer in layers(module.cell):
        size = sizes.get(layer, (third, third))
        named |= {f"{layer}.weight": size, f"{layer}.bias": size[:1]}
    return named


def from_state_dict(
    weights: Mapping[str, np.ndarray], variant: str | None = None
) -> tuple[CharCnnRnn, Any]:
    """Converts a published state dict.

    Args:
        weights: Key → array in PyTorch's layout.
        variant: A name in `PUBLISHED`, whose sizes the weights must have. With None, the widths and
            the recurrence are inferred from the weights, and the pooling from the recurrence.

    Returns:
        The network and its parameters.

    Raises:
        UserError: If keys are missing or extra, or have another shape. The error names them.
    """
    module = _published(variant) if variant else _inferred(weights)
    _require_shapes(weights, shapes(module), variant or "char-CNN-RNN")
    flat = {}
    for layer, ours in layers(module.cell).items():
        kernel = np.asarray(weights[f"{layer}.weight"], np.float32)
        flat[f"{ours}/kernel"] = np.ascontiguousarray(kernel.T)
        flat[f"{ours}/bias"] = np.array(weights[f"{layer}.bias"], np.float32)
    return module, traverse_util.unflatten_dict(flat, sep="/")


def to_state_dict(module: CharCnnRnn, params: Any) -> dict[str, np.ndarray]:
    """Converts parameters to a published state dict: the exact inverse of `from_state_dict`."""
    flat = traverse_util.flatten_dict(params, sep="/")
    weights = {}
    for layer, ours in layers(module.cell).items():
        kernel = np.asarray(flat[f"{ours}/kernel"], np.float32)
        weights[f"{layer}.weight"] = np.ascontiguousarray(kernel.T)
        weights[f"{layer}.bias"] = np.array(flat[f"{ours}/bias"], np.float32)
    return weights


def _published(variant: str) -> CharCnnRnn:
    if variant not in PUBLISHED:
        raise UserError(f"Unknown text encoder {variant!r}; choose from {', '.join(PUBLISHED)}.")
    return CharCnnRnn(**PUBLISHED[variant])


def _inferred(weights: Mapping[str, np.ndarray]) -> CharCnnRnn:
    gated = any(key in weights for key in ("rnn.i2h_update.weight", "rnn.h2h_update.weight"))
    biases = [f"{layer}.bias" for layer in (*_CONVOLUTIONS, "emb_proj")]
    missing = [key for key in biases if key not in weights]
    if missing:
        raise UserError(f"These are no char-CNN-RNN weights: {', '.join(missing)} missing.")
    *features, width = (len(np.atleast_1d(weights[key])) for key in biases)
    cell = "gated" if gated else "plain"
    # Pooling has no weights. All published plain networks pool, and all gated ones don't.
    return CharCnnRnn(width, tuple(features), cell, final_pooling=not gated)


def _require_shapes(
    weights: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]], what: str
) -> None:
    """Raises UserError, naming every difference, unless the weights have the wanted shapes."""
    found = {key: tuple(np.shape(value)) for key, value in weights.items()}
    problems = [f"{key} is missing" for key in wanted if key not in found]
    problems += [f"{key} is extra" for key in found if key not in wanted]
    problems += [
        f"{key} has shape {found[key]} instead of {shape}"
        for key, shape in wanted.items()
        if found.get(key, shape) != shape
    ]
    if problems:
        raise UserError(f"These are not the weights of {what}: {'; '.join(problems)}.")

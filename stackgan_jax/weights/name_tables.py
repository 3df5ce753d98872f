"""Converts variables of the two published GAN programs to ours, and ours to PyTorch's.

A network's layers are listed once, in `layer_order`. Each program names that list in its own way.
Arrays are NumPy arrays in the layout of the program that they belong to.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from stackgan_jax.models import stage1, stage2
from stackgan_jax.models.discriminator import Discriminator
from stackgan_jax.models.layers import doublings
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.weights.layer_order import Path, layers, leaves

Arrays = Mapping[str, np.ndarray]
# Our name of an array → the last part of its published name.
_PYTORCH_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_TENSORFLOW_LEAVES = {
    "conv": {"kernel": "w"},
    "dense": {"kernel": "Matrix", "bias": "bias"},
    "norm": {"scale": "gamma", "bias": "beta", "mean": "mean", "var": "variance"},
}
# Arrays of optimisers and moving averages, which are ignored.
_PYTORCH_BOOKKEEPING = re.compile(r"(^|\.)num_batches_tracked$")
_TENSORFLOW_BOOKKEEPING = re.compile(
    r"(/Adam(_\d+)?|/biased|/local_step|^beta[12]_power(_\d+)?|(^|/)global_step)$"
)


class Row(NamedTuple):
    """One array in a name table.

    Attributes:
        name: Its name in the published program.
        path: Its path in our variables, beginning with "params" or "batch_stats".
        kind: The kind of its layer, as in `layer_order.Layer`.
    """

    name: str
    path: Path
    kind: str


def from_pytorch(arrays: Arrays, networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Converts a state dict of StackGAN-Pytorch.

    Args:
        arrays: Key → array.
        networks: Prefix of the keys → network, for each network in the file:
            {"": stage1.Generator(…)}, or
            {"": stage2.Generator(…), "STAGE1_G.": stage1.Generator(…)}.

    Returns:
        Prefix → {"params", "batch_stats"}.

    Raises:
        UserError: If arrays are missing, unknown or mis-shaped. The error names them.
    """
    arrays = _without(arrays, _PYTORCH_BOOKKEEPING)
    rows = {prefix: pytorch_rows(prefix, network) for prefix, network in networks.items()}
    return _read(arrays, networks, rows, _from_pytorch_layout)


def from_tensorflow(arrays: Arrays, networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Converts the variables of a checkpoint of the TensorFlow program.

    Args:
        arrays: Name → array.
        networks: Scope → network, for each network in the file. The scopes are "g_net" and "d_net",
            and for Stage II also "hr_g_net" and "hr_d_net".

    Returns:
        Scope → {"params", "batch_stats"}.

    Raises:
        UserError: If variables are missing, unknown or mis-shaped. The error names them.
    """
    arrays = _without(arrays, _TENSORFLOW_BOOKKEEPING)
    rows = {scope: tensorflow_rows(scope, network) for scope, network in networks.items()}
    return _read(arrays, networks, rows, lambda array, kind: array)


def to_pytorch(
    variables: Mapping[str, Any], networks: Mapping[str, nn.Module]
) -> dict[str, np.ndarray]:
    """Converts variables to a state dict of StackGAN-Pytorch: the inverse of `from_pytorch`.

    Args:
        variables: Prefix → {"params", "batch_stats"}.
        networks: Prefix → network.

    Returns:
        Key → array.

    Raises:
        UserError: If StackGAN-Pytorch has no such networks.
    """
    arrays = {}
    for prefix, network in networks.items():
        ours = traverse_util.flatten_dict(variables[prefix])
        for name, path, kind in pytorch_rows(prefix, network):
            array = _to_pytorch_layout(np.asarray(ours.pop(path)), kind)
            arrays[name] = np.ascontiguousarray(array)
        if ours:
            names = ", ".join("/".join(path) for path in ours)
            raise UserError(f"The published {prefix or 'network'} has no place for {names}.")
    return arrays


def pytorch_rows(prefix: str, network: nn.Module) -> list[Row]:
    """Returns the name table of a network in StackGAN-Pytorch.

    Raises:
        UserError: If StackGAN-Pytorch has no such network.
    """
    return [
        Row(f"{prefix}{name}.{_PYTORCH_LEAVES[path[-1]]}", path, layer.kind)
        for layer, name in zip(layers(network), _pytorch_names(network), strict=True)
        for path in leaves(layer, network)
    ]


def tensorflow_rows(scope: str, network: nn.Module) -> list[Row]:
    """Returns the name table of a network in the TensorFlow program."""
    counts = {"conv": 0, "dense": 0, "norm": 0}
    rows = []
    for layer in layers(network):
        kind = layer.kind.removesuffix("_grid")
        if layer.kind == "norm_grid":
            name = "fc_batch_norm/batch_norm"
        else:
            name = _tensorflow_name(kind, counts[kind])
            counts[kind] += 1
        for path in leaves(layer, network):
            leaf = _TENSORFLOW_LEAVES[kind][path[-1]]
            rows.append(Row(f"{scope}/{name}/{leaf}", path, layer.kind))
    return rows


def _without(arrays: Arrays, bookkeeping: re.Pattern) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if not bookkeeping.search(name)}


def _read(
    arrays: Arrays,
    networks: Mapping[str, nn.Module],
    rows: Mapping[str, Sequence[Row]],
    layout: Callable[[np.ndarray, str], np.ndarray],
) -> dict[str, Any]:
    """Returns part → {"params", "batch_stats"}, or raises UserError with every problem."""
    expected = {row.name for part in rows.values() for row in part}
    problems = [f"{name} is missing" for name in sorted(expected - set(arrays))]
    problems += [f"{name} is not known" for name in sorted(set(arrays) - expected)]
    _require_none(problems)
    result = {}
    for part, network in networks.items():
        ours = {path: layout(np.asarray(arrays[name]), kind) for name, path, kind in rows[part]}
        shapes = _shapes(network, ours)
        problems += [
            f"{name} gives shape {ours[path].shape} where {shapes[path]} belongs"
            for name, path, _ in rows[part]
            if ours[path].shape != shapes[path]
        ]
        result[part] = traverse_util.unflatten_dict(ours)
    _require_none(problems)
    return result


def _require_none(problems: Sequence[str]) -> None:
    if problems:
        shown = "; ".join(problems[:10]) + ("; …" if len(problems) > 10 else "")
        raise UserError(
            f"The weights don't fit this network ({len(problems)} differences): {shown}."
        )


def _tensorflow_name(kind: str, count: int) -> str:
    """Returns the name of the layer number `count` of a kind; prettytensor counts each kind."""
    number = f"_{count}" if count else ""
    return {
        "conv": f"custom_conv2d{number}/custom_conv2d{number}",
        "dense": f"custom_fully_connected{number}/Linear",
        "norm": f"conv_batch_norm{number}/conv_batch_norm{number}",
    }[kind]


def _pytorch_names(network: nn.Module) -> list[str]:
    """Returns the module of each of `layers(network)` in StackGAN-Pytorch; raises UserError."""
    if getattr(network, "residual", False) or getattr(network, "project", False):
        raise UserError(
            "StackGAN-Pytorch has no such network: its generators and discriminators are those "
            "of the COCO configuration, without bottlenecks and text projection."
        )
    if isinstance(network, stage1.Generator):
        ups = [f"upsample{i}.{k}" for i in range(1, doublings(network.size) + 1) for k in (1, 2)]
        return ["ca_net.fc", "fc.0", "fc.1", *ups, "img.0"]
    if isinstance(network, stage2.Generator):
        residual = range(network.residual_blocks)
        return [
            "ca_net.fc",
            *(f"encoder.{k}" for k in (0, 2, 3, 5, 6)),
            *("hr_joint.0", "hr_joint.1"),
            *(f"residual.{i}.block.{k}" for i in residual for k in (0, 1, 3, 4)),
            *(f"upsample{i}.{k}" for i in (1, 2, 3, 4) for k in (1, 2)),
            "img.0",
        ]
    blocks = doublings(network.size) - 1 + 2 * bool(network.reduce_kernel)
    names = ["encode_img.0"]
    names += [f"encode_img.{3 * i + k}" for i in range(blocks) for k in (2, 3)]
    names += [f"get_cond_logits.outlogits.{k}" for k in (0, 1, 3)]
    return names + ["get_uncond_logits.outlogits.0"] * network.unconditional_head


def _from_pytorch_layout(array: np.ndarray, kind: str) -> np.ndarray:
    if kind == "conv" and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if kind.endswith("_grid") and array.size and len(array) % 16 == 0:
        # The 4x4 start is [c, 4, 4] in PyTorch and [4, 4, c] here.
        array = array.reshape(-1, 16, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)
    return array.T


def _to_pytorch_layout(array: np.ndarray, kind: str) -> np.ndarray:
    if kind == "conv" and array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    array = array.T
    if kind.endswith("_grid"):
        array = array.reshape(16, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)
    return array


def _shapes(network: nn.Module, ours: Mapping[Path, np.ndarray]) -> dict[Path, tuple[int, ...]]:
    """Returns the shape of every array of `network`.

    Args:
        network: The network.
        ours: Its arrays by path. They determine the widths of the text embedding and the noise.
    """
    inputs = lambda *path: (*ours["params", *path, "kernel"].shape, 0)[0]
    zeros = lambda *shape: jnp.zeros((2, *shape))
    if isinstance(network, Discriminator):
        text = inputs("pair", "projection") if network.project else network.condition
        arguments = (zeros(network.size, network.size, 3), zeros(text))
    else:
        embedding = zeros(inputs("conditioning", "dense"))
        arguments = (zeros(64, 64, 3), embedding, zeros(network.condition))
        if isinstance(network, stage1.Generator):
            z = zeros(max(inputs("dense") - network.condition, 0))
            arguments = (embedding, z, zeros(network.condition))
    abstract = jax.eval_shape(lambda: network.init(jax.random.key(0), *arguments, True))
    return {path: leaf.shape for path, leaf in traverse_util.flatten_dict(abstract).items()}

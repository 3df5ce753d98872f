"""Name tables: the variables of the two published programs ↔ our parameters (sec. 3.5).

A network's layers are listed once, in the order in which they run; each program names that list in
its own manner. Arrays are NumPy's, of the layout of the program that they come from.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np

from stackgan_jax.models import stage1, stage2
from stackgan_jax.models.discriminator import Discriminator
from stackgan_jax.models.layers import doublings
from stackgan_jax.runtime.errors import UserError

# Our leaves, by their name, as the last part of theirs.
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
# What optimisers and moving averages keep beside the weights.
_PYTORCH_BOOKKEEPING = re.compile(r"(^|\.)num_batches_tracked$")
_TENSORFLOW_BOOKKEEPING = re.compile(
    r"(/Adam(_\d+)?|/biased|/local_step|^beta[12]_power(_\d+)?|(^|/)global_step)$"
)


def from_pytorch(arrays, networks):
    """A state dict of StackGAN-Pytorch → our variables.

    `networks`: by the prefix of its keys, each network in the file: {"": stage1.Generator(…)}, or
    {"": stage2.Generator(…), "STAGE1_G.": stage1.Generator(…)}. → by the same prefixes
    {"params", "batch_stats"}. UserError names every missing, extra and mis-shaped array.
    """
    return _read(arrays, networks, _pytorch_table, _from_pytorch_layout, _PYTORCH_BOOKKEEPING)


def from_tensorflow(arrays, networks):
    """The variables of a checkpoint of the TensorFlow program → ours.

    `networks` by scope: "g_net", "d_net" and, of Stage II, "hr_g_net", "hr_d_net". → by scope
    {"params", "batch_stats"}. UserError names every missing, extra and mis-shaped variable.
    """
    keep = lambda array, kind: array
    return _read(arrays, networks, _tensorflow_table, keep, _TENSORFLOW_BOOKKEEPING)


def to_pytorch(variables, networks):
    """The inverse of `from_pytorch`: variables by prefix → {key: array}."""
    return _write(variables, networks, _pytorch_table, _to_pytorch_layout)


def to_tensorflow(variables, networks):
    """The inverse of `from_tensorflow`: variables by scope → {name: array}."""
    return _write(variables, networks, _tensorflow_table, lambda array, kind: array)


def _read(arrays, networks, table, layout, bookkeeping):
    arrays = {name: array for name, array in arrays.items() if not bookkeeping.search(name)}
    rows = {part: table(part, network) for part, network in networks.items()}
    expected = {row[0] for part in rows.values() for row in part}
    problems = [f"{name} is missing" for name in sorted(expected - set(arrays))]
    problems += [f"{name} is not known" for name in sorted(set(arrays) - expected)]
    if problems:
        raise UserError(_complaint(problems))
    result = {}
    for part, network in networks.items():
        ours = {path: layout(np.asarray(arrays[name]), kind) for name, path, kind in rows[part]}
        shapes = _shapes(network, ours)
        problems += [
            f"{name} gives shape {ours[path].shape} where {shapes[path]} belongs"
            for name, path, _ in rows[part]
            if ours[path].shape != shapes[path]
        ]
        result[part] = _nest(ours)
    if problems:
        raise UserError(_complaint(problems))
    return result


def _write(variables, networks, table, layout):
    arrays = {}
    for part, network in networks.items():
        ours = _flatten(variables[part])
        for name, path, kind in table(part, network):
            arrays[name] = np.ascontiguousarray(layout(np.asarray(ours.pop(path)), kind))
        if ours:
            names = ", ".join("/".join(path) for path in ours)
            raise UserError(f"The published {part or 'network'} has no place for {names}.")
    return arrays


def _complaint(problems):
    shown = "; ".join(problems[:10]) + ("; …" if len(problems) > 10 else "")
    return f"The weights don't fit this network ({len(problems)} differences): {shown}."


def _pytorch_table(prefix, network):
    """Rows (their key, our path, kind of layer) of a network of StackGAN-Pytorch."""
    rows = []
    for (path, kind), name in zip(_layers(network), _pytorch_names(network), strict=True):
        for collection, leaf in _leaves(path, kind, network):
            key = f"{prefix}{name}.{_PYTORCH_LEAVES[leaf]}"
            rows.append((key, (collection, *path, leaf), kind))
    return rows


def _tensorflow_table(scope, network):
    """Rows (their name, our path, kind of layer): prettytensor counts each kind of layer."""
    counts = {"conv": 0, "dense": 0, "norm": 0}
    rows = []
    for path, kind in _layers(network):
        base = kind.removesuffix("_grid")
        if kind == "norm_grid":
            name = "fc_batch_norm/batch_norm"
        else:
            number = f"_{counts[base]}" if counts[base] else ""
            counts[base] += 1
            name = {
                "conv": f"custom_conv2d{number}/custom_conv2d{number}",
                "dense": f"custom_fully_connected{number}/Linear",
                "norm": f"conv_batch_norm{number}/conv_batch_norm{number}",
            }[base]
        for collection, leaf in _leaves(path, kind, network):
            full_name = f"{scope}/{name}/{_TENSORFLOW_LEAVES[base][leaf]}"
            rows.append((full_name, (collection, *path, leaf), kind))
    return rows


def _leaves(path, kind, network):
    """(collection, name) of every array of a layer."""
    if kind.startswith("norm"):
        names = (("params", "scale"), ("params", "bias"))
        return (*names, ("batch_stats", "mean"), ("batch_stats", "var"))
    biased = {
        "dense": True,
        "dense_grid": getattr(network, "dense_bias", False),
        "conv": path[-2:] == ("logit", "conv") or path == ("alone", "conv"),
    }[kind]
    if kind == "conv" and biased:
        biased = network.logit_bias
    return (("params", "kernel"), *((("params", "bias"),) if biased else ()))


def _layers(network):
    """(path, kind) of every layer in running order; "…_grid" are those of the 4x4 start."""
    return {
        stage1.Generator: _stage1_generator,
        stage2.Generator: _stage2_generator,
        Discriminator: _discriminator,
    }[type(network)](network)


def _block(*path, normalise=True):
    layers = [((*path, "conv"), "conv")]
    return [*layers, ((*path, "norm"), "norm")] if normalise else layers


def _bottleneck(name):
    return [layer for part in ("reduce", "middle", "expand") for layer in _block(name, part)]


def _stage1_generator(network):
    layers = [(("conditioning", "dense"), "dense"), (("dense",), "dense_grid")]
    layers += [(("norm",), "norm_grid")]
    layers += _bottleneck("residual4") if network.residual else []
    times = doublings(network.size)
    for i in range(1, times if network.image_upsamples else times + 1):
        layers += _block(f"up{4 << i}")
        layers += _bottleneck("residual8") if network.residual and i == 1 else []
    return [*layers, (("image",), "conv")]


def _stage2_generator(network):
    layers = [(("conditioning", "dense"), "dense"), *_block("encode", normalise=False)]
    layers += _block("down2") + _block("down4") + _block("joint")
    for i in range(network.residual_blocks):
        layers += _block(f"residual{i}", "first") + _block(f"residual{i}", "second")
    for i in range(4):
        layers += _block(f"up{i}")
    return [*layers, (("image",), "conv")]


def _discriminator(network):
    layers = []
    for i in range(doublings(network.size)):
        layers += _block(f"down_{i}", normalise=i > 0)
    if network.reduce_kernel:
        layers += _block("reduce_0") + _block("reduce_1")
    layers += _bottleneck("residual4") if network.residual else []
    layers += [(("pair", "projection"), "dense")] if network.project else []
    layers += [*_block("pair", "joint"), (("pair", "logit", "conv"), "conv")]
    return layers + ([(("alone", "conv"), "conv")] if network.unconditional_head else [])


def _pytorch_names(network):
    """The module that each of `_layers` is in StackGAN-Pytorch; UserError if it has no such one."""
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


def _from_pytorch_layout(array, kind):
    if kind == "conv" and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if kind.endswith("_grid") and array.size and len(array) % 16 == 0:
        # Their 4x4 start is [c, 4, 4], ours [4, 4, c].
        array = array.reshape(-1, 16, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)
    return array.T


def _to_pytorch_layout(array, kind):
    if kind == "conv" and array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    array = array.T
    if kind.endswith("_grid"):
        array = array.reshape(16, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)
    return array


def _shapes(network, ours):
    """The shape of every array of `network`, for the text and noise widths that `ours` shows."""
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
    return {path: leaf.shape for path, leaf in _flatten(abstract).items()}


def _flatten(tree, path=()):
    if not isinstance(tree, dict):
        return {path: tree}
    return {k: v for name in tree for k, v in _flatten(tree[name], (*path, name)).items()}


def _nest(flat):
    tree = {"params": {}, "batch_stats": {}}
    for path, leaf in flat.items():
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = leaf
    return tree

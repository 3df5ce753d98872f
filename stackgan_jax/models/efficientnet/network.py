"""EfficientNet-lite0, lite1 and lite2, trained on ImageNet, as a frozen trunk.

Network: Tan and Le, ICML 2019 (EfficientNet), in the form without squeeze-and-excitation and with
ReLU6 that TensorFlow published as EfficientNet-lite. Batch normalisation is folded into kernels.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from stackgan_jax.models import convolution
from stackgan_jax.models.convolution.depthwise import depthwise
from stackgan_jax.runtime.errors import UserError

TAPS = ("block2", "block4", "block10", "block15")
LAYERS = (*TAPS, "pooled", "logits")
LEAST_SIZE = 32  # pixels a side, of which the last blocks make one place
CLASSES = 1000
STEM = 32
HEAD = 1280


class Scale(NamedTuple):
    """How much larger than lite0 a network is.

    Attributes:
        width: factor of channels.
        depth: factor of blocks in a stage.
    """

    width: float
    depth: float


NETWORKS = {"lite0": Scale(1.0, 1.0), "lite1": Scale(1.0, 1.1), "lite2": Scale(1.1, 1.2)}


class Stage(NamedTuple):
    """Blocks of the same shape, in lite0.

    Attributes:
        kernel: height and width of the depthwise kernels.
        stride: of the first block.
        expansion: channels inside a block for each one that it reads.
        channels: that each block returns.
        blocks: how many.
        tap: the name of the last block's output among TAPS, or "".
    """

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int
    tap: str = ""


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2, "block2"),
    Stage(5, 2, 6, 40, 2, "block4"),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3, "block10"),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1, "block15"),
)


def stages(network: str) -> tuple[Stage, ...]:
    """Returns the stages of a network of NETWORKS.

    Raises:
        UserError: there is no network of that name.
    """
    if network not in NETWORKS:
        raise UserError(
            f"Unknown pretrained network {network!r}; choose from {', '.join(NETWORKS)}."
        )
    width, depth = NETWORKS[network]
    return tuple(
        stage._replace(
            channels=_widened(stage.channels, width),
            # The first and the last stage are the same in all networks.
            blocks=stage.blocks if stage.blocks == 1 else math.ceil(stage.blocks * depth),
        )
        for stage in STAGES
    )


def _widened(channels: int, width: float) -> int:
    """The multiple of 8 nearest to `channels * width`, but not less than 90 % of it."""
    nearest = max(8, int(channels * width + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels * width else nearest + 8


class Convolution(struct.PyTreeNode):
    """A kernel and the bias after it, batch normalisation included.

    Attributes:
        kernel: [k, k, c, o]; [k, k, c] if depthwise; [c, o] if dense.
        bias: [o].
    """

    kernel: Any
    bias: Any


class Block(struct.PyTreeNode):
    """An inverted residual block: wider by 1x1, depthwise, narrower by 1x1.

    Attributes:
        expand: None in the first block.
        depthwise: the k x k convolution.
        project: to the block's channels.
        stride: of the depthwise convolution.
        tap: the name of the block's output among TAPS, or "".
    """

    expand: Convolution | None
    depthwise: Convolution
    project: Convolution
    stride: int = struct.field(pytree_node=False)
    tap: str = struct.field(pytree_node=False)


class Trunk(struct.PyTreeNode):
    """The parameters of a whole network, float32; a tree of arrays to pass to jitted functions.

    Attributes:
        stem: the first convolution, of stride 2.
        blocks: the blocks in order.
        head: 1x1, before pooling.
        classifier: from pooled features to the logits of ImageNet's classes.
    """

    stem: Convolution
    blocks: tuple[Block, ...]
    head: Convolution
    classifier: Convolution


def default_dtype() -> Any:
    """Returns the dtype to compute in: float32 on CPU, bfloat16 on accelerators."""
    return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16


def taps(trunk: Trunk, images: jax.Array, dtype: Any = None) -> tuple[jax.Array, ...]:
    """Computes the feature maps after four stages.

    The gradient flows to the images only. This is a pure function for use under `jit` and `grad`.

    Args:
        trunk: the parameters.
        images: [b, h, w, 3] in [-1, 1], of at least LEAST_SIZE pixels a side.
        dtype: of the computation; by default `default_dtype()`.

    Returns:
        A map [b, ceil(h / s), ceil(w / s), c] of `dtype` for each of TAPS, for s = 4, 8, 16, 32.
        For lite0 c is 24, 40, 112 and 320.

    Raises:
        UserError: the images are too small.
    """
    height, width = images.shape[1:3]
    if min(height, width) < LEAST_SIZE:
        raise UserError(
            f"The pretrained network reads pictures of at least {LEAST_SIZE} x {LEAST_SIZE} "
            f"pixels, not {height} x {width}; enlarge them first."
        )
    dtype = dtype or default_dtype()
    trunk = jax.tree.map(lambda a: jax.lax.stop_gradient(jnp.asarray(a, dtype)), trunk)
    # The network was trained on (pixel - 127) / 128, which is close to [-1, 1] but not the same.
    x = ((images * 127.5 + 0.5) / 128).astype(dtype)
    x = _relu6(convolution.conv(x, trunk.stem.kernel, 2) + trunk.stem.bias)
    found = []
    for block in trunk.blocks:
        x = _block(block, x)
        if block.tap:
            found.append(x)
    return tuple(found)


def top(trunk: Trunk, last: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes what follows the last map.

    Args:
        trunk: the parameters.
        last: [b, h, w, c], the last of `taps`.

    Returns:
        The pooled features [b, 1280] and the logits of ImageNet's classes [b, 1000], float32.
    """
    head = jax.tree.map(lambda a: jnp.asarray(a, last.dtype), trunk.head)
    x = _relu6(convolution.conv(last, head.kernel) + head.bias)
    pooled = x.astype(jnp.float32).mean((1, 2))
    return pooled, pooled @ trunk.classifier.kernel + trunk.classifier.bias


def _block(block: Block, x: jax.Array) -> jax.Array:
    y = x
    if block.expand:
        y = _relu6(convolution.conv(y, block.expand.kernel) + block.expand.bias)
    y = _relu6(depthwise(y, block.depthwise.kernel, block.stride) + block.depthwise.bias)
    y = convolution.conv(y, block.project.kernel) + block.project.bias
    return x + y if x.shape == y.shape else y


def _relu6(x: jax.Array) -> jax.Array:
    return jnp.clip(x, 0, 6)

"""The sizes of a published network, inferred from the shapes of its weights.

Everything but the sizes is fixed. Each function raises ValueError, naming the missing or wrong
weight, if the weights belong to another network.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
# The keys of the frozen Stage I in a Stage-II generator of StackGAN-Pytorch begin with this.
STAGE1_PREFIX = "STAGE1_G."


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes that the shapes of a network's weights determine.

    Attributes:
        fields: The fields of the network's class that set its sizes.
        text: Width of the sentence embedding that the network reads; None if it reads none.
        noise: Width of z; None if the network reads no noise.
    """

    fields: Mapping[str, Any]
    text: int | None = None
    noise: int | None = None


def pytorch_generator(arrays: Arrays, stage: int) -> Sizes:
    """Infers the sizes of a generator of StackGAN-Pytorch.

    Args:
        arrays: The state dict of netG*.pth. Stage I inside Stage II's file: the keys that begin
            with `STAGE1_PREFIX`, without it.
        stage: 1 or 2.
    """
    twice, text = _shape(arrays, "ca_net.fc.weight", 2)
    fields = {"condition": twice // 2}
    if stage == 2:
        fields["features"] = _shape(arrays, "encoder.0.weight", 4)[0]
        fields["residual_blocks"] = _count(arrays, r"residual\.\d+\.block\.0\.weight")
        return _sizes(fields, text)
    start, joined = _shape(arrays, "fc.0.weight", 2)
    doublings = _count(arrays, r"upsample\d+\.1\.weight")
    fields |= {"size": 4 << doublings, "features": start // 16 >> max(doublings - 1, 0)}
    return _sizes(fields, text, noise=joined - fields["condition"])


def pytorch_discriminator(arrays: Arrays) -> Sizes:
    """Infers the sizes of a discriminator of StackGAN-Pytorch, netD*.pth, of either stage."""
    features, _, _, _ = _shape(arrays, "encode_img.0.weight", 4)
    width, joined, _, _ = _shape(arrays, "get_cond_logits.outlogits.0.weight", 4)
    size = 4 << _kernels_of_4(arrays, r"encode_img\.\d+\.weight", slice(2, 4))
    return _sizes({"size": size, "features": features, "condition": joined - width})


def tensorflow_generator(arrays: Arrays, scope: str) -> Sizes:
    """Infers the sizes of a generator of the TensorFlow program.

    Args:
        arrays: The variables of a checkpoint.
        scope: "g_net" for Stage I, "hr_g_net" for Stage II.
    """
    text, twice = _shape(arrays, f"{scope}/custom_fully_connected/Linear/Matrix", 2)
    fields = {"condition": twice // 2}
    convolutions = _count(arrays, rf"{scope}/(custom_conv2d\w*)/\1/w")
    if scope == "hr_g_net":
        fields["features"] = _shape(arrays, f"{scope}/custom_conv2d/custom_conv2d/w", 4)[-1]
        # Four convolutions before the residual blocks, two in each block, four that upsample, and
        # one to RGB.
        fields["residual_blocks"] = (convolutions - 9) // 2
        return _sizes(fields, text)
    joined, start = _shape(arrays, f"{scope}/custom_fully_connected_1/Linear/Matrix", 2)
    # Three convolutions in each of two bottlenecks. Each of the others doubles the size.
    doublings = max(convolutions - 6, 0)
    fields |= {"size": 4 << doublings, "features": start // 16 >> max(doublings - 1, 0)}
    return _sizes(fields, text, noise=joined - fields["condition"])


def tensorflow_discriminator(arrays: Arrays, scope: str) -> Sizes:
    """Infers the sizes of a discriminator of the TensorFlow program.

    Args:
        arrays: The variables of a checkpoint.
        scope: "d_net" for Stage I, "hr_d_net" for Stage II.
    """
    text, condition = _shape(arrays, f"{scope}/custom_fully_connected/Linear/Matrix", 2)
    features = _shape(arrays, f"{scope}/custom_conv2d/custom_conv2d/w", 4)[-1]
    # The last 4x4 convolution gives the logit.
    halvings = _kernels_of_4(arrays, rf"{scope}/(custom_conv2d\w*)/\1/w", slice(0, 2)) - 1
    size = 4 << max(halvings, 0)
    return _sizes({"size": size, "features": features, "condition": condition}, text)


def _sizes(fields: dict[str, int], text: int | None = None, noise: int | None = None) -> Sizes:
    found = fields | {"text": text, "noise": noise}
    wrong = [name for name, size in found.items() if size is not None and size < 1]
    if wrong or fields.get("size", 16) < 16:
        raise ValueError("no StackGAN network has these shapes")
    return Sizes(fields, text, noise)


def _shape(arrays: Arrays, name: str, dimensions: int) -> tuple[int, ...]:
    if name not in arrays:
        some = ", ".join(sorted(arrays)[:3]) or "nothing"
        raise ValueError(f"{name} is missing; it holds {some} …")
    shape = np.shape(arrays[name])
    if len(shape) != dimensions:
        raise ValueError(f"{name} has shape {shape}, not {dimensions} dimensions")
    return shape


def _count(arrays: Arrays, pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in arrays)


def _kernels_of_4(arrays: Arrays, pattern: str, axes: slice) -> int:
    """Returns how many of the matching convolutions have 4x4 kernels, as those of stride 2 do."""
    return sum(
        re.fullmatch(pattern, name) is not None and np.shape(array)[axes] == (4, 4)
        for name, array in arrays.items()
    )

"""The sizes of a published network, read off the shapes of its weights (all but them is fixed).

Every function raises ValueError, with what is missing or wrong, on the weights of another network.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
STAGE1_PREFIX = "STAGE1_G."  # of the frozen Stage I in a Stage-II generator of StackGAN-Pytorch


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a network's shapes tell.

    Attributes:
      fields: of the network's class that differ from one width to another.
      text: width of the sentence embedding that it takes; None where it takes none.
      noise: width of z; None where it takes none.
    """

    fields: Mapping[str, Any]
    text: int | None = None
    noise: int | None = None


def pytorch_generator(arrays: Arrays, stage: int) -> Sizes:
    """Of netG*.pth without the keys of `STAGE1_PREFIX`, or of those without the prefix."""
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
    """Of netD*.pth, either stage's."""
    features, _, _, _ = _shape(arrays, "encode_img.0.weight", 4)
    width, joined, _, _ = _shape(arrays, "get_cond_logits.outlogits.0.weight", 4)
    size = 4 << _kernels_of_4(arrays, r"encode_img\.\d+\.weight", slice(2, 4))
    return _sizes({"size": size, "features": features, "condition": joined - width})


def tensorflow_generator(arrays: Arrays, scope: str) -> Sizes:
    """Of the variables under `scope`, "g_net" or "hr_g_net"."""
    text, twice = _shape(arrays, f"{scope}/custom_fully_connected/Linear/Matrix", 2)
    fields = {"condition": twice // 2}
    convolutions = _count(arrays, rf"{scope}/(custom_conv2d\w*)/\1/w")
    if scope == "hr_g_net":
        fields["features"] = _shape(arrays, f"{scope}/custom_conv2d/custom_conv2d/w", 4)[-1]
        # Four before the residual blocks, two in each, four up, one to RGB.
        fields["residual_blocks"] = (convolutions - 9) // 2
        return _sizes(fields, text)
    joined, start = _shape(arrays, f"{scope}/custom_fully_connected_1/Linear/Matrix", 2)
    # Three in each of two bottlenecks; the others double the size.
    doublings = max(convolutions - 6, 0)
    fields |= {"size": 4 << doublings, "features": start // 16 >> max(doublings - 1, 0)}
    return _sizes(fields, text, noise=joined - fields["condition"])


def tensorflow_discriminator(arrays: Arrays, scope: str) -> Sizes:
    """Of the variables under `scope`, "d_net" or "hr_d_net"."""
    text, condition = _shape(arrays, f"{scope}/custom_fully_connected/Linear/Matrix", 2)
    features = _shape(arrays, f"{scope}/custom_conv2d/custom_conv2d/w", 4)[-1]
    # The last is the logit's.
    halvings = _kernels_of_4(arrays, rf"{scope}/(custom_conv2d\w*)/\1/w", slice(0, 2)) - 1
    size = 4 << max(halvings, 0)
    return _sizes({"size": size, "features": features, "condition": condition}, text)


def _sizes(fields: dict[str, int], text: int | None = None, noise: int | None = None) -> Sizes:
    told = fields | {"text": text, "noise": noise}
    wrong = [name for name, size in told.items() if size is not None and size < 1]
    if wrong or fields.get("size", 16) < 16:
        raise ValueError("its shapes are of no StackGAN network")
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
    """How many convolutions of that name have 4x4 kernels, which those of stride 2 have."""
    return sum(
        re.fullmatch(pattern, name) is not None and np.shape(array)[axes] == (4, 4)
        for name, array in arrays.items()
    )

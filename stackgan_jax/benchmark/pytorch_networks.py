"""StackGAN's networks in PyTorch, with the fields of this package's configs.

Images are `[b, 3, h, w]`; `f` are the fields of a network's config.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def activation(slope: float | None) -> nn.Module:
    """Returns a leaky ReLU of this slope, a ReLU for 0, the identity for None."""
    if slope is None:
        return nn.Identity()
    return nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)


def conv(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    bias: bool = False,
    padding: int | None = None,
) -> nn.Conv2d:
    """Returns a convolution; by default padded so that the stride alone shrinks the image."""
    padding = {1: 0, 3: 1, 4: 1}[kernel] if padding is None else padding
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)


def block(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    slope: float | None = 0.0,
    normalise: bool = True,
    upsample: bool = False,
) -> nn.Sequential:
    """Returns nearest x2 (if `upsample`), convolution, batch normalisation and activation."""
    layers = [nn.Upsample(scale_factor=2, mode="nearest")] if upsample else []
    layers.append(conv(inputs, outputs, kernel, stride))
    layers += [nn.BatchNorm2d(outputs)] if normalise else []
    return nn.Sequential(*layers, activation(slope))


class Shortcut(nn.Module):
    """Blocks with a residual connection around them, then a leaky ReLU (a ReLU for slope 0)."""

    def __init__(self, slope: float, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks, self.slope = nn.Sequential(*blocks), slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features `[b, c, h, w]` to features of the same shape."""
        x = x + self.blocks(x)
        return functional.leaky_relu(x, self.slope) if self.slope else functional.relu(x)


def bottleneck(width: int, slope: float) -> Shortcut:
    """Returns a residual block through a quarter of the width."""
    small = width // 4
    return Shortcut(
        slope,
        block(width, small, 1, slope=slope),
        block(small, small, slope=slope),
        block(small, width, slope=None),
    )


class Augmentation(nn.Module):
    """Conditioning augmentation (StackGAN, sec. 3.2)."""

    def __init__(self, embedding: int, f: Mapping[str, Any]) -> None:
        super().__init__()
        self.dense = nn.Linear(embedding, 2 * f["condition"])
        self.slope, self.log_variance = f["condition_slope"], f["log_variance"]

    def forward(
        self, embedding: torch.Tensor, epsilon: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the condition, mu and log_sigma, `[b, condition]` each."""
        x = functional.leaky_relu(self.dense(embedding).float(), self.slope)
        mu, log_sigma = x.chunk(2, 1)
        log_sigma = 0.5 * log_sigma if self.log_variance else log_sigma
        return mu + log_sigma.exp() * epsilon, mu, log_sigma


class Stage1(nn.Module):
    """Stage I's generator: embedding and noise to a small image."""

    def __init__(self, embedding: int, noise: int, f: Mapping[str, Any]) -> None:
        super().__init__()
        times = f["size"].bit_length() - 3
        self.noise_first, self.width = f["noise_first"], f["features"] << (times - 1)
        self.conditioning = Augmentation(embedding, f)
        inputs = noise + f["condition"]
        self.dense = nn.Linear(inputs, 16 * self.width, bias=f["dense_bias"])
        self.norm = nn.BatchNorm1d(16 * self.width)
        residual = f["residual"]
        layers = [bottleneck(self.width, 0.0) if residual else nn.ReLU(inplace=True)]
        width = self.width
        for i in range(1, times + (not f["image_upsamples"])):
            special = residual and i == 1
            layers.append(block(width, width // 2, slope=None if special else 0.0, upsample=True))
            width //= 2
            layers += [bottleneck(width, 0.0)] if special else []
        layers += [nn.Upsample(scale_factor=2, mode="nearest")] if f["image_upsamples"] else []
        self.layers = nn.Sequential(*layers, conv(width, 3, 3))

    def forward(
        self, embedding: torch.Tensor, z: torch.Tensor, epsilon: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the image in [-1, 1], mu and log_sigma."""
        c, mu, log_sigma = self.conditioning(embedding, epsilon)
        x = self.dense(torch.cat([z, c] if self.noise_first else [c, z], 1))
        x = self.norm(x).view(-1, self.width, 4, 4)
        x = x.contiguous(memory_format=torch.channels_last)
        return torch.tanh(self.layers(x).float()), mu, log_sigma


class Stage2(nn.Module):
    """Stage II's generator: Stage I's image and the embedding to an image four times as large."""

    def __init__(self, embedding: int, f: Mapping[str, Any]) -> None:
        super().__init__()
        width = f["features"]
        self.conditioning = Augmentation(embedding, f)
        self.encode = nn.Sequential(
            block(3, width, normalise=False),
            block(width, 2 * width, 4, 2),
            block(2 * width, 4 * width, 4, 2),
        )
        layers = [block(4 * width + f["condition"], 4 * width)]
        for _ in range(f["residual_blocks"]):
            first = block(4 * width, 4 * width)
            layers.append(Shortcut(0.0, first, block(4 * width, 4 * width, slope=None)))
        for i in range(4):
            layers.append(block(4 * width >> i, 2 * width >> i, upsample=True))
        self.decode = nn.Sequential(*layers, conv(width // 4, 3, 3))

    def forward(
        self, stage1_image: torch.Tensor, embedding: torch.Tensor, epsilon: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the image in [-1, 1], mu and log_sigma."""
        c, mu, log_sigma = self.conditioning(embedding, epsilon)
        image = self.decode(joined(self.encode(stage1_image), c))
        return torch.tanh(image.float()), mu, log_sigma


class Discriminator(nn.Module):
    """Both stages' discriminator: an image encoder, and heads with and without the text.

    Attributes:
        unconditional: the head without the text, or None.
    """

    def __init__(self, embedding: int, f: Mapping[str, Any]) -> None:
        super().__init__()
        layers, inputs = self._encoder(f)
        self.encode = nn.Sequential(*layers)
        self.project = nn.Linear(embedding, f["condition"]) if f["project"] else None
        self.joint = block(inputs + f["condition"], inputs, f["joint_kernel"], slope=0.2)
        self.logit = conv(inputs, 1, 4, bias=f["logit_bias"], padding=0)
        head = conv(inputs, 1, 4, bias=f["logit_bias"], padding=0)
        self.unconditional = head if f["unconditional_head"] else None

    @staticmethod
    def _encoder(f: Mapping[str, Any]) -> tuple[list[nn.Module], int]:
        """The encoder's layers and the width of its output."""
        times, residual = f["size"].bit_length() - 3, f["residual"]
        linear = {times - 2} if f.get("linear_before_last") else set()
        stage2 = f["reduce_kernel"] > 0
        linear |= {times - 1} if residual and not stage2 else set()
        layers, inputs = [], 3
        for i in range(times):
            slope = None if i in linear else 0.2
            layers.append(block(inputs, f["features"] << i, 4, 2, slope, normalise=i > 0))
            inputs = f["features"] << i
        if stage2:
            kernel = f["reduce_kernel"]
            layers.append(block(inputs, inputs // 2, kernel, slope=0.2))
            last = None if residual else 0.2
            layers.append(block(inputs // 2, inputs // 4, kernel, slope=last))
            inputs //= 4
        return layers + ([bottleneck(inputs, 0.2)] if residual else []), inputs

    def score(self, features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Returns the logits `[b]` of encoded images with text."""
        if self.project:
            condition = functional.leaky_relu(self.project(condition), 0.2)
        return self.logit(self.joint(joined(features, condition))).flatten().float()


def joined(features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """Concatenates features `[b, c, h, w]` with a condition `[b, n]` at every position."""
    _, _, h, w = features.shape
    condition = condition.to(features.dtype)[:, :, None, None].expand(-1, -1, h, w)
    return torch.cat([features, condition], 1)


class Networks(nn.Module):
    """The networks of a description.

    Attributes:
        prior: the Stage I that a Stage II continues from, not trained; None in Stage I.
        generator: the generator under training.
        discriminator: its discriminator.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        """Builds the networks that `about`, from `peer.description`, describes."""
        super().__init__()
        width, z = about["embedding"], about["training"]["z_features"]
        self.prior = None
        if about["kind"] == "stage2":
            self.prior = Stage1(width, z, about["prior"]).requires_grad_(False)
            self.generator = Stage2(width, about["generator"])
        else:
            self.generator = Stage1(width, z, about["generator"])
        self.discriminator = Discriminator(width, about["discriminator"])

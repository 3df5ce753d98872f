"""StackGAN's training step in PyTorch, as a user would write and tune it.

The benchmark compares it with the step of this package. It leaves out three things that that step
does: cropping and mirroring images, the generator's moving average, and metrics. Like that step it
draws once for both updates, encodes real images once for the matching and the mismatched pair, and
computes no gradient that is not used.
"""

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from stackgan_jax.benchmark.pytorch_networks import Networks

VERSION = torch.__version__
WARM = 2  # steps before the timing


class Trainer:
    """Networks, optimisers and a random batch on the device.

    Attributes:
        device: "cuda" or "cpu".
    """

    def __init__(self, about: Mapping[str, Any], compiled: bool) -> None:
        """Builds the networks.

        Args:
            about: what `peer.description` returns.
            compiled: whether `torch.compile` compiles the networks.
        """
        self.about, self.device = about, "cuda" if torch.cuda.is_available() else "cpu"
        networks = Networks(about).to(self.device, memory_format=torch.channels_last)
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.prior = networks.prior
        options = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": True}
        self.g_optimiser = torch.optim.Adam(self.generator.parameters(), **options)
        self.d_optimiser = torch.optim.Adam(self.discriminator.parameters(), **options)
        wrap = torch.compile if compiled else lambda function: function
        self.draw, self.encode = wrap(self.generator), wrap(self.discriminator.encode)
        self.score = wrap(self.discriminator.score)
        self.draw_stage1 = wrap(self.prior) if self.prior else None
        b, size = about["batch_size"], about["discriminator"]["size"]
        image = torch.rand(b, 3, size, size, device=self.device) * 2 - 1
        self.image = image.contiguous(memory_format=torch.channels_last)
        self.embedding = torch.randn(b, about["embedding"], device=self.device)

    @property
    def device_name(self) -> str:
        """The name of the GPU, or "cpu"."""
        return torch.cuda.get_device_name() if self.device == "cuda" else "cpu"

    def step(self) -> None:
        """Updates the discriminator, then the generator, once each."""
        with self._autocast():
            inputs = self._generator_inputs()
            fake, mu, log_sigma = self.draw(
                *inputs, self._normal(self.about["generator"]["condition"])
            )
            text = self.embedding if self.discriminator.project else mu.detach()
            self.discriminator.requires_grad_(True)
            loss = self._discriminator_loss(fake.detach(), text)
        self._update(self.d_optimiser, loss)
        self.discriminator.requires_grad_(False)
        with self._autocast():
            loss = self._generator_loss(fake, text, mu, log_sigma)
        self._update(self.g_optimiser, loss)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.about["bfloat16"])

    def _normal(self, width: int) -> torch.Tensor:
        return torch.randn(len(self.image), width, device=self.device)

    def _update(self, optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def _generator_inputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Stage I: (embedding, noise); Stage II: (Stage I's image, embedding)."""
        inputs = (self.embedding, self._normal(self.about["training"]["z_features"]))
        if not self.prior:
            return inputs
        with torch.no_grad():
            epsilon = self._normal(self.about["prior"]["condition"])
            stage1_image, _, _ = self.draw_stage1(*inputs, epsilon)
        return stage1_image, self.embedding

    def _discriminator_loss(self, fake: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        real, fake = self.encode(self.image), self.encode(fake)
        if self.about["training"]["mismatch"] == "shifted_text":
            mismatched = self.score(real[:-1], text[1:])
        else:
            partner = torch.randperm(len(real), device=self.device)
            mismatched = self.score(real[partner], text)
        matching = cross_entropy(self.score(real, text), 1.0)
        mismatched = cross_entropy(mismatched, 0.0)
        drawn = cross_entropy(self.score(fake, text), 0.0)
        if not self.discriminator.unconditional:
            return matching + (mismatched + drawn) / 2
        matching = matching + cross_entropy(self._unconditional(real), 1.0)
        unconditional = cross_entropy(self._unconditional(fake), 0.0)
        return matching / 2 + (mismatched + drawn + unconditional) / 3

    def _generator_loss(
        self, fake: torch.Tensor, text: torch.Tensor, mu: torch.Tensor, log_sigma: torch.Tensor
    ) -> torch.Tensor:
        features = self.encode(fake)
        loss = cross_entropy(self.score(features, text), 1.0)
        if self.discriminator.unconditional:
            loss = loss + cross_entropy(self._unconditional(features), 1.0)
        kl = (-log_sigma + 0.5 * ((2 * log_sigma).exp() + mu**2 - 1)).mean()
        return loss + self.about["training"]["kl_weight"] * kl

    def _unconditional(self, features: torch.Tensor) -> torch.Tensor:
        return self.discriminator.unconditional(features).flatten().float()

    def run(self, n: int) -> float:
        """Runs n steps and returns how many seconds they took."""
        began = time.perf_counter()
        for _ in range(n):
            self.step()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began


def cross_entropy(logits: torch.Tensor, target: float) -> torch.Tensor:
    """Returns the mean sigmoid cross-entropy of logits `[b]` to one target for all."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def fastest(about: Mapping[str, Any]) -> tuple[str, Trainer, dict[str, float]]:
    """Tries the eager and the compiled trainer.

    `torch.compile` is tried where it can work: with a GPU or a C++ compiler, and
    `about["try_compiled"]`.

    Returns:
        The name of the faster one, its trainer, and the milliseconds of each that was tried.
    """
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.set_num_threads(about["threads"])
    choices = [False]
    if about["try_compiled"] and (torch.cuda.is_available() or shutil.which("g++")):
        choices.append(True)
    tried = {}
    for compiled in choices:
        name = "torch.compile" if compiled else "eager"
        try:
            trainer = Trainer(about, compiled)
            trainer.run(WARM)
            tried[name] = (min(trainer.run(1) for _ in range(3)), trainer)
        except Exception as error:  # torch.compile fails in many ways; eager must not
            if not compiled:
                raise
            print(f"torch.compile is left out: {str(error)[:200]}", file=sys.stderr)
    name = min(tried, key=lambda name: tried[name][0])
    return name, tried[name][1], {n: round(1e3 * t, 2) for n, (t, _) in tried.items()}

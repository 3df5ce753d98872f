"""What a step of training carries, and how networks are applied to it."""

from typing import Any, NamedTuple

import jax
from flax import linen as nn
from flax import struct

from stackgan_jax.models.batch_norm import DECAY


@struct.dataclass
class Net:
    """One network under training."""

    params: Any
    batch_stats: Any
    opt_state: Any


@struct.dataclass
class GanState:
    """Everything that a step changes.

    Attributes:
        step: how many steps have been done.
        generator: the generator under training.
        discriminator: the discriminator under training.
        ema: {"params", "batch_stats"}, the generator's exponential moving average.
        priors: {"params", "batch_stats"} of each earlier stage's frozen generator, in order.
    """

    step: jax.Array
    generator: Net
    discriminator: Net
    ema: Any
    priors: tuple[Any, ...] = ()

    @classmethod
    def to_draw(cls, ema: Any, priors: tuple[Any, ...]) -> "GanState":
        """A state that can draw by its average and cannot train."""
        return cls(step=None, generator=None, discriminator=None, ema=ema, priors=priors)


class Noise(NamedTuple):
    """Noise for a batch.

    Attributes:
        z: `[b, nz]`, Stage I's.
        epsilons: for each stage in order `[b, c]`, of its conditioning augmentation.
    """

    z: jax.Array
    epsilons: tuple[jax.Array, ...]


class Batch(NamedTuple):
    """Real images and texts, augmented and paired.

    Attributes:
        image: `[b, s, s, 3]` float32 in [-1, 1].
        embedding: `[b, t]`, of the images' texts.
        partner: `[b]`, whose text is the wrong one for each image; None with "shifted_text" or
            with `wrong_image`.
        wrong_image: `[b, s, s, 3]`, which do not match the texts; None to use the batch's own. Only
            for a discriminator that sees the image itself, without augmentation.
    """

    image: jax.Array
    embedding: jax.Array
    partner: jax.Array | None = None
    wrong_image: jax.Array | None = None


class Threaded:
    """Applies a network in training mode; each call starts from the last one's statistics."""

    def __init__(self, module: nn.Module, params: Any, stats: Any) -> None:
        self.module, self.params, self.stats = module, params, stats
        self.previous = stats

    def __call__(self, *arguments: jax.Array, method: str) -> jax.Array:
        """Calls a method of the network and keeps the new statistics."""
        self.previous = self.stats
        output, self.stats = apply_network(
            self.module, self.params, *arguments, stats=self.stats, method=method
        )
        return output

    def repeat(self) -> None:
        """Moves the running statistics as the last call did, towards the same batch again."""
        self.stats = jax.tree.map(lambda r, p: r + DECAY * (r - p), self.stats, self.previous)


def apply_network(
    module: nn.Module, params: Any, *arguments: jax.Array, stats: Any, method: str | None = None
) -> tuple[Any, Any]:
    """Applies a network in training mode → its output and the new running statistics."""
    variables = {"params": params, "batch_stats": stats}
    output, updates = module.apply(
        variables, *arguments, True, mutable=["batch_stats"], method=method
    )
    return output, updates.get("batch_stats", {})


def variables_of(source: Any) -> dict[str, Any]:
    """{"params", "batch_stats"} of a Net or a dictionary."""
    if isinstance(source, Net):
        return {"params": source.params, "batch_stats": source.batch_stats}
    return {"params": source["params"], "batch_stats": source.get("batch_stats", {})}

"""How weights move: Adam with its learning rates, and the generator's average (sec. 4)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from stackgan_jax.training.state import Net, variables_of


@dataclasses.dataclass(frozen=True)
class Optimisation:
    """Adam for both networks, and the moving average of the generator.

    Attributes:
        generator_learning_rate: of Adam.
        discriminator_learning_rate: of Adam.
        learning_rate_scale: factor of both learning rates.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the mean squared gradient.
        halve_every: steps between halvings of the learning rates; None or 0 for never.
        ema_decay: of the generator's average, a step.
        ema_images: instead of `ema_decay`, the images after which a weight has lost half of its
            part in the average; at the beginning a twentieth of the images seen. 0 for
            `ema_decay`.
    """

    generator_learning_rate: float = 2e-4
    discriminator_learning_rate: float = 2e-4
    learning_rate_scale: float = 1.0
    beta1: float = 0.5
    beta2: float = 0.999
    halve_every: int | None = None
    ema_decay: float = 0.999
    ema_images: int = 0

    def schedule(self, rate: float) -> optax.Schedule:
        """Step → learning rate, for one of the two rates."""
        rate *= self.learning_rate_scale
        if not self.halve_every:
            return optax.constant_schedule(rate)
        return optax.exponential_decay(rate, self.halve_every, 0.5, staircase=True)

    def begin(self, variables: Any, rate: float) -> Net:
        """A network before its first step, with given {"params", "batch_stats"}."""
        params = variables["params"]
        return Net(params, variables.get("batch_stats", {}), self._adam(rate).init(params))

    def descend(self, net: Net, gradient: Any, stats: Any, rate: float) -> Net:
        """One Adam step.

        Args:
            net: before the step.
            gradient: of the objective, like `net.params`.
            stats: the new running statistics.
            rate: the network's learning rate.
        """
        updates, opt_state = self._adam(rate).update(gradient, net.opt_state, net.params)
        return Net(optax.apply_updates(net.params, updates), stats, opt_state)

    def average(self, ema: Any, generator: Net, step: jax.Array, batch: int) -> Any:
        """The generator's average after a step.

        Args:
            ema: {"params", "batch_stats"}, the average before the step.
            generator: after the step.
            step: how many steps were done before it.
            batch: images of the step.
        """
        # The first averages are over fewer steps, or the random start would stay in them.
        decay = jnp.minimum(self.ema_decay, (1 + step) / (10 + step))
        if self.ema_images:
            decay = 0.5 ** (batch / jnp.minimum(self.ema_images, 0.05 * batch * (1 + step)))
        return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, ema, variables_of(generator))

    def _adam(self, rate: float) -> optax.GradientTransformation:
        return optax.adam(self.schedule(rate), b1=self.beta1, b2=self.beta2, eps=1e-8)


PUBLISHED = Optimisation()

"""The generators of all stages as one chain, from noise and text to the last picture (sec. 3)."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from stackgan_jax.models.stage2 import FACTOR
from stackgan_jax.training.state import Noise, apply_network


@dataclasses.dataclass(frozen=True)
class Cascade:
    """Generators in order: each but the first draws on the picture of the one before.

    Attributes:
        stages: the generators, Stage I first.
        z_features: numbers in z.
        truncated_epsilon: ε is cut at two deviations.
        epsilon_scale: factor of ε; 0 switches the conditioning augmentation off.
    """

    stages: tuple[nn.Module, ...]
    z_features: int
    truncated_epsilon: bool
    epsilon_scale: float

    @property
    def sizes(self) -> tuple[int, ...]:
        """Side of each stage's pictures, in pixels."""
        return tuple(self.stages[0].size * FACTOR**i for i in range(len(self.stages)))

    def noise(self, key: jax.Array, batch: int) -> Noise:
        """Draws the noise of a batch."""
        # At least three keys: Stage I draws the same numbers in every version of the program.
        z_key, *keys = jax.random.split(key, max(3, 1 + len(self.stages)))
        draw = jax.random.normal
        if self.truncated_epsilon:
            draw = functools.partial(jax.random.truncated_normal, lower=-2.0, upper=2.0)
        return Noise(
            z=jax.random.normal(z_key, (batch, self.z_features)),
            epsilons=tuple(
                self.epsilon_scale * draw(key, shape=(batch, stage.condition))
                for key, stage in zip(keys, self.stages, strict=False)
            ),
        )

    def init(self, stage: int, key: jax.Array, embedding_features: int) -> Any:
        """Random {"params", "batch_stats"} of a stage, counted from 0."""
        noise = jax.tree.map(jnp.zeros_like, self.noise(key, 2))
        size = self.sizes[max(0, stage - 1)]
        earlier, embedding = jnp.zeros((2, size, size, 3)), jnp.zeros((2, embedding_features))
        return self.stages[stage].init(key, *_inputs(stage, earlier, embedding, noise), True)

    def inputs(
        self, priors: tuple[Any, ...], embedding: jax.Array, noise: Noise
    ) -> tuple[tuple[jax.Array, ...], tuple[Any, ...]]:
        """The last stage's inputs in training, and the priors with new running statistics.

        The frozen earlier stages still normalise by the batch while a later stage trains, and their
        running statistics follow, as in both published programs.

        Args:
            priors: {"params", "batch_stats"} of every stage but the last.
            embedding: `[b, t]`.
            noise: of the batch.
        """
        image, followed = None, []
        for i, (stage, prior) in enumerate(zip(self.stages, priors, strict=False)):
            inputs = _inputs(i, image, embedding, noise)
            (image, _, _), stats = apply_network(
                stage, prior["params"], *inputs, stats=prior["batch_stats"]
            )
            followed.append({"params": prior["params"], "batch_stats": stats})
            image = jax.lax.stop_gradient(image)
        return _inputs(len(priors), image, embedding, noise), tuple(followed)

    def draw(
        self, variables: tuple[Any, ...], embedding: jax.Array, noise: Noise
    ) -> dict[str, jax.Array]:
        """Draws by the running statistics.

        Args:
            variables: {"params", "batch_stats"} of each stage.
            embedding: `[b, t]`.
            noise: for every stage.

        Returns:
            Every stage's images in order, "stage1", "stage2" and so on: `[b, s, s, 3]` float32 in
            [-1, 1].
        """
        image, drawn = None, {}
        for i, (stage, known) in enumerate(zip(self.stages, variables, strict=True)):
            image, _, _ = stage.apply(known, *_inputs(i, image, embedding, noise), False)
            drawn[f"stage{i + 1}"] = image
        return drawn


def _inputs(
    stage: int, earlier_image: jax.Array | None, embedding: jax.Array, noise: Noise
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What the generator of a stage, counted from 0, is called with."""
    if stage == 0:
        return embedding, noise.z, noise.epsilons[0]
    return earlier_image, embedding, noise.epsilons[stage]

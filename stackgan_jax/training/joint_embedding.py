"""Joint text-image embedding: its towers, state and step (Reed et al., 2016)."""

import dataclasses
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from stackgan_jax.data.augment import reduced
from stackgan_jax.models.char_cnn_rnn import LENGTH
from stackgan_jax.models.image_tower import FeatureTower, ImageTower
from stackgan_jax.training import objectives

SCALARS = ("loss", "text_to_image_accuracy", "image_to_text_accuracy")  # That every step returns.


@flax.struct.dataclass
class EmbeddingState:
    """Everything that a step of the joint embedding changes."""

    step: jax.Array
    params: Any
    opt_state: Any


@dataclasses.dataclass(frozen=True)
class JointEmbedding:
    """Trains two towers so that texts and images of one class score high, of two classes low.

    Attributes:
        text: the text tower, which is the purpose of the training; `Identity` if embeddings are
            given and only the image tower learns.
        image: the image tower, of the same width. A `FeatureTower` reads features in place of
            pictures.
        image_size: side of the pictures that the image tower sees; loaded pictures are cropped and
            reduced to it.
        learning_rate: Adam's highest: it rises over the first tenth of `steps` and then falls to 0
            as a cosine.
        steps: of the whole training.
        flip: whether pictures are mirrored at random.
        teacher: "ridge": the image layer is a fixed regression, and the text tower learns the
            batch's `place` of each caption (`ridge_teacher`); "" for towers that learn together.
        drop_words: share of the words that are left out of captions at random. Without it, a few
            captions are learnt by heart.
    """

    text: nn.Module
    image: ImageTower | FeatureTower
    image_size: int = 32
    learning_rate: float = 4e-3
    learning_rate_scale: float = 1.0
    steps: int = 1000
    flip: bool = True
    teacher: str = ""
    drop_words: float = 0.0

    def init(
        self,
        key: jax.Array,
        tokens: jax.Array | None = None,
        statistics: dict[str, Any] | None = None,
    ) -> EmbeddingState:
        """Makes fresh parameters of both towers and of Adam.

        Args:
            key: of the parameters.
            tokens: `[1, …]`, like those of a batch; characters by default.
            statistics: shift and scale `[d]` of a `FeatureTower`; with a teacher its `projection`
                as well.
        """
        text_key, image_key = jax.random.split(key)
        side = self.image_size
        image = jnp.zeros((1, *(statistics["shift"].shape if statistics else (side, side, 3))))
        tokens = jnp.zeros((1, LENGTH), jnp.uint8) if tokens is None else tokens
        params = {
            "text": self.text.init(text_key, tokens).get("params", {}),
            "image": self.image.init(image_key, image)["params"] | (statistics or {}),
        }
        return EmbeddingState(jnp.zeros((), jnp.int32), params, self._optimizer().init(params))

    def step(
        self, state: EmbeddingState, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[EmbeddingState, dict[str, jax.Array]]:
        """Does one step of Adam on the structured joint embedding loss of both directions.

        Args:
            state: from `init` or the step before.
            batch: image [b, l, l, 3] uint8, l the load size, or [b, views, d] features; tokens
                [b, …] as the text tower reads them; label [b], the class of each: items of one
                class are not a mismatch.
            key: of the random crop, flip and words.

        Returns:
            The next state, and the scalars loss, text_to_image_accuracy and
            image_to_text_accuracy: the share of items that find their partner in the batch.
        """
        pictures = self._seen(batch["image"], key)
        tokens = batch["tokens"]
        if self.drop_words:
            tokens = self.text.without_words(jax.random.fold_in(key, 1), tokens, self.drop_words)

        def loss_of(params: Any) -> tuple[jax.Array, jax.Array]:
            texts = self.text.apply({"params": params["text"]}, tokens)
            images = self.image.apply({"params": params["image"]}, pictures)
            if self.teacher:
                return jnp.mean(jnp.square(texts - batch["place"])), images @ texts.T
            by_image = objectives.structured_joint_embedding(images, texts, batch["label"])
            by_text = objectives.structured_joint_embedding(texts, images, batch["label"])
            return by_image + by_text, images @ texts.T

        (loss, scores), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = self._optimizer().update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        own = jnp.arange(len(scores))
        metrics = {
            "loss": loss,
            "text_to_image_accuracy": jnp.mean(scores.argmax(axis=0) == own),
            "image_to_text_accuracy": jnp.mean(scores.argmax(axis=1) == own),
        }
        return EmbeddingState(state.step + 1, params, opt_state), metrics

    def embed_images(self, params: Any, image: jax.Array) -> jax.Array:
        """Embeds the middle of each image: `[b, l, l, 3]` uint8 → `[b, width]`."""
        return self.image.apply({"params": params["image"]}, reduced(image, self.image_size))

    def _seen(self, image: jax.Array, key: jax.Array) -> jax.Array:
        """A crop of each picture, or one of its views' features, at random."""
        if isinstance(self.image, ImageTower):
            return reduced(image, self.image_size, key, self.flip)
        views = image.shape[1] if self.flip else 1
        view = jax.random.randint(key, (len(image), 1, 1), 0, views)
        return jnp.take_along_axis(image, view, axis=1)[:, 0]

    def _optimizer(self) -> optax.GradientTransformation:
        rise = self.steps // 10
        highest = self.learning_rate * self.learning_rate_scale
        rate = optax.warmup_cosine_decay_schedule(0.0, highest, rise, self.steps)
        steps = [optax.clip_by_global_norm(5.0), optax.adam(rate)]
        if isinstance(self.image, FeatureTower):
            # `shift` and `scale` are data. Their gradient is not part of the norm either.
            names = ("image",) if self.teacher else ("shift", "scale")
            fixed = lambda params: jax.tree_util.tree_map_with_path(
                lambda path, _: any(each.key in names for each in path), params
            )
            steps.insert(0, optax.masked(optax.set_to_zero(), fixed))
        return optax.chain(*steps)

"""Joint text-image embedding: its towers, state and step (Reed et al., 2016)."""

import dataclasses
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from stackgan_jax import augment, losses
from stackgan_jax.models.text import LENGTH

# Such that scores start within the margin of 1, and learn to leave it in a few hundred steps.
IMAGE_LENGTH = 4.0


class ImageTower(nn.Module):
    """A small convolutional image encoder, needed only while the text encoder is trained.

    Attributes:
        width: of the embedding, the text tower's.
        features: of the 3x3 convolutions, each of which halves the picture.
        dtype: of the computation; parameters are float32.
    """

    width: int = 256
    features: tuple[int, ...] = (32, 64, 128)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """image: [b, s, s, 3] in [-1, 1] → [b, width] float32, each of length `IMAGE_LENGTH`."""
        x = image.astype(self.dtype)
        for features in self.features:
            he = nn.initializers.he_normal()
            x = nn.Conv(features, (3, 3), 2, 1, kernel_init=he, dtype=self.dtype)(x)
            # Not normalised: over one picture that would take away how dark or bright it is.
            x = nn.relu(x)
        # Not averaged over the picture: captions say what is where, a red crown, a white belly.
        x = nn.Dense(self.width, dtype=self.dtype)(x.reshape(len(x), -1)).astype(jnp.float32)
        # Reed et al. learn from fixed image features; with free ones the loss is soonest lowered by
        # shrinking both embeddings to nothing, from where training hardly returns.
        return IMAGE_LENGTH * x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-6)


@flax.struct.dataclass
class EmbeddingState:
    """All that training the joint embedding carries from step to step."""

    step: jax.Array
    params: Any
    opt_state: Any


@dataclasses.dataclass(frozen=True)
class JointEmbedding:
    """Texts and images of one class score high together, of two classes low.

    Attributes:
        text: the text tower, what training is for; `Identity` where embeddings are given and only
            the image tower learns.
        image: the image tower; of the same width.
        image_size: side of the pictures that the image tower sees; loaded ones are cut and reduced.
        learning_rate: of Adam, at its highest: it rises over the first tenth of `steps` and then
            falls to 0 as a cosine.
        steps: of the whole training.
        flip: whether pictures are mirrored at random.
        drop_words: the share of words left out of captions at random; few captions are learnt by
            heart otherwise.
    """

    text: nn.Module
    image: ImageTower
    image_size: int = 32
    learning_rate: float = 4e-3
    steps: int = 1000
    flip: bool = True
    drop_words: float = 0.0

    def init(self, key: jax.Array, tokens: jax.Array | None = None) -> EmbeddingState:
        """Fresh parameters of both towers and of Adam; `tokens`: [1, …] like those of a batch, by
        default of characters."""
        text_key, image_key = jax.random.split(key)
        image = jnp.zeros((1, self.image_size, self.image_size, 3))
        tokens = jnp.zeros((1, LENGTH), jnp.uint8) if tokens is None else tokens
        params = {
            "text": self.text.init(text_key, tokens).get("params", {}),
            "image": self.image.init(image_key, image)["params"],
        }
        return EmbeddingState(jnp.zeros((), jnp.int32), params, self._optimizer().init(params))

    def step(
        self, state: EmbeddingState, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[EmbeddingState, dict[str, jax.Array]]:
        """One step of Adam on the structured joint embedding loss of both directions.

        Args:
            state: from `init` or the step before.
            batch: image [b, l, l, 3] uint8, l the load size; tokens [b, …] as the text tower reads
                them; label [b], the class of each: items of one class are no mismatch.
            key: of the random crop, flip and words.

        Returns:
            The next state, and the scalars loss, text_to_image_accuracy and
            image_to_text_accuracy: the share of items that find their partner in the batch.
        """
        pictures = reduced(batch["image"], self.image_size, key, self.flip)
        tokens = batch["tokens"]
        if self.drop_words:
            tokens = self.text.without_words(jax.random.fold_in(key, 1), tokens, self.drop_words)

        def loss_of(params):
            texts = self.text.apply({"params": params["text"]}, tokens)
            images = self.image.apply({"params": params["image"]}, pictures)
            by_image = losses.structured_joint_embedding(images, texts, batch["label"])
            by_text = losses.structured_joint_embedding(texts, images, batch["label"])
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
        """image: [b, l, l, 3] uint8, its middle taken → [b, width]."""
        return self.image.apply({"params": params["image"]}, reduced(image, self.image_size))

    def _optimizer(self) -> optax.GradientTransformation:
        rise = self.steps // 10
        rate = optax.warmup_cosine_decay_schedule(0.0, self.learning_rate, rise, self.steps)
        return optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rate))


def reduced(
    image: jax.Array, size: int, key: jax.Array | None = None, flip: bool = True
) -> jax.Array:
    """[b, l, l, 3] uint8 → [b, size, size, 3] in [-1, 1]: cut, then averaged over squares.

    The cut is the largest multiple of `size`, 64 of 76 pixels for 32 as in Stage I. With a key each
    picture is cut at a random place and, if `flip`, flipped at random; without one, cut at its
    middle. Raises UserError for pictures smaller than `size`.
    """
    factor = max(image.shape[1] // size, 1)
    cut = size * factor
    pictures = augment.centre(image, cut) if key is None else augment.augment(key, image, cut, flip)
    return pictures.reshape(-1, size, factor, size, factor, 3).mean(axis=(2, 4))

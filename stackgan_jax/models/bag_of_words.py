"""The bag-of-words text encoder, the baseline of the joint embedding (Reed et al., CVPR 2016)."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class BagOfWords(nn.Module):
    """The sum of one vector per word plus a bias: a linear layer over which words occur.

    Attributes:
        width: Width of the embedding.
        words: Size of the vocabulary. Words are numbered from 1; 0 means no word.
    """

    width: int
    words: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Embeds captions.

        Args:
            tokens: [b, n] word numbers, 0 to `words`.

        Returns:
            [b, width] float32.
        """
        vectors = nn.Embed(self.words + 1, self.width, name="words")(tokens)
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        return jnp.sum(vectors * (tokens > 0)[..., None], axis=1) + bias

    @staticmethod
    def without_words(key: jax.Array, tokens: jax.Array, share: float) -> jax.Array:
        """Leaves out each word with probability `share`: [b, n] → [b, n]."""
        return jnp.where(jax.random.bernoulli(key, 1 - share, tokens.shape), tokens, 0)

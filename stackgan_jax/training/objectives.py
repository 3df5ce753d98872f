"""Objectives as pure functions, by the names that `config.training` chooses (StackGAN, sec. 3).

An adversarial loss scores the discriminator's logits, a penalty limits the discriminator's
gradient, and terms are added to the generator's objective. Every function returns a float32 scalar.
A new one is a function here and an entry of `ADVERSARIAL_LOSSES`, `PENALTIES` or `TERMS`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class AdversarialLoss(NamedTuple):
    """How logits, an array, are scored; each function → scalar.

    Attributes:
        real: of pairs that the discriminator should accept.
        fake: of pairs that it should reject: generated images, and real ones with a wrong text.
        generator: of generated images, for the generator.
    """

    real: Callable[[jax.Array], jax.Array]
    fake: Callable[[jax.Array], jax.Array]
    generator: Callable[[jax.Array], jax.Array]


def cross_entropy(logits: jax.Array, target: float) -> jax.Array:
    """Mean binary cross-entropy of logits with one target for all, 0 or 1."""
    logits = logits.astype(jnp.float32)
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, target)))


def hinge(logits: jax.Array, sign: float) -> jax.Array:
    """Mean of max(0, 1 - sign·logit) over all logits (Lim and Ye 2017; Miyato et al. 2018)."""
    return jnp.mean(jax.nn.relu(1.0 - sign * logits.astype(jnp.float32)))


ADVERSARIAL_LOSSES: dict[str, AdversarialLoss] = {
    # Non-saturating (Goodfellow et al. 2014, sec. 3). Both published programs use it where the
    # paper writes the saturating form (eq. 4).
    "published": AdversarialLoss(
        real=lambda logits: cross_entropy(logits, 1.0),
        fake=lambda logits: cross_entropy(logits, 0.0),
        generator=lambda logits: cross_entropy(logits, 1.0),
    ),
    "hinge": AdversarialLoss(
        real=lambda logits: hinge(logits, 1.0),
        fake=lambda logits: hinge(logits, -1.0),
        generator=lambda logits: -jnp.mean(logits.astype(jnp.float32)),
    ),
}


# `[b]`, or arrays `[b, …]` of several heads, whose losses are added.
Logits = jax.Array | tuple[jax.Array, ...]


def _over_heads(score: Callable[[jax.Array], jax.Array], logits: Logits) -> jax.Array:
    return sum(map(score, jax.tree.leaves(logits)))


def discriminator(
    loss: AdversarialLoss,
    real: Logits,
    wrong: Logits,
    fake: Logits,
    real_alone: jax.Array | None = None,
    fake_alone: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """The matching-aware discriminator's loss (sec. 3.4, after Reed et al. 2016, algorithm 1).

    Args:
        loss: how logits are scored.
        real: logits of real images with their text.
        wrong: logits of real images with another image's text.
        fake: logits of generated images with their text.
        real_alone: `[b]` logits of real images without text, from the unconditional head.
        fake_alone: `[b]` logits of generated images without text.

    Returns:
        d_loss and its parts d_loss_real, d_loss_wrong and d_loss_fake, as the published programs
        log them. d_loss is real + (wrong + fake) / 2. With the unconditional head (published COCO
        Stage II) it is the mean of the two real terms plus the mean of the other three.
    """
    parts = {
        "d_loss_real": _over_heads(loss.real, real),
        "d_loss_wrong": _over_heads(loss.fake, wrong),
        "d_loss_fake": _over_heads(loss.fake, fake),
    }
    if real_alone is None:
        d_loss = parts["d_loss_real"] + (parts["d_loss_wrong"] + parts["d_loss_fake"]) / 2
        return {"d_loss": d_loss, **parts}
    real_alone, fake_alone = loss.real(real_alone), loss.fake(fake_alone)
    parts["d_loss_real"] = (parts["d_loss_real"] + real_alone) / 2
    d_loss = parts["d_loss_real"] + (parts["d_loss_fake"] + parts["d_loss_wrong"] + fake_alone) / 3
    parts["d_loss_fake"] = (parts["d_loss_fake"] + fake_alone) / 2
    return {"d_loss": d_loss, **parts}


def generator(
    loss: AdversarialLoss, fake: Logits, fake_alone: jax.Array | None = None
) -> jax.Array:
    """The generator's adversarial loss: logits as in `discriminator`; both heads are added."""
    g_loss = _over_heads(loss.generator, fake)
    return g_loss if fake_alone is None else g_loss + loss.generator(fake_alone)


# What a discriminator sees of images: `[b, s, s, 3]`, or maps `[b, h, w, c]` of a frozen network.
Seen = jax.Array | tuple[jax.Array, ...]
# (seen, condition `[b, t]`) → logits.
Score = Callable[[Seen, jax.Array], Logits]


def gradient_squares(score: Score, seen: Seen, condition: jax.Array) -> jax.Array:
    """‖∇D‖² of each real matching pair by what is seen and the condition together → `[b]`."""
    total = lambda seen, condition: _over_heads(jnp.sum, score(seen, condition))
    gradients = jax.tree.leaves(jax.grad(total, (0, 1))(seen, condition))
    wide = (g.astype(jnp.promote_types(g.dtype, jnp.float32)) for g in gradients)
    return sum(jnp.sum(jnp.square(g), range(1, g.ndim)) for g in wide)


def r1(score: Score, seen: Seen, condition: jax.Array) -> jax.Array:
    """Half the mean squared gradient at real pairs (R1; Mescheder et al. 2018, eq. 9).

    The gradient is by the image and the condition, because the discriminator scores pairs.
    """
    return 0.5 * jnp.mean(gradient_squares(score, seen, condition))


def matching_aware(score: Score, seen: Seen, condition: jax.Array) -> jax.Array:
    """2·E‖∇D‖⁶ at real matching pairs (matching-aware penalty; DF-GAN, Tao et al. 2022, sec. 3.3).

    It is the cube of the squared norm, because a square root has no finite gradient at 0.
    """
    return 2.0 * jnp.mean(gradient_squares(score, seen, condition) ** 3)


# (score, seen, condition) → scalar.
PENALTIES: dict[str, Callable[[Score, Seen, jax.Array], jax.Array]] = {
    "r1": r1,
    "matching_aware": matching_aware,
}


class Look(NamedTuple):
    """Images, and what the discriminator sees of them.

    Attributes:
        image: `[n, s, s, 3]` float32 in [-1, 1].
        seen: of the images.
    """

    image: jax.Array
    seen: Seen


class Drawing(NamedTuple):
    """What a term of the generator's objective may look at.

    Attributes:
        image: `[b, s, s, 3]` float32 in [-1, 1], as the stage draws it.
        mu: `[b, c]` float32, the conditioning augmentation's μ.
        log_sigma: `[b, c]` float32, its log σ.
        embedding: `[b, t]` of the sentences.
        earlier_image: `[b, s / 4, s / 4, 3]` of the stage before; None in the first stage.
        distance: (image, embedding) → scalar, how far images are from their sentences by an image
            tower; None without one.
        other_image: as `drawn_again(image)`, of the same sentences and other noise; None without
            the term "diversity".
        real_image: `[b, s, s, 3]` of the batch.
        likeness: `[b]` of the images to their sentences, by the probe; None without it.
        real_likeness: `[b]` of the real images to theirs.
        restored: reduced real images as the stage enlarges them; None without "restoration".
        original: the same real images.
    """

    image: jax.Array
    mu: jax.Array
    log_sigma: jax.Array
    embedding: jax.Array
    earlier_image: jax.Array | None = None
    distance: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    other_image: jax.Array | None = None
    real_image: jax.Array | None = None
    likeness: jax.Array | None = None
    real_likeness: jax.Array | None = None
    restored: Look | None = None
    original: Look | None = None


def kl(mu: jax.Array, log_sigma: jax.Array) -> jax.Array:
    """KL divergence of N(μ, σ²) from N(0, 1) (eq. 2); mu and log_sigma `[b, c]`.

    It is the mean over the batch *and* the dimensions, as in both published programs, so that their
    weight of 2.0 is the paper's λ = 2 / c of the sum.
    """
    mu, log_sigma = mu.astype(jnp.float32), log_sigma.astype(jnp.float32)
    return jnp.mean(-log_sigma + 0.5 * (jnp.exp(2 * log_sigma) + mu**2 - 1))


def matching(images: jax.Array, texts: jax.Array) -> jax.Array:
    """Mean of 1 - cosine between images and sentences in a joint embedding, `[b, t]` each.

    AttnGAN's generator learns from the same score (Xu et al., CVPR 2018, sec. 3.2, there within a
    softmax over the batch). Neither published StackGAN program has it.
    """
    return jnp.mean(1 - cosine(images, texts))


def cosine(one: jax.Array, other: jax.Array) -> jax.Array:
    """The cosine of each two vectors in the same row: `[b, t]` each → `[b]`."""
    lengths = jnp.linalg.norm(one, axis=-1) * jnp.linalg.norm(other, axis=-1)
    return jnp.sum(one * other, axis=-1) / jnp.maximum(lengths, 1e-6)


def shortfall(likeness: jax.Array, real_likeness: jax.Array) -> jax.Array:
    """How far pictures fall short of showing their sentences as well as real pictures do.

    It is 0 for a picture that shows its sentence as well as the real ones of the batch do on
    average: what a picture shows beyond that, only the score would see.

    Args:
        likeness: `[b]`, of drawn pictures, by `training.probe`.
        real_likeness: `[b]`, of real pictures with their own sentences.
    """
    return jnp.mean(jax.nn.relu(jnp.mean(real_likeness) - likeness))


def consistency(image: jax.Array, earlier_image: jax.Array) -> jax.Array:
    """Mean absolute difference of an image, averaged over squares, from the earlier stage's image.

    StackGAN++'s colour consistency (Zhang et al., 2017, sec. 3.3) has the same purpose and compares
    the colours' mean and covariance. The published StackGAN programs have no such term.

    Args:
        image: `[b, k·s, k·s, 3]`.
        earlier_image: `[b, s, s, 3]`.
    """
    return jnp.mean(jnp.abs(averages(image, earlier_image.shape[1]) - earlier_image))


SQUARES = 16  # a side, whose averages `diversity` compares


def diversity(image: jax.Array, other_image: jax.Array, real_image: jax.Array) -> jax.Array:
    """How much too alike two pictures of the same sentence are, beside two real pictures.

    It is 1 where other noise draws the same picture, and 0 where it changes the picture as much as
    two real pictures of the batch differ. Pictures differ by the mean absolute difference of their
    averages over `SQUARES` × `SQUARES` squares (or pixels, where there are fewer): noise in single
    pixels does not count. Mode seeking (Mao et al., CVPR 2019) and diversity-sensitive GANs (Yang
    et al., ICLR 2019) have such a term; the published StackGAN programs have none.

    Args:
        image: `[n, s, s, 3]`.
        other_image: `[n, s, s, 3]` of the same sentences in the same order, drawn from other noise.
        real_image: `[b, s, s, 3]` of different sentences.
    """
    squares = min(SQUARES, image.shape[1])
    one, other, real = (averages(x, squares) for x in (image, other_image, real_image))
    usual = jnp.mean(jnp.abs(real - jnp.roll(real, 1, axis=0)))
    return jax.nn.relu(1 - jnp.mean(jnp.abs(one - other)) / jnp.maximum(usual, 1e-3))


PIXELS = 4.0  # weight of the difference of pixels in `restoration`; that of each map is 1


def restoration(restored: Look, original: Look) -> jax.Array:
    """How far real images, reduced and enlarged again by a later stage, are from what they were.

    It is the mean absolute difference of all pixels, times `PIXELS`, and of every map that the
    discriminator sees. Networks for super-resolution are trained so (Johnson et al., ECCV 2016;
    Ledig et al., CVPR 2017); the published StackGAN programs have no such term.
    """
    distance = lambda one, other: jnp.mean(jnp.abs(one - other).astype(jnp.float32))
    maps = jax.tree.map(distance, restored.seen, original.seen)
    return PIXELS * distance(restored.image, original.image) + sum(jax.tree.leaves(maps))


def spectrum(image: jax.Array, real_image: jax.Array) -> jax.Array:
    """How far the spectrum of drawn pictures is from that of the batch's real ones.

    It is the mean squared difference of log powers, over all frequencies of all channels, where a
    power is the mean over the batch. A grid is a few frequencies of many times the real power.
    Durall et al. (CVPR 2020) add such a term to a generator's loss, with powers averaged over
    directions; the published StackGAN programs have none.

    Args:
        image: `[b, s, s, 3]`.
        real_image: `[b, s, s, 3]`.
    """

    def log_powers(x: jax.Array) -> jax.Array:
        waves = jnp.fft.rfft2(x.astype(jnp.float32), axes=(1, 2))
        powers = jnp.mean(jnp.square(waves.real) + jnp.square(waves.imag), axis=0)
        return jnp.log(powers + 1e-3)

    return jnp.mean(jnp.square(log_powers(image) - log_powers(real_image)))


def drawn_again(rows: jax.Array) -> jax.Array:
    """The rows of a batch that are drawn a second time: `[b, …]` → `[⌈b / 2⌉, …]`.

    Half of the batch costs half as much and gives the same expected gradient.
    """
    return rows[::2]


def averages(image: jax.Array, squares: int) -> jax.Array:
    """Means over squares of equal size: `[b, s, s, c]` → `[b, squares, squares, c]`."""
    b, s, _, c = image.shape
    factor = s // squares
    return image.reshape(b, squares, factor, squares, factor, c).mean(axis=(2, 4))


# The generator's objective is its adversarial loss and the weighted sum of these; the weight of a
# term is `config.training.<name>_weight`.
TERMS: dict[str, Callable[[Drawing], jax.Array]] = {
    "kl": lambda drawing: kl(drawing.mu, drawing.log_sigma),
    "matching": lambda drawing: drawing.distance(drawing.image, drawing.embedding),
    "consistency": lambda drawing: consistency(drawing.image, drawing.earlier_image),
    "diversity": lambda drawing: diversity(
        drawn_again(drawing.image), drawing.other_image, drawing.real_image
    ),
    "probe": lambda drawing: shortfall(drawing.likeness, drawing.real_likeness),
    "spectrum": lambda drawing: spectrum(drawing.image, drawing.real_image),
    "restoration": lambda drawing: restoration(drawing.restored, drawing.original),
}


def structured_joint_embedding(
    queries: jax.Array, targets: jax.Array, labels: jax.Array
) -> jax.Array:
    """Structured joint embedding loss of one direction, margin 1 (Reed et al., CVPR 2016, sec. 3).

    The score of each query with its own target, the one in the same row, should exceed its score
    with every target of another class by 1. The hinges are averaged over all b·b pairs, as in the
    published program, whose batches hold b different classes. Training adds both directions.

    Args:
        queries: `[b, t]`.
        targets: `[b, t]`.
        labels: `[b]`, the class of each row.
    """
    scores = queries @ targets.T
    own = jnp.diagonal(scores)[:, None]
    different = labels[:, None] != labels[None]
    return jnp.mean(jnp.maximum(0.0, scores - own + 1.0) * different)

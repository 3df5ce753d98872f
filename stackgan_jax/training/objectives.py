"""Losses as pure functions of logits and statistics (StackGAN, sec. 3)."""

import jax.numpy as jnp
import optax


def cross_entropy(logits, target):
    """Mean binary cross-entropy of logits [b] with one target for all, 0 or 1 → scalar."""
    logits = logits.astype(jnp.float32)
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, target)))


def discriminator(real, wrong, fake, real_alone=None, fake_alone=None):
    """The matching-aware discriminator's loss (sec. 3.4, after Reed et al. 2016, algorithm 1).

    `real`: logits of real images with their text; `wrong`: of real images with another's; `fake`:
    of generated images with their text. `real_alone`, `fake_alone`: the unconditional head's.
    → d_loss and its parts d_loss_real, d_loss_wrong, d_loss_fake, as the published programs log
    them: real + (wrong + fake) / 2; with the unconditional head (published COCO Stage II) the
    means of the real terms and of the other three.
    """
    parts = {
        "d_loss_real": cross_entropy(real, 1.0),
        "d_loss_wrong": cross_entropy(wrong, 0.0),
        "d_loss_fake": cross_entropy(fake, 0.0),
    }
    if real_alone is None:
        loss = parts["d_loss_real"] + (parts["d_loss_wrong"] + parts["d_loss_fake"]) / 2
        return {"d_loss": loss, **parts}
    real_alone, fake_alone = cross_entropy(real_alone, 1.0), cross_entropy(fake_alone, 0.0)
    parts["d_loss_real"] = (parts["d_loss_real"] + real_alone) / 2
    loss = parts["d_loss_real"] + (parts["d_loss_fake"] + parts["d_loss_wrong"] + fake_alone) / 3
    parts["d_loss_fake"] = (parts["d_loss_fake"] + fake_alone) / 2
    return {"d_loss": loss, **parts}


def generator(fake, fake_alone=None):
    """The generator's adversarial loss, non-saturating (Goodfellow et al. 2014, sec. 3) → scalar.

    Both published programs use it where the paper writes the saturating form (eq. 4); the
    unconditional head's term is added.
    """
    loss = cross_entropy(fake, 1.0)
    return loss if fake_alone is None else loss + cross_entropy(fake_alone, 1.0)


def kl(mu, log_sigma):
    """KL divergence of N(μ, σ²) from N(0, 1) (eq. 2), mu and log_sigma [b, c] → scalar.

    The mean over batch *and* dimensions, as both published programs take it, so that their weight
    of 2.0 is the paper's λ = 2 / c of the sum.
    """
    mu, log_sigma = mu.astype(jnp.float32), log_sigma.astype(jnp.float32)
    return jnp.mean(-log_sigma + 0.5 * (jnp.exp(2 * log_sigma) + mu**2 - 1))


def matching(images, texts):
    """How far pictures are from their sentences in a joint embedding, [b, t] each → scalar.

    The mean of 1 - cosine, the score by which AttnGAN's generator is told of a picture that doesn't
    show its sentence (Xu et al., CVPR 2018, sec. 3.2, there within a softmax over the batch).
    Neither published StackGAN program has it.
    """
    lengths = jnp.linalg.norm(images, axis=-1) * jnp.linalg.norm(texts, axis=-1)
    return jnp.mean(1 - jnp.sum(images * texts, axis=-1) / jnp.maximum(lengths, 1e-6))


def consistency(image, stage1_image):
    """How far Stage II's picture strays from Stage I's: [b, 4s, 4s, 3], [b, s, s, 3] → scalar.

    The mean absolute difference once the large picture is averaged over squares. In the spirit of
    StackGAN++'s colour consistency (Zhang et al., 2017, sec. 3.3), which compares the colours' mean
    and covariance; the published StackGAN programs have no such term.
    """
    b, s, _, c = stage1_image.shape
    factor = image.shape[1] // s
    small = image.reshape(b, s, factor, s, factor, c).mean(axis=(2, 4))
    return jnp.mean(jnp.abs(small - stage1_image))


def structured_joint_embedding(queries, targets, labels):
    """Structured joint embedding loss of one direction, margin 1 (Reed et al., CVPR 2016, sec. 3).

    `queries`, `targets`: [b, t]; `labels`: [b], the class of each row. Each query's score with its
    own target, the one in the same row, shall exceed its score with every target of another class
    by 1; the hinges are averaged over all b·b pairs, as the published program does, whose batches
    are of b different classes. Training adds both directions. → scalar.
    """
    scores = queries @ targets.T
    own = jnp.diagonal(scores)[:, None]
    different = labels[:, None] != labels[None]
    return jnp.mean(jnp.maximum(0.0, scores - own + 1.0) * different)

"""The adversarial game of either stage: state, a step of training, drawing (StackGAN, sec. 3.5)."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from stackgan_jax.data import augment
from stackgan_jax.models.layers import DECAY, KEPT
from stackgan_jax.training import objectives

OTHER_CLASS_IMAGE = "other_class_image"
SHIFTED_TEXT = "shifted_text"
MISMATCH = "mismatch"  # scope of the operations that pair images with wrong texts


@struct.dataclass
class Net:
    """One network under training."""

    params: Any
    batch_stats: Any
    opt_state: Any


@struct.dataclass
class GanState:
    """Everything that a step changes.

    `ema` and `prior` are {"params", "batch_stats"}: the generator's exponential moving average,
    and the frozen Stage-I generator while Stage II trains (None while Stage I does).
    """

    step: jax.Array
    generator: Net
    discriminator: Net
    ema: Any
    prior: Any = None


class Noise(NamedTuple):
    """What a generator draws from: z [b, nz], and epsilon [b, c] of each stage's augmentation."""

    z: jax.Array
    epsilon: jax.Array
    stage2_epsilon: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class Gan:
    """A stage's networks and how they are trained.

    `prior`: the Stage-I generator when this is Stage II, else None. `mismatch`: the wrong pair is
    with "other_class_image" a text and an image of another class from the batch, or with
    "shifted_text" the image with its neighbour's text. `truncated_epsilon`: ε is cut at two
    deviations. `epsilon_scale`: what ε is multiplied by; 0 switches the augmentation off.
    `halve_every`: steps between halvings of the learning rates, None for never. `flip`: whether
    real images are mirrored at random, as published. `rematerialise`: keep only what convolutions
    and statistics gave and compute activations again for the gradients: less memory, more time.
    `matching_weight`: of the generator's distance from its sentences by `matcher`, (image,
    embedding, key) → scalar, which isn't published and off by default. `consistency_weight`: of
    Stage II's distance from Stage I's picture (`objectives.consistency`), neither.
    """

    generator: nn.Module
    discriminator: nn.Module
    prior: nn.Module | None = None
    z_features: int = 100
    kl_weight: float = 2.0
    mismatch: str = OTHER_CLASS_IMAGE
    truncated_epsilon: bool = True
    epsilon_scale: float = 1.0
    generator_learning_rate: float = 2e-4
    discriminator_learning_rate: float = 2e-4
    halve_every: int | None = None
    ema_decay: float = 0.999
    flip: bool = True
    rematerialise: bool = False
    matching_weight: float = 0.0
    consistency_weight: float = 0.0
    matcher: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None

    def __post_init__(self):
        if self.mismatch not in (OTHER_CLASS_IMAGE, SHIFTED_TEXT):
            raise ValueError(
                f"Unknown mismatch rule {self.mismatch!r}; choose {OTHER_CLASS_IMAGE} or "
                f"{SHIFTED_TEXT}."
            )
        if self.consistency_weight and self.prior is None:
            raise ValueError("consistency_weight is Stage II's: Stage I has no earlier picture")
        drawn = self.generator.size if self.prior is None else 4 * self.prior.size
        if drawn != self.discriminator.size:
            raise ValueError(
                f"The generator draws {drawn} pixels, the discriminator judges "
                f"{self.discriminator.size}; give it the generator's size."
            )

    def init(self, key, embedding_features, prior=None):
        """A fresh state. `prior`: a trained Stage I's {"params", "batch_stats"} for Stage II.

        Stage II without one gets a random Stage I: right for shapes and timing only.
        """
        g_key, d_key, prior_key = jax.random.split(key, 3)
        embedding = jnp.zeros((2, embedding_features))
        noise = jax.tree.map(jnp.zeros_like, self.noise(g_key, 2))
        if self.prior is None:
            g_variables = self.generator.init(g_key, embedding, noise.z, noise.epsilon, True)
        else:
            if prior is None:
                prior = self.prior.init(prior_key, embedding, noise.z, noise.epsilon, True)
            small = jnp.zeros((2, self.prior.size, self.prior.size, 3))
            g_variables = self.generator.init(g_key, small, embedding, noise.stage2_epsilon, True)
        image = jnp.zeros((2, self.discriminator.size, self.discriminator.size, 3))
        condition = embedding if self.discriminator.project else noise.epsilon
        d_variables = self.discriminator.init(d_key, image, condition, True)
        return self.start(g_variables, d_variables, prior)

    def start(self, generator, discriminator, prior=None):
        """The state of step 0 with given weights: each network's {"params", "batch_stats"}."""
        return GanState(
            step=jnp.zeros((), jnp.int32),
            generator=self._net(generator, self.generator_learning_rate),
            discriminator=self._net(discriminator, self.discriminator_learning_rate),
            ema=jax.tree.map(jnp.copy, _variables(generator)),
            prior=None if prior is None else _variables(prior),
        )

    def noise(self, key, batch):
        """Draws the noise of a batch."""
        z_key, epsilon_key, stage2_key = jax.random.split(key, 3)

        def epsilon(key, module):
            shape = (batch, module.condition)
            if self.truncated_epsilon:
                return self.epsilon_scale * jax.random.truncated_normal(key, -2.0, 2.0, shape)
            return self.epsilon_scale * jax.random.normal(key, shape)

        z = jax.random.normal(z_key, (batch, self.z_features))
        if self.prior is None:
            return Noise(z, epsilon(epsilon_key, self.generator))
        return Noise(z, epsilon(epsilon_key, self.prior), epsilon(stage2_key, self.generator))

    def step(self, state, batch, key):
        """One training step on {"image": uint8 [b, L, L, 3], "embedding": [b, t], "partner": [b]}.

        `key` is the run's; the step's randomness is a function of it and of `state.step`.
        `partner`, of the batch's wrong pairs, isn't needed with the rule "shifted_text".
        → the next state and `update`'s metrics.
        """
        keys = jax.random.split(jax.random.fold_in(key, state.step), 3)
        image = augment.augment(keys[0], batch["image"], self.discriminator.size, self.flip)
        partner = batch["partner"] if self.mismatch == OTHER_CLASS_IMAGE else None
        noise = self.noise(keys[1], image.shape[0])
        return self.update(state, image, batch["embedding"], noise, partner, matching_key=keys[2])

    def update(
        self, state, image, embedding, noise, partner=None, wrong_image=None, matching_key=None
    ):
        """The step without its randomness: D's Adam step, then G's, on one generated batch.

        image: [b, s, s, 3] in [-1, 1]; embedding: [b, t]; noise: Noise. The wrong pairs have
        `wrong_image` [b, s, s, 3], or the batch's own image i with the text of `partner[i]`, which
        needs no encoding. With the rule "shifted_text" neither is given. `matching_key` is for
        the matcher, where there is one. → the next state and float32 scalars: d_loss and its
        parts, g_loss (adversarial), kl, matching and consistency (unweighted, the latter two
        where they have a weight), g_gradient_norm, d_gradient_norm, learning_rate.
        """
        generator, discriminator, prior = state.generator, state.discriminator, state.prior
        inputs, prior = self._inputs(prior, embedding, noise, train=True)

        def draw(params):
            return _apply(self.generator, params, generator.batch_stats, *inputs, True)

        outputs, pull_back, g_stats = jax.vjp(self._lean(draw), generator.params, has_aux=True)
        fake, mu, log_sigma = outputs
        condition = embedding if self.discriminator.project else mu

        d_loss = jax.value_and_grad(self._lean(self._discriminator_loss), has_aux=True)
        (_, (metrics, d_stats)), d_gradient = d_loss(
            discriminator.params,
            discriminator.batch_stats,
            image,
            fake,
            condition,
            partner,
            wrong_image,
        )
        discriminator = self._descend(
            discriminator, d_gradient, d_stats, self.discriminator_learning_rate
        )

        g_loss = jax.value_and_grad(self._lean(self._generator_loss), has_aux=True)
        (g_loss, d_stats), d_fake = g_loss(fake, discriminator, condition)
        if self.matching_weight:
            matching = jax.value_and_grad(self.matcher)
            metrics["matching"], d_matching = matching(fake, embedding, matching_key)
            d_fake += self.matching_weight * d_matching.astype(d_fake.dtype)
        if self.consistency_weight:
            consistency = jax.value_and_grad(objectives.consistency)
            metrics["consistency"], d_consistency = consistency(fake, inputs[0])
            d_fake += self.consistency_weight * d_consistency.astype(d_fake.dtype)
        kl, (d_mu, d_log_sigma) = jax.value_and_grad(objectives.kl, (0, 1))(mu, log_sigma)
        (g_gradient,) = pull_back((d_fake, self.kl_weight * d_mu, self.kl_weight * d_log_sigma))
        generator = self._descend(generator, g_gradient, g_stats, self.generator_learning_rate)

        metrics |= {
            "g_loss": g_loss,
            "kl": kl,
            "g_gradient_norm": _norm(g_gradient),
            "d_gradient_norm": _norm(d_gradient),
            "learning_rate": self._schedule(self.generator_learning_rate)(state.step),
        }
        state = GanState(
            step=state.step + 1,
            generator=generator,
            discriminator=discriminator.replace(batch_stats=d_stats),
            ema=self._average(state.ema, generator, state.step),
            prior=prior,
        )
        return state, metrics

    def generate(self, state, embedding, z, epsilon, stage2_epsilon=None, use_ema=True):
        """Draws images by the running statistics: → {"stage1": [b, s, s, 3], "stage2": …}.

        float32 in [-1, 1]; "stage2" only from a Stage II, which takes `stage2_epsilon` as well.
        """
        noise = Noise(z, epsilon, stage2_epsilon)
        inputs, _ = self._inputs(state.prior, embedding, noise, train=False)
        variables = state.ema if use_ema else _variables(state.generator)
        image, _, _ = self.generator.apply(variables, *inputs, False)
        if self.prior is None:
            return {"stage1": image}
        return {"stage1": inputs[0], "stage2": image}

    def _inputs(self, prior, embedding, noise, train):
        """The generator's inputs, and the prior with its running statistics moved on.

        The frozen Stage I still normalises by the batch while Stage II trains, and its running
        statistics follow, as in both published programs.
        """
        if self.prior is None:
            return (embedding, noise.z, noise.epsilon), None
        arguments = (embedding, noise.z, noise.epsilon, train)
        if train:
            (small, _, _), stats = _apply(
                self.prior, prior["params"], prior["batch_stats"], *arguments
            )
            prior = {"params": prior["params"], "batch_stats": stats}
        else:
            small, _, _ = self.prior.apply(prior, *arguments)
        return (jax.lax.stop_gradient(small), embedding, noise.stage2_epsilon), prior

    def _discriminator_loss(self, params, stats, image, fake, condition, partner, wrong_image):
        """Real, wrong and fake, each normalised by its own batch, in the originals' order."""
        apply = _Threaded(self.discriminator, params, stats)
        real = apply(image, method="encode")
        wrong, wrong_condition = self._wrong(apply, real, condition, partner, wrong_image)
        fake = apply(fake, method="encode")
        logits = [
            apply(real, condition, method="judge"),
            apply(wrong, wrong_condition, method="judge"),
            apply(fake, condition, method="judge"),
        ]
        if self.discriminator.unconditional_head:
            logits += [self._judge_image(params, real), self._judge_image(params, fake)]
        terms = objectives.discriminator(*logits)
        return terms["d_loss"], (terms, apply.stats)

    def _wrong(self, apply, real, condition, partner, wrong_image):
        """The wrong pair's features and condition."""
        if self.mismatch == SHIFTED_TEXT:
            with jax.named_scope(MISMATCH):
                return real[:-1], condition[1:]
        if wrong_image is not None:
            return apply(wrong_image, method="encode"), condition
        # With partners that are a permutation these are the pairs of each text with its partner's
        # image, but it is texts, which are small, that move between devices. The images' statistics
        # are the batch's, and the running ones take the same step towards them once more.
        apply.repeat()
        with jax.named_scope(MISMATCH):
            return real, condition[partner]

    def _generator_loss(self, fake, discriminator, condition):
        apply = _Threaded(self.discriminator, discriminator.params, discriminator.batch_stats)
        features = apply(fake, method="encode")
        logits = [apply(features, condition, method="judge")]
        if self.discriminator.unconditional_head:
            logits.append(self._judge_image(discriminator.params, features))
        return objectives.generator(*logits), apply.stats

    def _lean(self, function):
        """`function`, of which with `rematerialise` only the costly results are kept."""
        if not self.rematerialise:
            return function
        return jax.checkpoint(function, policy=jax.checkpoint_policies.save_only_these_names(KEPT))

    def _judge_image(self, params, features):
        return self.discriminator.apply({"params": params}, features, method="judge_image")

    def _schedule(self, rate):
        if self.halve_every is None:
            return optax.constant_schedule(rate)
        return lambda step: rate * 0.5 ** (step // self.halve_every)

    def _optimiser(self, rate):
        return optax.adam(self._schedule(rate), b1=0.5, b2=0.999, eps=1e-8)

    def _net(self, variables, rate):
        params = variables["params"]
        return Net(params, variables["batch_stats"], self._optimiser(rate).init(params))

    def _descend(self, net, gradient, stats, rate):
        updates, opt_state = self._optimiser(rate).update(gradient, net.opt_state, net.params)
        return Net(optax.apply_updates(net.params, updates), stats, opt_state)

    def _average(self, ema, generator, step):
        # The first steps average over less, or the random start would linger in the average.
        decay = jnp.minimum(self.ema_decay, (1 + step) / (10 + step))
        return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, ema, _variables(generator))


class _Threaded:
    """Applies a network in training mode, each call going on from the last one's statistics."""

    def __init__(self, module, params, stats):
        self.module, self.params, self.stats = module, params, stats
        self.previous = stats

    def __call__(self, *arguments, method):
        self.previous = self.stats
        output, self.stats = _apply(
            self.module, self.params, self.stats, *arguments, True, method=method
        )
        return output

    def repeat(self):
        """Moves the running statistics as the last call did, towards the same batch again."""
        self.stats = jax.tree.map(lambda r, p: r + DECAY * (r - p), self.stats, self.previous)


def _norm(tree):
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def _apply(module, params, stats, *arguments, method=None):
    """Applies a network in training mode → its output and the new running statistics."""
    variables = {"params": params, "batch_stats": stats}
    output, updates = module.apply(variables, *arguments, mutable=["batch_stats"], method=method)
    return output, updates["batch_stats"]


def _variables(source):
    """The variables that a network is applied with, from a Net or a dictionary."""
    if isinstance(source, Net):
        return {"params": source.params, "batch_stats": source.batch_stats}
    return {"params": source["params"], "batch_stats": source["batch_stats"]}

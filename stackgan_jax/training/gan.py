"""One stage's networks and one step of their training (StackGAN, sec. 3.3 to 3.5).

`Gan.update` is the step, to be read from top to bottom: draw, the discriminator's objective and its
Adam step, the generator's objective and its Adam step, averages.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.core import FrozenDict

from stackgan_jax.data import augment
from stackgan_jax.models.batch_norm import KEPT
from stackgan_jax.training import objectives
from stackgan_jax.training.augmentations import AUGMENTATIONS, BLUR, blurred
from stackgan_jax.training.cascade import Cascade
from stackgan_jax.training.optimisation import PUBLISHED, Optimisation
from stackgan_jax.training.state import (
    Batch,
    GanState,
    Net,
    Noise,
    Threaded,
    apply_network,
    variables_of,
)

OTHER_CLASS_IMAGE = "other_class_image"
SHIFTED_TEXT = "shifted_text"
MISMATCHES = (OTHER_CLASS_IMAGE, SHIFTED_TEXT)
SCALARS = (  # That every step returns; a penalty and the generator's terms come to them.
    *("d_loss", "d_loss_real", "d_loss_wrong", "d_loss_fake", "g_loss"),
    *("g_gradient_norm", "d_gradient_norm", "learning_rate"),
)
MISMATCH = "mismatch"  # Name scope of the operations that pair images with wrong texts.


@dataclasses.dataclass(frozen=True)
class Gan:
    """A stage's networks and how they are trained.

    Attributes:
        generator: draws from embedding, z and epsilon in Stage I; later from the earlier image,
            embedding and epsilon.
        discriminator: scores images of the generator's size.
        priors: the frozen generators of the earlier stages, in order.
        z_features: numbers in z.
        adversarial: name of `objectives.ADVERSARIAL_LOSSES`.
        penalty: name of `objectives.PENALTIES`, of the discriminator's gradient at real pairs; ""
            for none.
        penalty_weight: of the penalty.
        weights: of the terms of the generator's objective, by their names in `objectives.TERMS`.
        mismatch: the wrong pair is, with "other_class_image", a text and an image of another class
            from the batch, or, with "shifted_text", the image with its neighbour's text.
        truncated_epsilon: ε is cut at two deviations.
        epsilon_scale: factor of ε; 0 switches the conditioning augmentation off.
        optimisation: Adam's settings, and the generator's average.
        augmentation: name in `AUGMENTATIONS` of what disturbs the images, real and drawn, that the
            discriminator sees; "" for nothing.
        cutout: side of the square that it cuts out, as a share of the image's; DiffAugment's is
            0.5.
        blur_images: number of images, real ones, over which a blur of what the discriminator sees
            fades away (StyleGAN-XL; Sauer et al. 2022, sec. 3.1); 0 for none.
        flip: whether real images are mirrored at random.
        rematerialise: keep only the results of convolutions and statistics, and compute activations
            again for the gradients. This takes less memory and more time.
        matcher: (image, embedding, key) → scalar, for the term "matching".
        probe: (what the discriminator sees of images, embedding) → `[b]`, for the term "probe".

    Raises:
        ValueError: a name is unknown, a term lacks what it needs, or the sizes do not fit.
    """

    generator: nn.Module
    discriminator: nn.Module
    priors: tuple[nn.Module, ...] = ()
    z_features: int = 100
    adversarial: str = "published"
    penalty: str = ""
    penalty_weight: float = 1.0
    weights: Mapping[str, float] = FrozenDict({"kl": 2.0})
    mismatch: str = OTHER_CLASS_IMAGE
    truncated_epsilon: bool = True
    epsilon_scale: float = 1.0
    optimisation: Optimisation = PUBLISHED
    augmentation: str = ""
    cutout: float = 0.5
    blur_images: int = 0
    flip: bool = True
    rematerialise: bool = False
    matcher: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None
    probe: Callable[[objectives.Seen, jax.Array], jax.Array] | None = None

    def __post_init__(self) -> None:
        _require("mismatch rule", self.mismatch, MISMATCHES)
        _require("adversarial loss", self.adversarial, objectives.ADVERSARIAL_LOSSES)
        _require("penalty", self.penalty, ("", *objectives.PENALTIES))
        _require("augmentation", self.augmentation, ("", *AUGMENTATIONS))
        for name in self.weights:
            _require("term", name, objectives.TERMS)
        if self.weights.get("consistency") and not self.priors:
            raise ValueError("consistency_weight needs an earlier stage's image; Stage I has none")
        if self.weights.get("restoration") and not self.priors:
            raise ValueError(
                "restoration_weight is for stages that enlarge an earlier image, which Stage I has "
                "not; set --config.training.restoration_weight=0"
            )
        if self.weights.get("probe") and not hasattr(self.discriminator, "pretrained"):
            raise ValueError(
                "probe_weight needs a pretrained network in the discriminator; set "
                "--config.training.probe_weight=0, or take the recipe modern."
            )
        if self.size != self.discriminator.size:
            raise ValueError(
                f"The generator draws {self.size} pixels, the discriminator takes "
                f"{self.discriminator.size}; give it the generator's size."
            )

    @property
    def cascade(self) -> Cascade:
        """Every stage's generator in order, the one under training last."""
        stages = (*self.priors, self.generator)
        return Cascade(stages, self.z_features, self.truncated_epsilon, self.epsilon_scale)

    @property
    def size(self) -> int:
        """Side of the images, in pixels."""
        return self.cascade.sizes[-1]

    # Beginnings.

    def init(
        self, key: jax.Array, embedding_features: int, priors: tuple[Any, ...] | None = None
    ) -> GanState:
        """Makes a fresh state.

        Args:
            key: of the first weights.
            embedding_features: width of the sentence embedding.
            priors: {"params", "batch_stats"} of each earlier stage. Without them the earlier stages
                are random, which is right for shapes and timing only.
        """
        g_key, d_key, prior_key = jax.random.split(key, 3)
        cascade, last = self.cascade, len(self.priors)
        if priors is None:
            # The first of the earlier stages gets the key itself, as in runs made before.
            key_of = lambda i: jax.random.fold_in(prior_key, i) if i else prior_key
            priors = tuple(cascade.init(i, key_of(i), embedding_features) for i in range(last))
        image = jnp.zeros((2, self.size, self.size, 3))
        seen = jax.eval_shape(self.see, image, d_key)  # The frozen part is not computed for it.
        seen = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), seen)
        project, width = self.discriminator.project, self.generator.condition
        condition = jnp.zeros((2, embedding_features if project else width))
        return self.start(
            cascade.init(last, g_key, embedding_features),
            self.discriminator.init(d_key, seen, condition, True),
            priors,
        )

    def start(self, generator: Any, discriminator: Any, priors: tuple[Any, ...] = ()) -> GanState:
        """The state of step 0 with given weights: {"params", "batch_stats"} of each network."""
        optimisation = self.optimisation
        return GanState(
            step=jnp.zeros((), jnp.int32),
            generator=optimisation.begin(generator, optimisation.generator_learning_rate),
            discriminator=optimisation.begin(
                discriminator, optimisation.discriminator_learning_rate
            ),
            ema=jax.tree.map(jnp.copy, variables_of(generator)),
            priors=tuple(map(variables_of, priors)),
        )

    # Training.

    def step(
        self, state: GanState, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[GanState, dict[str, jax.Array]]:
        """Does one training step.

        Args:
            state: from `init`, `start` or the step before.
            batch: "image" uint8 `[b, L, L, 3]` at load size, "embedding" `[b, t]`, and "partner"
                `[b]`, whose text is the wrong one (not needed by the rule "shifted_text").
            key: the run's; the step's randomness is a function of it and of `state.step`.

        Returns:
            The next state, and the metrics of `update`.
        """
        keys = jax.random.split(jax.random.fold_in(key, state.step), 3)
        image = augment.augment(keys[0], batch["image"], self.size, self.flip)
        partner = batch["partner"] if self.mismatch == OTHER_CLASS_IMAGE else None
        noise = self.cascade.noise(keys[1], image.shape[0])
        return self.update(state, Batch(image, batch["embedding"], partner), noise, keys[2])

    def update(
        self, state: GanState, batch: Batch, noise: Noise, key: jax.Array | None = None
    ) -> tuple[GanState, dict[str, jax.Array]]:
        """Does a step without its augmentation and noise.

        Args:
            state: the state before the step.
            batch: real images, texts and wrong pairs.
            noise: of the generated images.
            key: of the matcher, the augmentation, the discriminator's cut-outs and the other noise
                of the term "diversity"; may be None without them.

        Returns:
            The next state, and float32 scalars: d_loss and its parts, penalty (if there is one),
            g_loss (adversarial), kl and the other terms, all unweighted, g_gradient_norm,
            d_gradient_norm, learning_rate.
        """
        # Draw once: both networks learn from the same generated images, seen in the same way.
        keys = [key if key is None else jax.random.fold_in(key, i) for i in range(2)]
        inputs, priors = self.cascade.inputs(state.priors, batch.embedding, noise)
        generate = functools.partial(
            apply_network, self.generator, stats=state.generator.batch_stats
        )
        see = functools.partial(self.see, blur=self._blur(state.step, len(batch.image)))

        def draw(params: Any) -> tuple[Drawn, Any]:
            output, stats = generate(params, *inputs)
            drawn = Drawn(*output, seen=see(output[0], keys[0]))
            if "diversity" in self.weights:
                embedding = objectives.drawn_again(batch.embedding)
                other = self._with_other_noise(state, embedding, jax.random.fold_in(key, 2))
                (image, _, _), _ = generate(params, *other)
                drawn = drawn._replace(other_image=image)
            if "restoration" in self.weights:
                image = objectives.drawn_again(batch.image)
                image = objectives.averages(image, inputs[0].shape[1])
                (image, _, _), _ = generate(params, image, *map(objectives.drawn_again, inputs[1:]))
                drawn = drawn._replace(restored=self._look(image, key))
            return drawn, stats

        drawn, pull_back, g_stats = jax.vjp(self._lean(draw), state.generator.params, has_aux=True)
        condition = batch.embedding if self.discriminator.project else drawn.mu
        real = see(batch.image, keys[1])

        # The discriminator's objective and its Adam step.
        objective = jax.grad(self._lean(self._discriminator_objective), has_aux=True)
        d_gradient, (d_metrics, d_stats) = objective(
            state.discriminator.params,
            state.discriminator.batch_stats,
            batch,
            real,
            drawn.seen,
            condition,
        )
        optimisation = self.optimisation
        discriminator = optimisation.descend(
            state.discriminator, d_gradient, d_stats, optimisation.discriminator_learning_rate
        )

        # The generator's objective, pulled back through the same draw, and its Adam step.
        objective = jax.grad(self._lean(self._generator_objective), has_aux=True)
        cotangents, (g_metrics, d_stats) = objective(
            drawn, discriminator, batch, inputs[0], condition, real, key
        )
        (g_gradient,) = pull_back(cotangents)
        generator = optimisation.descend(
            state.generator, g_gradient, g_stats, optimisation.generator_learning_rate
        )

        # Averages.
        metrics = d_metrics | g_metrics
        metrics["g_gradient_norm"] = optax.tree.norm(g_gradient)
        metrics["d_gradient_norm"] = optax.tree.norm(d_gradient)
        schedule = optimisation.schedule(optimisation.generator_learning_rate)
        metrics["learning_rate"] = schedule(state.step)
        next_state = GanState(
            step=state.step + 1,
            generator=generator,
            discriminator=discriminator.replace(batch_stats=d_stats),
            ema=optimisation.average(state.ema, generator, state.step, len(batch.image)),
            priors=priors,
        )
        return next_state, metrics

    def _with_other_noise(
        self, state: GanState, embedding: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, ...]:
        """The generator's inputs for the same sentences and noise of its own."""
        noise = self.cascade.noise(key, len(embedding))
        inputs, _ = self.cascade.inputs(state.priors, embedding, noise)
        return inputs

    def _blur(self, step: jax.Array, batch: int) -> jax.Array | None:
        """The deviation in pixels of a step's blur of what the discriminator sees; None without."""
        if not self.blur_images:
            return None
        left = 1 - step.astype(jnp.float32) * batch / self.blur_images
        return self.size * BLUR * jnp.maximum(left, 0)

    def _look(self, image: jax.Array, key: jax.Array | None) -> objectives.Look:
        """Undisturbed images for "restoration"; one key gives all of them the same cut-outs."""
        key = key if key is None else jax.random.fold_in(key, 3)
        return objectives.Look(image, self.discriminator.apply({}, image, key, method="see"))

    def see(
        self, image: jax.Array, key: jax.Array | None, blur: jax.Array | None = None
    ) -> objectives.Seen:
        """What the discriminator is given of images: disturbed, then through its frozen part.

        Args:
            image: `[b, s, s, 3]` in [-1, 1].
            key: of the augmentation and of the discriminator's cut-outs; may be None without them.
            blur: its deviation in pixels; None for none.
        """
        if blur is not None:
            image = blurred(image, blur)
        if self.augmentation:
            disturb = AUGMENTATIONS[self.augmentation]
            image = disturb(jax.random.fold_in(key, 0), image, self.cutout)
        return self.discriminator.apply({}, image, key, method="see")

    def _discriminator_objective(
        self,
        params: Any,
        stats: Any,
        batch: Batch,
        real: objectives.Seen,
        fake: objectives.Seen,
        condition: jax.Array,
    ) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
        """The adversarial loss and the penalty; → scalar, (metrics, new running statistics).

        Real, wrong and fake pairs are each normalised by their own batch, in the order of the
        published programs.
        """
        apply = Threaded(self.discriminator, params, stats)
        seen, real = real, apply(real, method="encode")
        logits, fake = self._pair_logits(apply, real, fake, condition, batch)
        if self.discriminator.unconditional_head:
            logits += [self._image_logits(params, real), self._image_logits(params, fake)]
        loss = objectives.ADVERSARIAL_LOSSES[self.adversarial]
        metrics = objectives.discriminator(loss, *logits)
        objective = metrics["d_loss"]
        if self.penalty:
            penalty = objectives.PENALTIES[self.penalty]
            metrics["penalty"] = penalty(self._score(params, stats), seen, condition)
            objective += self.penalty_weight * metrics["penalty"]
        return objective, (metrics, apply.stats)

    def _pair_logits(
        self,
        apply: Threaded,
        real: Any,
        fake: objectives.Seen,
        condition: jax.Array,
        batch: Batch,
    ) -> tuple[list[objectives.Logits], Any]:
        """The logits of real, wrong and generated pairs, and the generated images' features.

        The real images come as features already.
        """
        wrong, wrong_condition = self._wrong(apply, real, condition, batch)
        fake = apply(fake, method="encode")
        logits = [
            apply(real, condition, method="logits"),
            apply(wrong, wrong_condition, method="logits"),
            apply(fake, condition, method="logits"),
        ]
        return logits, fake

    def _wrong(
        self, apply: "Threaded", real: Any, condition: jax.Array, batch: Batch
    ) -> tuple[Any, jax.Array]:
        """The wrong pairs' features and condition."""
        if self.mismatch == SHIFTED_TEXT:
            with jax.named_scope(MISMATCH):
                return jax.tree.map(lambda x: x[:-1], real), condition[1:]
        if batch.wrong_image is not None:
            return apply(batch.wrong_image, method="encode"), condition
        # If partners are a permutation, these are the pairs of each text with its partner's image,
        # but only texts, which are small, move between devices. The images' statistics are the
        # batch's, and the running statistics take the same step towards them once more.
        apply.repeat()
        with jax.named_scope(MISMATCH):
            return real, condition[batch.partner]

    def _score(self, params: Any, stats: Any) -> objectives.Score:
        """(seen, condition) → logits, normalised by the batch."""

        def score(seen: objectives.Seen, condition: jax.Array) -> objectives.Logits:
            (logits, _), _ = apply_network(self.discriminator, params, seen, condition, stats=stats)
            return logits

        return score

    def _generator_objective(
        self,
        drawn: "Drawn",
        discriminator: Net,
        batch: Batch,
        earlier: jax.Array,
        condition: jax.Array,
        real: objectives.Seen,
        key: jax.Array | None,
    ) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
        """The adversarial loss and the weighted terms; → scalar, (metrics, D's new statistics)."""
        apply = Threaded(self.discriminator, discriminator.params, discriminator.batch_stats)
        features = apply(drawn.seen, method="encode")
        logits = [apply(features, condition, method="logits")]
        if self.discriminator.unconditional_head:
            logits.append(self._image_logits(discriminator.params, features))
        loss = objectives.ADVERSARIAL_LOSSES[self.adversarial]
        metrics = {"g_loss": objectives.generator(loss, *logits)}
        drawing = objectives.Drawing(
            drawn.image,
            drawn.mu,
            drawn.log_sigma,
            batch.embedding,
            earlier_image=earlier if self.priors else None,
            distance=self.matcher and functools.partial(self.matcher, key=key),
            other_image=drawn.other_image,
            real_image=batch.image,
        )
        if "restoration" in self.weights:
            original = self._look(objectives.drawn_again(batch.image), key)
            drawing = drawing._replace(restored=drawn.restored, original=original)
        if "probe" in self.weights:
            drawing = drawing._replace(
                likeness=self.probe(drawn.seen, batch.embedding),
                real_likeness=self.probe(real, batch.embedding),
            )
        objective = metrics["g_loss"]
        for name, weight in self.weights.items():
            metrics[name] = objectives.TERMS[name](drawing)
            objective += weight * metrics[name]
        return objective, (metrics, apply.stats)

    def _image_logits(self, params: Any, features: jax.Array) -> jax.Array:
        return self.discriminator.apply({"params": params}, features, method="image_logits")

    def _lean(self, function: Callable) -> Callable:
        """`function`, which keeps only costly results for its gradient if `rematerialise`."""
        if not self.rematerialise:
            return function
        return jax.checkpoint(function, policy=jax.checkpoint_policies.save_only_these_names(KEPT))

    def logits(
        self, state: GanState, batch: Batch, noise: Noise, key: jax.Array | None = None
    ) -> dict[str, objectives.Logits]:
        """The discriminator's logits of a batch, as `update` computes them; nothing is learnt.

        Args:
            state: the state before a step.
            batch: real images, texts and wrong pairs.
            noise: of the generated images.
            key: as of `update`.

        Returns:
            The logits of "real", "wrong" and "fake" pairs.
        """
        keys = [key if key is None else jax.random.fold_in(key, i) for i in range(2)]
        inputs, _ = self.cascade.inputs(state.priors, batch.embedding, noise)
        (image, mu, _), _ = apply_network(
            self.generator, state.generator.params, *inputs, stats=state.generator.batch_stats
        )
        condition = batch.embedding if self.discriminator.project else mu
        net = state.discriminator
        apply = Threaded(self.discriminator, net.params, net.batch_stats)
        see = functools.partial(self.see, blur=self._blur(state.step, len(image)))
        real = apply(see(batch.image, keys[1]), method="encode")
        logits, _ = self._pair_logits(apply, real, see(image, keys[0]), condition, batch)
        return dict(zip(("real", "wrong", "fake"), logits, strict=True))

    # Drawing.

    def generate(
        self, state: GanState, embedding: jax.Array, noise: Noise, use_ema: bool = True
    ) -> dict[str, jax.Array]:
        """Draws images by the running statistics.

        Args:
            state: of this game.
            embedding: `[b, t]`.
            noise: for every stage.
            use_ema: by the generator's average instead of its newest weights.

        Returns:
            Every stage's images in order, "stage1", "stage2" and so on: `[b, s, s, 3]` float32 in
            [-1, 1].
        """
        last = state.ema if use_ema else variables_of(state.generator)
        return self.cascade.draw((*state.priors, last), embedding, noise)


class Drawn(NamedTuple):
    """What a generator has drawn, and what the discriminator sees of it.

    Attributes:
        image: `[b, s, s, 3]` float32 in [-1, 1].
        mu: `[b, c]` float32, as in `objectives.Drawing`.
        log_sigma: `[b, c]` float32.
        seen: see `Gan.see`.
        other_image: as in `objectives.Drawing`.
        restored: as in `objectives.Drawing`.
    """

    image: jax.Array
    mu: jax.Array
    log_sigma: jax.Array
    seen: objectives.Seen
    other_image: jax.Array | None = None
    restored: objectives.Look | None = None


def _require(what: str, name: str, choices: Any) -> None:
    if name not in choices:
        raise ValueError(
            f"Unknown {what} {name!r}; choose from {', '.join(filter(None, choices))}."
        )

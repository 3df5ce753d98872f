"""The judge of synthetic birds: a network that reads attributes from pictures.

The paper asks people whether a picture shows what its caption says (sec. 4.1). The attributes of
synthetic birds are known, so a network that was trained on real pictures can answer instead.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax

from stackgan_jax.data import augment
from stackgan_jax.data.synthetic_birds.attributes import (
    ATTRIBUTES,
    CAPTION_ATTRIBUTES,
    COLOUR_ATTRIBUTES,
    COLOURS,
)
from stackgan_jax.data.synthetic_birds.captions import attributes_named
from stackgan_jax.models import convolution
from stackgan_jax.models.attribute_classifier import AttributeClassifier, doubled, resize
from stackgan_jax.runtime import files
from stackgan_jax.runtime.errors import UserError

WORKING_SIZE = 64
STEPS = 600  # of training
BATCH_SIZE = 32
# An attribute counts only if at least this share of real pictures of unseen species is read right.
REQUIRED_ACCURACY = 0.95
CLASSIFIER = AttributeClassifier(
    parts=COLOUR_ATTRIBUTES,
    palette=tuple(tuple(value / 127.5 - 1 for value in colour) for colour in COLOURS.values()),
    others={n: len(ATTRIBUTES[n]) for n in CAPTION_ATTRIBUTES if n not in COLOUR_ATTRIBUTES},
)
# The learning rate is 1: `_step` multiplies the changes by the schedule's rate.
OPTIMIZER = optax.adamw(1.0, weight_decay=1e-3)
_READ_BATCH = 128


@dataclasses.dataclass
class Judge:
    """A trained classifier.

    Attributes:
        variables: parameters and batch statistics of `CLASSIFIER`.
        accuracy: attribute → share read correctly in pictures of species that were not trained on.
    """

    variables: dict[str, Any]
    accuracy: dict[str, float]

    @property
    def judged(self) -> list[str]:
        """The attributes that are read well enough to judge generated pictures."""
        return [name for name, share in self.accuracy.items() if share >= REQUIRED_ACCURACY]

    def read(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Reads pictures.

        Args:
            images: float `[n, s, s, 3]` in [-1, 1], any size, framed like the networks' pictures.

        Returns:
            Attribute → values `[n]`, an array of str, for every attribute, judged or not.
        """
        indices = _read(self.variables, images)
        return {name: np.asarray(ATTRIBUTES[name])[index] for name, index in indices.items()}

    def save(self, path: str | Path) -> None:
        """Writes the judge to a file, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = flax.serialization.msgpack_serialize(
            {"variables": self.variables, "accuracy": self.accuracy}
        )
        with files.replacing(path) as partial:
            partial.write_bytes(content)


def load(path: str | Path) -> Judge:
    """Reads the judge that `Judge.save` wrote.

    Raises:
        UserError: for a missing file, or one that holds no judge of this version.
    """
    try:
        stored = flax.serialization.msgpack_restore(Path(path).read_bytes())
        judge = Judge(stored["variables"], stored["accuracy"])
        judge.read(np.zeros((1, WORKING_SIZE, WORKING_SIZE, 3), np.float32))
    except FileNotFoundError:
        raise UserError(f"There is no attribute classifier at {path}; train it first.") from None
    except Exception as error:
        raise UserError(
            f"{path} holds no attribute classifier of this version; delete it to train a new one."
        ) from error
    return judge


def wanted_values(captions: Sequence[str], judge: Judge) -> list[dict[str, str]]:
    """Returns for each caption attribute → value: those it names, if the judge reads them well."""
    named = {caption: attributes_named(caption) for caption in set(captions)}
    return [{n: named[c][n] for n in judge.judged if n in named[c]} for c in captions]


def score(
    judge: Judge, images: np.ndarray, wanted: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """Returns how often pictures show the attributes that their captions name.

    Only attributes that the judge reads reliably count (`Judge.judged`).

    Args:
        judge: reads the pictures.
        images: float `[n, s, s, 3]` in [-1, 1].
        wanted: for each picture, attribute → value that its caption names.

    Returns:
        "overall" → share, "colours" → share of the colour attributes, then a share for each judged
        attribute. An entry is missing where no caption names such an attribute.
    """
    return score_read(judge, judge.read(images), wanted)


def score_read(
    judge: Judge, read: Mapping[str, np.ndarray], wanted: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """Like `score`, for pictures that were read before: attribute → values `[n]`."""
    right = [
        (name, bool(read[name][index] == value))
        for index, named in enumerate(wanted)
        for name, value in named.items()
    ]
    return _shares(judge, right)


def chance(
    judge: Judge, images: np.ndarray, wanted: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """Returns the mean of `score` over all pairings of captions and pictures.

    Arguments and result are those of `score`. A colour has about 1 / 8.
    """
    read = judge.read(images)
    expected = [
        (name, float(np.mean(read[name] == value)))
        for named in wanted
        for name, value in named.items()
    ]
    return _shares(judge, expected)


def _shares(judge: Judge, found: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Means of (attribute, share) pairs: over all, over the colours, and of each attribute."""
    found = [(name, share) for name, share in found if name in judge.judged]
    groups = {"overall": judge.judged, "colours": COLOUR_ATTRIBUTES}
    groups |= {name: (name,) for name in judge.judged}
    shares = {
        group: [share for name, share in found if name in names] for group, names in groups.items()
    }
    return {group: float(np.mean(each)) for group, each in shares.items() if each}


def train(
    images: np.ndarray,
    truth: Mapping[str, np.ndarray],
    held_out_images: np.ndarray,
    held_out_truth: Mapping[str, np.ndarray],
    seed: int = 0,
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> Judge:
    """Trains a judge on real pictures and measures it on pictures of other species.

    Args:
        images: uint8 `[n, s, s, 3]` at load size; the networks' pictures are 16/19 crops of these.
        truth: attribute → int `[n]`, indices of its values in `ATTRIBUTES`.
        held_out_images: uint8 `[m, s, s, 3]`, of species that `images` doesn't show.
        held_out_truth: attribute → int `[m]`.
        seed: of the initial parameters, the order and the augmentation.
        steps: the number of batches to train on.
        batch_size: pictures in a batch.
        progress: called with (steps done, steps) after each step.

    Returns:
        The judge, with its accuracy on the centre crops of the held-out pictures.
    """
    images, truth = _small(images), {name: jnp.asarray(truth[name]) for name in CAPTION_ATTRIBUTES}
    key, rate = jax.random.key(seed), optax.cosine_onecycle_schedule(steps, 4e-3, 0.2)
    variables = _init(key)
    state, step = (variables, OPTIMIZER.init(variables["params"])), _compiled_step()
    for number, batch in enumerate(_batches(seed, len(images), batch_size, steps), 1):
        state = step(state, jax.random.fold_in(key, number), rate(number - 1), images, truth, batch)
        if progress:
            progress(number, steps)
    judge = Judge(jax.device_get(state[0]), {})
    shown = jax.jit(augment.centre, static_argnums=1)(_small(held_out_images), WORKING_SIZE)
    for name, found in _read(judge.variables, shown).items():
        judge.accuracy[name] = float(np.mean(found == np.asarray(held_out_truth[name])))
    return judge


def _batches(seed: int, count: int, batch_size: int, steps: int) -> Iterator[np.ndarray]:
    """Yields `steps` arrays of indices; every picture appears once before any appears again."""
    order = np.random.default_rng(seed)
    waiting = np.empty(0, np.int64)
    for _ in range(steps):
        while len(waiting) < batch_size:
            waiting = np.concatenate([waiting, order.permutation(count)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


@jax.jit
def _init(key: jax.Array) -> dict[str, Any]:
    return CLASSIFIER.init(key, jnp.zeros((1, WORKING_SIZE, WORKING_SIZE, 3)), False)


@functools.cache
def _compiled_step() -> Callable:
    return jax.jit(_step, donate_argnums=0, compiler_options=convolution.compiler_options())


def _step(
    state: tuple[dict[str, Any], optax.OptState],
    key: jax.Array,
    rate: jax.Array,
    images: jax.Array,
    truth: dict[str, jax.Array],
    batch: jax.Array,
) -> tuple[dict[str, Any], optax.OptState]:
    """One AdamW step of (variables, optimizer state) on a batch of pictures."""
    variables, optimizer_state = state
    crop_key, degrade_key, dropout_key = jax.random.split(key, 3)
    shown = _degrade(degrade_key, augment.augment(crop_key, images[batch], WORKING_SIZE))

    def loss(params: Any) -> tuple[jax.Array, Any]:
        logits, updates = CLASSIFIER.apply(
            {**variables, "params": params},
            shown,
            True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        entropy = optax.softmax_cross_entropy_with_integer_labels
        return sum(entropy(logits[n], truth[n][batch]).mean() for n in logits), updates

    gradient, updates = jax.grad(loss, has_aux=True)(variables["params"])
    change, optimizer_state = OPTIMIZER.update(gradient, optimizer_state, variables["params"])
    params = jax.tree.map(lambda p, c: p + rate * c, variables["params"], change)
    return {"params": params, **updates}, optimizer_state


def _degrade(key: jax.Array, image: jax.Array) -> jax.Array:
    """Adds a little blur, brightness and noise, different for each picture, like a generator."""
    blur_key, coarse_key, light_key, noise_key, strength_key = jax.random.split(key, 5)
    each = (len(image), 1, 1, 1)
    image += jax.random.uniform(blur_key, each) * (_blurred(image) - image)
    coarse = doubled(resize(image, image.shape[1] // 2))
    image = jnp.where(jax.random.bernoulli(coarse_key, 0.15, each), coarse, image)
    light = jax.random.uniform(light_key, (2, *each), minval=-1, maxval=1)
    image = image * (1 + 0.1 * light[0]) + 0.08 * light[1]
    strength = 0.08 * jax.random.uniform(strength_key, each)
    return jnp.clip(image + strength * jax.random.normal(noise_key, image.shape), -1, 1)


def _blurred(image: jax.Array) -> jax.Array:
    """Binomial blur over 5×5 pixels, `[b, h, w, c]` → the same shape."""
    height, width = image.shape[1:3]
    image = jnp.pad(image, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    weights = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
    image = sum(w * image[:, i : i + height] for i, w in enumerate(weights))
    return sum(w * image[:, :, i : i + width] for i, w in enumerate(weights))


def _small(images: np.ndarray) -> jax.Array:
    """Area-averages pictures, uint8 `[n, s, s, 3]` → uint8 `[n, 76, 76, 3]`."""
    size = augment.load_size(WORKING_SIZE)
    if images.shape[1] == size:
        return jnp.asarray(images)
    shrink = jax.jit(lambda part: jnp.round(resize(part.astype(jnp.float32), size)))
    parts = [images[start : start + _READ_BATCH] for start in range(0, len(images), _READ_BATCH)]
    return jnp.concatenate([shrink(part).astype(jnp.uint8) for part in parts])


@jax.jit
def _predict(variables: dict[str, Any], images: jax.Array) -> dict[str, jax.Array]:
    logits = CLASSIFIER.apply(variables, resize(images, WORKING_SIZE), False)
    return {name: jnp.argmax(logits[name], -1) for name in CAPTION_ATTRIBUTES}


def _read(variables: dict[str, Any], images: np.ndarray) -> dict[str, np.ndarray]:
    """Attribute → index of the value read, int `[n]`."""
    parts = [
        _predict(variables, jnp.asarray(images[start : start + _READ_BATCH]))
        for start in range(0, len(images), _READ_BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in CAPTION_ATTRIBUTES}

"""The judge of generated birds: reads attributes from pictures, trained on real ones.

The paper asks people whether a picture shows what its caption says (sec. 4.1); synthetic birds
carry the truth, so a network that reads real pictures well can be asked instead.
"""

import dataclasses
import functools
import os
import pathlib

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
from stackgan_jax.models import convolution
from stackgan_jax.models.attribute_classifier import AttributeReader, doubled, resize
from stackgan_jax.runtime.errors import UserError

WORKING_SIZE = 64
# An attribute is judged only if real pictures of unseen species are read as well as this.
REQUIRED_ACCURACY = 0.95
READER = AttributeReader(
    parts=COLOUR_ATTRIBUTES,
    palette=tuple(tuple(value / 127.5 - 1 for value in colour) for colour in COLOURS.values()),
    others={n: len(ATTRIBUTES[n]) for n in CAPTION_ATTRIBUTES if n not in COLOUR_ATTRIBUTES},
)
# For a learning rate of one: `_step` multiplies its changes by the schedule's.
OPTIMIZER = optax.adamw(1.0, weight_decay=1e-3)
_READ_BATCH = 128


@dataclasses.dataclass
class Judge:
    """A trained reader.

    Attributes:
        variables: the reader's parameters and batch statistics.
        accuracy: attribute → share read correctly from pictures of species it was not trained on.
    """

    variables: dict
    accuracy: dict

    @property
    def judged(self):
        """The attributes that it reads well enough to judge generated pictures by."""
        return [name for name, share in self.accuracy.items() if share >= REQUIRED_ACCURACY]

    def read(self, images):
        """Reads pictures.

        Args:
            images: float [n, s, s, 3] in [-1, 1], any size, framed like the networks' pictures.

        Returns:
            {attribute: values [n], an array of str}, for every attribute, judged or not.
        """
        indices = _read(self.variables, images)
        return {name: np.asarray(ATTRIBUTES[name])[index] for name, index in indices.items()}

    def save(self, path):
        """Writes the judge to a file, whole or not at all."""
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = flax.serialization.msgpack_serialize(
            {"variables": self.variables, "accuracy": self.accuracy}
        )
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(path)


def load(path):
    """The Judge that `Judge.save` wrote; UserError if the file is none of this version."""
    try:
        stored = flax.serialization.msgpack_restore(pathlib.Path(path).read_bytes())
        judge = Judge(stored["variables"], stored["accuracy"])
        judge.read(np.zeros((1, WORKING_SIZE, WORKING_SIZE, 3), np.float32))
    except FileNotFoundError:
        raise UserError(f"There is no attribute classifier at {path}; train it first.") from None
    except Exception as error:
        raise UserError(
            f"{path} holds no attribute classifier of this version; delete it to train a new one."
        ) from error
    return judge


def score(judge, images, wanted):
    """Share of what captions name that is found in the pictures made from them.

    Only attributes that the judge reads reliably count (`Judge.judged`).

    Args:
        judge: a Judge.
        images: float [n, s, s, 3] in [-1, 1].
        wanted: for each picture the {attribute: value} that its caption names.

    Returns:
        {"overall": share, "colours": share of the colour attributes, then one share for each
        judged attribute that a caption names}; nothing for what no caption names.
    """
    return score_read(judge, judge.read(images), wanted)


def score_read(judge, read, wanted):
    """As `score`, of what has been read already: {attribute: values [n]}."""
    right = [
        (name, bool(read[name][index] == value))
        for index, named in enumerate(wanted)
        for name, value in named.items()
    ]
    return _shares(judge, right)


def chance(judge, images, wanted):
    """What `score` gives on average if each caption is judged by the picture of a random one.

    Arguments and result as for `score`; about 1 / 8 for a colour.
    """
    read = judge.read(images)
    expected = [
        (name, float(np.mean(read[name] == value)))
        for named in wanted
        for name, value in named.items()
    ]
    return _shares(judge, expected)


def _shares(judge, found):
    """Means of (attribute, share) pairs: over all, over the colours, and of each attribute."""
    found = [(name, share) for name, share in found if name in judge.judged]
    groups = {"overall": judge.judged, "colours": COLOUR_ATTRIBUTES}
    groups |= {name: (name,) for name in judge.judged}
    shares = {
        group: [share for name, share in found if name in names] for group, names in groups.items()
    }
    return {group: float(np.mean(each)) for group, each in shares.items() if each}


def train(
    images,
    truth,
    held_out_images,
    held_out_truth,
    seed=0,
    steps=600,
    batch_size=32,
    progress=None,
):
    """Trains a judge on real pictures and measures it on pictures of other species.

    Args:
        images: uint8 [n, s, s, 3] at load size (the networks' pictures are their 16/19 crops).
        truth: {attribute: int [n]}, indices of its values in `ATTRIBUTES`.
        held_out_images: uint8 [m, s, s, 3], of species that `images` doesn't show.
        held_out_truth: {attribute: int [m]}.
        seed: of the initial parameters, the order and the augmentation.
        steps: how many batches it is trained on.
        batch_size: pictures in a batch.
        progress: called with (steps done, steps) after each.

    Returns:
        A Judge with its accuracy on the held-out pictures, each cropped to its centre.
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


def _batches(seed, count, batch_size, steps):
    """Yields `steps` arrays of indices, every picture once before any comes again."""
    order = np.random.default_rng(seed)
    waiting = np.empty(0, np.int64)
    for _ in range(steps):
        while len(waiting) < batch_size:
            waiting = np.concatenate([waiting, order.permutation(count)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


@jax.jit
def _init(key):
    return READER.init(key, jnp.zeros((1, WORKING_SIZE, WORKING_SIZE, 3)), False)


@functools.cache
def _compiled_step():
    return jax.jit(_step, donate_argnums=0, compiler_options=convolution.compiler_options())


def _step(state, key, rate, images, truth, batch):
    """One update of (parameters and statistics, optimizer's state) on the pictures of a batch."""
    variables, optimizer_state = state
    crop_key, degrade_key, dropout_key = jax.random.split(key, 3)
    shown = _degrade(degrade_key, augment.augment(crop_key, images[batch], WORKING_SIZE))

    def loss(params):
        logits, updates = READER.apply(
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


def _degrade(key, image):
    """Blurs, brightens and disturbs pictures a little, each its own way, as a generator would."""
    blur_key, coarse_key, light_key, noise_key, strength_key = jax.random.split(key, 5)
    each = (len(image), 1, 1, 1)
    image += jax.random.uniform(blur_key, each) * (_blurred(image) - image)
    coarse = doubled(resize(image, image.shape[1] // 2))
    image = jnp.where(jax.random.bernoulli(coarse_key, 0.15, each), coarse, image)
    light = jax.random.uniform(light_key, (2, *each), minval=-1, maxval=1)
    image = image * (1 + 0.1 * light[0]) + 0.08 * light[1]
    strength = 0.08 * jax.random.uniform(strength_key, each)
    return jnp.clip(image + strength * jax.random.normal(noise_key, image.shape), -1, 1)


def _blurred(image):
    """Binomial blur over five by five pixels: [b, h, w, c] → the same shape."""
    height, width = image.shape[1:3]
    image = jnp.pad(image, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    weights = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
    image = sum(w * image[:, i : i + height] for i, w in enumerate(weights))
    return sum(w * image[:, :, i : i + width] for i, w in enumerate(weights))


def _small(images):
    """uint8 [n, s, s, 3] → uint8 [n, 76, 76, 3], averaged by area."""
    size = augment.load_size(WORKING_SIZE)
    if images.shape[1] == size:
        return jnp.asarray(images)
    shrink = jax.jit(lambda part: jnp.round(resize(part.astype(jnp.float32), size)))
    parts = [images[start : start + _READ_BATCH] for start in range(0, len(images), _READ_BATCH)]
    return jnp.concatenate([shrink(part).astype(jnp.uint8) for part in parts])


@jax.jit
def _predict(variables, images):
    logits = READER.apply(variables, resize(images, WORKING_SIZE), False)
    return {name: jnp.argmax(logits[name], -1) for name in CAPTION_ATTRIBUTES}


def _read(variables, images):
    """{attribute: index of the value read, int [n]}."""
    parts = [
        _predict(variables, jnp.asarray(images[start : start + _READ_BATCH]))
        for start in range(0, len(images), _READ_BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in CAPTION_ATTRIBUTES}

"""Trains the judge of synthetic birds, once for all runs.

    python -m stackgan_jax.evaluation.attribute_training --output=judge.msgpack

It draws birds of its own, each of another species whose attributes were drawn independently, and
knows where it drew their parts. In a data set each species has one beak and one kind of eyes, so a
network can guess them from the colours of the body, which fails with every other species.
"""

import argparse
import concurrent.futures
import functools
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from stackgan_jax.data import augment
from stackgan_jax.data.synthetic_birds import drawing, skeleton
from stackgan_jax.data.synthetic_birds.attributes import ATTRIBUTES, stream
from stackgan_jax.evaluation.attributes import CLASSIFIER, Judge, indices
from stackgan_jax.models import convolution
from stackgan_jax.models.attribute_classifier import cells, doubled, resize
from stackgan_jax.runtime import cores
from stackgan_jax.runtime.progress import Progress

SIZE = 128  # of the pictures in training
LOAD_SIZE = augment.load_size(SIZE)
SIZES = (SIZE, 64)  # in pixels: the judge is tested on both
TRAINED_ON, TESTED_ON = 12_000, 1_000  # birds
STEPS = 6_000
BATCH_SIZE = 32
RATE = 4e-3  # the highest learning rate
ONE_COLOUR_SHARE = 0.15  # of birds whose crown, back and belly have one colour
NEAR = 0.03  # deviation of a glimpse's place in training, as a share of the picture's side
# The learning rate is 1: `_step` multiplies the changes by the schedule's rate.
OPTIMIZER = optax.adamw(1.0, weight_decay=1e-3)
# Which point of the bird each glimpse of CLASSIFIER looks at, from its skeleton.
_POINTS = {
    "eyes": lambda bones, tail: bones.face([(0.36, 0.14)])[0],
    "beak": lambda bones, tail: bones.face([(1.4, 0.0)])[0],
    "tail": lambda bones, tail: np.concatenate(tail).mean(0),
    "pattern": lambda bones, tail: bones.body([(0.05, -0.2)])[0],
}


class Birds(NamedTuple):
    """Drawn birds.

    Attributes:
        images: uint8 `[n, LOAD_SIZE, LOAD_SIZE, 3]`.
        truth: attribute → int `[n]`, indices of its values in `ATTRIBUTES`.
        places: float32 `[n, g, 2]`, (x, y) in [0, 1]: what each glimpse should look at.
    """

    images: np.ndarray
    truth: dict[str, np.ndarray]
    places: np.ndarray


def draw(seed: int, count: int, workers: int) -> Birds:
    """Draws birds with independent attributes, a function of `seed` and `count`.

    Args:
        seed: of all random draws.
        count: how many birds.
        workers: processes that draw.
    """
    show = Progress(f"birds of seed {seed}", count, "drawn")
    processes = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=processes) as pool:
        drawn = []
        for each in pool.map(functools.partial(bird, seed), range(count), chunksize=50):
            drawn.append(each)
            show(len(drawn))
    return stacked(drawn)


def stacked(drawn: Sequence[tuple[np.ndarray, dict[str, int], np.ndarray]]) -> Birds:
    """Joins what `bird` returned."""
    images, truth, places = zip(*drawn, strict=True)
    return Birds(
        np.stack(images),
        {name: np.asarray([values[name] for values in truth]) for name in ATTRIBUTES},
        np.asarray(places, np.float32),
    )


def bird(seed: int, index: int) -> tuple[np.ndarray, dict[str, int], np.ndarray]:
    """Draws one bird with independent attributes, a function of the arguments.

    Returns:
        One entry of each of `Birds`: its picture, its attributes, the places of its parts.
    """
    rng = stream(seed, "independent", index)
    values = {name: str(rng.choice(choices)) for name, choices in ATTRIBUTES.items()}
    if rng.random() < ONE_COLOUR_SHARE:
        values["back"] = values["belly"] = values["crown"]
    image, _ = drawing.draw(values, stream(seed, "drawing", index))
    image = np.asarray(image.reduce(skeleton.SIZE // LOAD_SIZE))
    bones, tail = skeleton.posed(values, stream(seed, "drawing", index))
    places = np.stack([_POINTS[glimpse.reads[0]](bones, tail) for glimpse in CLASSIFIER.glimpses])
    places /= skeleton.SIZE
    if values["direction"] == "left":
        places[:, 0] = 1 - places[:, 0]
    truth = {name: ATTRIBUTES[name].index(value) for name, value in values.items()}
    return image, truth, places


def train(
    birds: Birds,
    held_out: Birds,
    seed: int = 0,
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
    progress: Callable[[int], None] | None = None,
) -> Judge:
    """Trains a judge and measures it on other birds.

    Args:
        birds: to learn from.
        held_out: of which the judge's accuracy is measured, at the sizes of both stages.
        seed: of the initial parameters, the order and the augmentation.
        steps: the number of batches to train on.
        batch_size: pictures in a batch.
        progress: called with the steps done after each step.
    """
    key, rate = jax.random.key(seed), optax.cosine_onecycle_schedule(steps, RATE, 0.2)
    variables = _init(key)
    state, step = (variables, OPTIMIZER.init(variables["params"])), _compiled_step()
    seen = jax.device_put(birds)
    for number, batch in enumerate(_batches(seed, len(birds.images), batch_size, steps), 1):
        state = step(state, jax.random.fold_in(key, number), rate(number - 1), seen, batch)
        if progress:
            progress(number)
    # Half the precision makes half the file, and reads the same.
    variables = jax.tree.map(lambda x: np.asarray(x, np.float16), state[0])
    return Judge(variables, accuracy(variables, held_out))


def accuracy(variables: dict[str, Any], birds: Birds) -> dict[str, float]:
    """Attribute → share that is read correctly in the middle of pictures, at the worse of SIZES."""
    shown = jax.jit(augment.centre, static_argnums=1)(birds.images, SIZE)
    found = [indices(variables, np.asarray(resize(shown, size))) for size in SIZES]
    return {
        name: min(float(np.mean(each[name] == birds.truth[name])) for each in found)
        for name in found[0]
    }


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
    return CLASSIFIER.init(key, jnp.zeros((1, SIZE, SIZE, 3)), False)


@functools.cache
def _compiled_step() -> Callable:
    return jax.jit(_step, donate_argnums=0, compiler_options=convolution.compiler_options())


def _step(
    state: tuple[dict[str, Any], optax.OptState],
    key: jax.Array,
    rate: jax.Array,
    birds: Birds,
    batch: jax.Array,
) -> tuple[dict[str, Any], optax.OptState]:
    """One AdamW step of (variables, optimizer state) on a batch of pictures."""
    variables, optimizer_state = state
    crop_key, degrade_key, near_key, dropout_key = jax.random.split(key, 4)
    shown, places = _cropped(crop_key, birds.images[batch], birds.places[batch])
    shown = _degrade(degrade_key, shown)
    near = places + NEAR * jax.random.normal(near_key, places.shape)

    def loss(params: Any) -> tuple[jax.Array, Any]:
        (logits, where), updates = CLASSIFIER.apply(
            {**variables, "params": params},
            shown,
            True,
            near,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        entropy = optax.softmax_cross_entropy_with_integer_labels
        named = sum(entropy(logits[n], birds.truth[n][batch]).mean() for n in logits)
        return named + _misplaced(where, places), updates

    gradient, updates = jax.grad(loss, has_aux=True)(variables["params"])
    change, optimizer_state = OPTIMIZER.update(gradient, optimizer_state, variables["params"])
    params = jax.tree.map(lambda p, c: p + rate * c, variables["params"], change)
    return {"params": params, **updates}, optimizer_state


def _misplaced(where: jax.Array, places: jax.Array) -> jax.Array:
    """Cross-entropy of the attention maps `[b, h, w, g]` with a spot around each place."""
    batch, size, _, count = where.shape
    grid = cells(size).reshape(1, -1, 1, 2)
    distances = jnp.sum((grid - places[:, None]) ** 2, -1)
    wanted = jax.nn.softmax(-distances / (2 * NEAR**2), axis=1)
    return optax.softmax_cross_entropy(where.reshape(batch, -1, count), wanted, axis=1).mean()


def _cropped(key: jax.Array, image: jax.Array, places: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Crops pictures to SIZE at random, and returns the places in the crops, at most at an edge."""
    corners = jax.random.randint(key, (len(image), 2), 0, LOAD_SIZE - SIZE + 1)
    crop = lambda i, corner: jax.lax.dynamic_slice(i, (*corner, 0), (SIZE, SIZE, 3))
    places = (places * LOAD_SIZE - corners[:, None, ::-1]) / SIZE
    return augment.normalise(jax.vmap(crop)(image, corners)), jnp.clip(places, 0, 1)


def _degrade(key: jax.Array, image: jax.Array) -> jax.Array:
    """Adds a little blur, brightness and noise, different for each picture, like a generator."""
    blur_key, coarse_key, light_key, noise_key, strength_key = jax.random.split(key, 5)
    each = (len(image), 1, 1, 1)
    image += jax.random.uniform(blur_key, each) * (_blurred(image) - image)
    coarse = doubled(resize(image, image.shape[1] // 2))
    image = jnp.where(jax.random.bernoulli(coarse_key, 0.25, each), coarse, image)
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


def main() -> None:
    """Draws birds, trains the judge, prints its accuracy and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    options = parser.parse_args()
    folder = options.output.parent
    try:  # before the training, which takes long
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        parser.error(f"{folder} can't be written ({error.strerror}); give another --output.")
    workers = cores.usable()
    birds, held_out = draw(0, TRAINED_ON, workers), draw(1, TESTED_ON, workers)
    show = Progress("attribute classifier", STEPS * BATCH_SIZE, "trained on")
    judge = train(birds, held_out, progress=lambda done: show(done * BATCH_SIZE))
    judge.save(options.output)
    for name, share in judge.accuracy.items():
        print(f"{name.replace('_', ' '):12} {share:.1%}")


if __name__ == "__main__":
    main()

"""Batches that are a function of (seed, step): what each step takes of a split, and the taking.

A step's choice is a few indices per picture, made on the host. What they point at is gathered
either there, ahead of the accelerator (by `tf.data`), or on the device, where the whole split lies;
both ways run the same lines and give the same batch, bit by bit.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from stackgan_jax.runtime.errors import UserError

Batch = Mapping[str, np.ndarray]
RESIDENCIES = ("auto", "host", "device")
SHARE = 0.3  # of the device's memory that "auto" gives to a split; the rest is the step's


@dataclasses.dataclass(frozen=True)
class CaptionEmbeddings:
    """Embeddings, or tokens, of all captions, `flat[offsets[i]:offsets[i + 1]]` being image i's."""

    flat: np.ndarray
    offsets: np.ndarray


@dataclasses.dataclass(frozen=True)
class Source:
    """A split to take batches from.

    Attributes:
      held: name → `[n, …]`, all that batches are made of.
      choose: step → the whole batch's choice: name → `[b, …]`, mostly indices into `held`.
      gather: (held, choice) → batch; for NumPy's arrays and, jitted, for a device's.
    """

    held: Mapping[str, np.ndarray]
    choose: Callable[[int], Batch]
    gather: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]

    @property
    def held_bytes(self) -> int:
        return sum(array.nbytes for array in self.held.values())

    def choices(self, start: int, stop: int) -> Iterator[Batch]:
        """This process's part of the choices of steps `start` to `stop`."""
        for step in range(start, stop):
            yield _part_of_this_process(self.choose(step))

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """This process's part of the batches of steps `start` to `stop`, gathered ahead."""

        def make(step: int) -> Batch:
            return self.gather(self.held, _part_of_this_process(self.choose(step)))

        return _read_ahead(make, start, stop)


def image_text(
    images: np.ndarray,
    labels: np.ndarray,
    embeddings: CaptionEmbeddings,
    batch_size: int,
    captions_per_image: int,
    seed: int,
) -> Source:
    """The GANs' batches.

    A batch is `image` uint8 `[b, L, L, 3]`, `embedding` float32 `[b, t]`, the mean over
    `captions_per_image` captions drawn without replacement (all, where there are fewer), and
    `partner` int32 `[b]`, whose text doesn't go with each image (`mismatched`). Each epoch visits
    every image at most once, in an order drawn from (seed, epoch).

    Args:
      images: `[n, L, L, 3]` uint8. labels: `[n]`, the classes.
    """
    if len(images) < batch_size:
        raise UserError(
            f"batch_size {batch_size} is more than the data set's {len(images)} images; "
            f"set --config.batch_size to {len(images)} or less."
        )
    counts = np.diff(embeddings.offsets)
    most = int(counts.max())

    def choose(step: int) -> Batch:
        chosen = epoch_order(seed, step, batch_size, len(images))
        count = counts[chosen]
        # Random keys in random order, those of captions that don't exist last.
        keys = np.random.default_rng((seed, 1, step)).random((batch_size, most))
        keys[np.arange(most) >= count[:, None]] = 2
        drawn = np.argsort(keys, axis=1)[:, :captions_per_image]
        there = np.arange(drawn.shape[1]) < count[:, None]
        captions = np.where(there, embeddings.offsets[chosen][:, None] + drawn, -1)
        share = np.float32(1) / np.minimum(count, captions_per_image).astype(np.float32)
        return {
            "image": chosen.astype(np.int32),
            "captions": captions.astype(np.int32),
            "share": share,
            "partner": mismatched(np.random.default_rng((seed, 3, step)), labels[chosen]),
        }

    def gather(held: Mapping[str, Any], choice: Mapping[str, Any]) -> Mapping[str, Any]:
        captions, image = choice["captions"], choice["image"]
        # One by one: sums in another order would round otherwise on another machine.
        total = held["embedding"][captions[:, 0]]
        for i in range(1, captions.shape[1]):
            there = (captions[:, i] >= 0).astype(np.float32)
            total = total + there[:, None] * held["embedding"][captions[:, i]]
        return {
            "image": held["image"][image].reshape(-1, *images.shape[1:]),
            "embedding": total * choice["share"][:, None],
            "partner": choice["partner"],
        }

    return Source({"image": _flat(images), "embedding": embeddings.flat}, choose, gather)


def mismatched(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """For every item of a batch the index of one of another class: labels `[b]` → int32 `[b]`.

    A random permutation (every item is taken once, so the batch of partners has the statistics of
    the batch itself) whenever no class fills more than half of the batch. Beyond that there is
    none: what the majority class lacks it then takes at random from the other classes, more than
    once. With a single class every item gets another item. UserError for a batch of one.
    """
    count = len(labels)
    if count < 2:
        raise UserError(
            f"A mismatched pair needs a batch of at least 2 images, not {count}; set "
            "--config.batch_size to 2 or more."
        )
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.permutation(count), rng.permutation(len(sizes))[classes]))
    largest = sizes.max()
    # Classes lie together now, none longer than `largest`: a shift by that much leaves each.
    shift = rng.integers(largest, max(count - largest, largest) + 1) if len(sizes) > 1 else 1
    place = (np.arange(count) + shift) % count
    if len(sizes) > 1:
        sorted_classes = classes[order]
        after = np.argmax(sorted_classes == sizes.argmax()) + largest
        spare = (after + rng.integers(0, count - largest, count)) % count
        place = np.where(sorted_classes[place] == sorted_classes, spare, place)
    partner = np.empty(count, np.int32)
    partner[order] = order[place]
    return partner


def joint_embedding(
    images: np.ndarray,
    labels: np.ndarray,
    tokens: CaptionEmbeddings,
    batch_size: int,
    seed: int,
) -> Source:
    """The joint embedding's batches: as many classes as can be.

    Every item is of another class, or each class comes evenly often where there are fewer classes
    than items. Where all images are of one class, each is a class of its own. A batch is `image`
    uint8 `[b, L, L, 3]`, `tokens` `[b, …]` (of one caption at random), `label` `[b]`.

    Args:
      images: `[n, L, L, 3]` uint8. labels: `[n]`. tokens: what the text tower reads of captions.
    """
    several = len(np.unique(labels)) > 1
    labels = labels if several else np.arange(len(images), dtype=np.int32)
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def choose(step: int) -> Batch:
        rng = np.random.default_rng((seed, 2, step))
        rounds, rest = divmod(batch_size, len(classes))
        chosen = [*range(len(classes))] * rounds + [*rng.choice(len(classes), rest, replace=False)]
        chosen = np.array([rng.choice(classes[c]) for c in chosen])
        captions = rng.integers(tokens.offsets[chosen], tokens.offsets[chosen + 1])
        return {"image": chosen.astype(np.int32), "caption": captions.astype(np.int32)}

    def gather(held: Mapping[str, Any], choice: Mapping[str, Any]) -> Mapping[str, Any]:
        image = choice["image"]
        return {
            "image": held["image"][image].reshape(-1, *images.shape[1:]),
            "tokens": held["tokens"][choice["caption"]],
            "label": held["label"][image],
        }

    return Source({"image": _flat(images), "tokens": tokens.flat, "label": labels}, choose, gather)


def on_device(source: Source, wanted: str, devices: jax.sharding.Mesh) -> bool:
    """Whether the split should lie on the devices, each of which holds all of it.

    Args:
      wanted: `config.data.residency`: "device", "host", or "auto", which is "device" where there
        is an accelerator and the split takes no more than SHARE of its memory.
    Raises:
      UserError: `wanted` is none of these, or the split is larger than the device's memory.
    """
    if wanted not in RESIDENCIES:
        choices = ", ".join(RESIDENCIES)
        raise UserError(f"Unknown config.data.residency {wanted!r}; choose from {choices}.")
    device = devices.local_devices[0]  # others don't tell of their memory
    memory = (device.memory_stats() or {}).get("bytes_limit")
    if wanted == "device" and memory and source.held_bytes > memory:
        raise UserError(
            f"The data set takes {source.held_bytes / 2**30:.1f} GiB and the device has "
            f"{memory / 2**30:.1f} GiB; set --config.data.residency=host."
        )
    if wanted == "auto":
        accelerated = device.platform != "cpu"
        return bool(accelerated and memory and source.held_bytes <= SHARE * memory)
    return wanted == "device"


def epoch_order(seed: int, step: int, batch_size: int, images: int) -> np.ndarray:
    """`[batch_size]` indices of the images of a step; the rest of an epoch is dropped."""
    epoch, position = divmod(step, images // batch_size)
    return _permutation(seed, epoch, images)[position * batch_size : (position + 1) * batch_size]


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, images: int) -> np.ndarray:
    return np.random.default_rng((seed, 0, epoch)).permutation(images)


def _flat(images: np.ndarray) -> np.ndarray:
    """`[n, L, L, 3]` → `[n, 3 L²]`: three channels alone fill a TPU's tiles with nothing."""
    return images.reshape(len(images), -1)


def _part_of_this_process(batch: Batch) -> Batch:
    count, index = jax.process_count(), jax.process_index()
    return {name: np.split(value, count)[index] for name, value in batch.items()}


def _read_ahead(make: Callable[[int], Batch], start: int, stop: int) -> Iterator[Batch]:
    """`make(start) … make(stop - 1)`, computed ahead by tf.data in order."""
    if start >= stop:
        return
    try:
        import tensorflow as tf
    except ImportError as error:
        raise UserError(
            "Batches from the host's memory need TensorFlow, which is not installed; install it "
            "or set --config.data.residency=device."
        ) from error

    tf.config.set_visible_devices([], "GPU")
    example = make(start)
    types = [tf.as_dtype(value.dtype) for value in example.values()]
    steps = tf.data.Dataset.range(start, stop).map(
        lambda step: tf.numpy_function(lambda s: list(make(int(s)).values()), [step], types),
        num_parallel_calls=2,
        deterministic=True,
    )
    for values in steps.prefetch(2).as_numpy_iterator():
        yield dict(zip(example, values, strict=True))

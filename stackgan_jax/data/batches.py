"""Training batches as a function of (seed, step): which items a step takes, and how.

The host makes the choice of a step, a few indices per picture. The items are then gathered either
on the host, ahead of the accelerator (by `tf.data`), or on the device, if that holds the whole
split. Both ways run the same lines and return the same batch bit by bit.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from stackgan_jax.data import choices
from stackgan_jax.runtime import packages
from stackgan_jax.runtime.errors import UserError

Batch = Mapping[str, np.ndarray]
RESIDENCIES = ("auto", "host", "device")
DEVICE_SHARE = 0.3  # of the device's memory for a split with "auto"; the step needs the rest


@dataclasses.dataclass(frozen=True)
class CaptionEmbeddings:
    """Embeddings, or tokens, of all captions of a split.

    Attributes:
        flat: `[captions, …]`; `flat[offsets[i]:offsets[i + 1]]` belongs to image i.
        offsets: `[n + 1]` int.
    """

    flat: np.ndarray
    offsets: np.ndarray


@dataclasses.dataclass(frozen=True)
class Source:
    """A split from which batches are taken.

    Attributes:
        held: name → `[n, …]`, the arrays from which batches are gathered.
        choose: step → the choice of the whole batch: name → `[b, …]`, mostly indices into `held`.
        gather: (held, choice) → batch; works on NumPy arrays and, under jit, on device arrays.
    """

    held: Mapping[str, np.ndarray]
    choose: Callable[[int], Batch]
    gather: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]

    @property
    def held_bytes(self) -> int:
        """The size of the held arrays in bytes."""
        return sum(array.nbytes for array in self.held.values())

    def choices(self, start: int, stop: int) -> Iterator[Batch]:
        """This process's part of the choices of the steps from `start` to before `stop`."""
        for step in range(start, stop):
            yield _part_of_this_process(self.choose(step))

    def whole(self, step: int) -> Mapping[str, Any]:
        """The whole batch of a step, of all processes."""
        return self.gather(self.held, self.choose(step))

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """This process's part of the batches of the same steps, gathered ahead on the host."""

        def make(step: int) -> Batch:
            return self.gather(self.held, _part_of_this_process(self.choose(step)))

        return read_ahead(make, start, stop)


def image_text(
    images: np.ndarray,
    labels: np.ndarray,
    embeddings: CaptionEmbeddings,
    batch_size: int,
    captions_per_image: int,
    seed: int,
) -> Source:
    """The source of the GANs' batches.

    A batch has: `image` `[b, L, L, 3]` uint8; `embedding` `[b, t]` float32, the mean over
    `captions_per_image` captions drawn without replacement (over all captions if there are fewer);
    `partner` `[b]` int32, for each image the item whose text does not match it
    (see `choices.mismatched`).
    Each epoch visits every image at most once, in an order drawn from (seed, epoch).

    Args:
        images: `[n, L, L, 3]` uint8.
        labels: `[n]` int32 classes.
        embeddings: of width t.
        batch_size: b, over all processes.
        captions_per_image: number of captions whose embeddings are averaged.
        seed: of all choices.

    Raises:
        UserError: the batch is larger than the data set; while choosing, if it is smaller than 2.
    """
    if len(images) < batch_size:
        raise UserError(
            f"batch_size {batch_size} is more than the data set's {len(images)} images; "
            f"set --config.batch_size to {len(images)} or less."
        )
    counts = np.diff(embeddings.offsets)
    most = int(counts.max())

    def choose(step: int) -> Batch:
        chosen = choices.epoch_order(seed, step, batch_size, len(images))
        first, count = embeddings.offsets[chosen], counts[chosen]
        rng = np.random.default_rng((seed, 1, step))
        return {
            "image": chosen.astype(np.int32),
            **choices.drawn_captions(rng, first, count, most, captions_per_image),
            "partner": choices.mismatched(np.random.default_rng((seed, 3, step)), labels[chosen]),
        }

    def gather(held: Mapping[str, Any], choice: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "image": held["image"][choice["image"]].reshape(-1, *images.shape[1:]),
            "embedding": mean(held["embedding"], choice["captions"], choice["share"]),
            "partner": choice["partner"],
        }

    return Source({"image": _flat(images), "embedding": embeddings.flat}, choose, gather)


def mean(embeddings: Any, captions: Any, share: Any) -> Any:
    """The mean of each image's drawn captions: `[captions, t]`, `[b, k]`, `[b]` → `[b, t]`."""
    # One by one, because a sum in another order may be rounded differently.
    total = embeddings[captions[:, 0]]
    for i in range(1, captions.shape[1]):
        exists = (captions[:, i] >= 0).astype(np.float32)
        total = total + exists[:, None] * embeddings[captions[:, i]]
    return total * share[:, None]


def joint_embedding(
    images: np.ndarray,
    labels: np.ndarray,
    tokens: CaptionEmbeddings,
    batch_size: int,
    seed: int,
    places: np.ndarray | None = None,
) -> Source:
    """The source of the joint embedding's batches, with as many classes in a batch as possible.

    All items are of different classes; if there are fewer classes than items, the numbers of items
    per class differ by at most one. If all images are of one class, each counts as its own class.
    A batch has: `image` `[b, L, L, 3]` uint8; `tokens` `[b, …]` of one random caption per image;
    `label` `[b]` int32.

    Args:
        images: `[n, L, L, 3]` uint8.
        labels: `[n]` int32 classes.
        tokens: the text tower's input for every caption.
        batch_size: b, over all processes.
        seed: of all choices.
        places: `[c, t]` of every caption; a batch then has `place` `[b, t]` as well.
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
        of_captions = {name: held[name][choice["caption"]] for name in by_caption}
        pictures = held["image"][image].reshape(-1, *images.shape[1:])
        return {"image": pictures, "label": held["label"][image], **of_captions}

    by_caption = {"tokens": tokens.flat} | ({} if places is None else {"place": places})
    return Source({"image": _flat(images), "label": labels, **by_caption}, choose, gather)


def on_device(source: Any, wanted: str, devices: jax.sharding.Mesh) -> bool:
    """Whether each device should hold the whole split.

    Args:
        source: a `Source`, or what streams and has None in place of `held`.
        wanted: `config.data.residency`: "device", "host", or "auto", which means "device" if there
            is an accelerator and the split takes at most DEVICE_SHARE of its memory.
        devices: the mesh.

    Raises:
        UserError: `wanted` is unknown, or "device" and the split exceeds the device's memory.
    """
    if wanted not in RESIDENCIES:
        choices = ", ".join(RESIDENCIES)
        raise UserError(f"Unknown config.data.residency {wanted!r}; choose from {choices}.")
    if source.held is None and wanted == "device":
        raise UserError(
            "config.data.residency=device can't hold data that are streamed from config.data.shards"
            "; set --config.data.residency=auto."
        )
    if source.held is None:
        return False
    device = devices.local_devices[0]  # devices of other processes do not report their memory
    memory = (device.memory_stats() or {}).get("bytes_limit")
    if wanted == "device" and memory and source.held_bytes > memory:
        raise UserError(
            f"The data set takes {source.held_bytes / 2**30:.1f} GiB and the device has "
            f"{memory / 2**30:.1f} GiB; set --config.data.residency=host."
        )
    if wanted == "auto":
        accelerated = device.platform != "cpu"
        return bool(accelerated and memory and source.held_bytes <= DEVICE_SHARE * memory)
    return wanted == "device"


def _flat(images: np.ndarray) -> np.ndarray:
    """`[n, L, L, 3]` → `[n, 3 L²]`: a last axis of 3 would leave most of a TPU's tiles empty."""
    return images.reshape(len(images), -1)


def rows_of_this_process(batch_size: int) -> range:
    """The rows of a batch that this process makes."""
    share = batch_size // jax.process_count()
    first = jax.process_index() * share
    return range(first, first + share)


def _part_of_this_process(batch: Batch) -> Batch:
    count, index = jax.process_count(), jax.process_index()
    return {name: np.split(value, count)[index] for name, value in batch.items()}


def read_ahead(
    make: Callable[[int], Batch], start: int, stop: int, workers: int = 2
) -> Iterator[Batch]:
    """Yields `make(start)` to `make(stop - 1)` in order, computed ahead by tf.data.

    Args:
        make: step → batch; several threads call it.
        start: the first step.
        stop: the step after the last.
        workers: the number of batches that are made at once.

    Raises:
        UserError: TensorFlow is missing, or `make` raised it.
    """
    if start >= stop:
        return
    by = "Holding the data in the host's memory, which --config.data.residency=device avoids,"
    with packages.needed("TensorFlow", by):
        import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    failed: list[UserError] = []

    def values(step: np.ndarray) -> list[np.ndarray]:
        try:
            return list(make(int(step)).values())
        except UserError as error:  # TensorFlow would raise its own, with a stack in it
            failed.append(error)
            raise

    example = make(start)
    types = [tf.as_dtype(value.dtype) for value in example.values()]
    steps = tf.data.Dataset.range(start, stop).map(
        lambda step: tf.numpy_function(values, [step], types),
        num_parallel_calls=workers,
        deterministic=True,
    )
    try:
        for batch in steps.prefetch(2).as_numpy_iterator():
            yield dict(zip(example, batch, strict=True))
    except tf.errors.OpError as error:
        if failed:
            raise failed[0] from error
        raise

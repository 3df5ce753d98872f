"""What a step takes from a split, as a function of (seed, step): images, captions, wrong pairs."""

import functools

import numpy as np

from stackgan_jax.runtime.errors import UserError

Choice = dict[str, np.ndarray]


def epoch_order(seed: int, step: int, batch_size: int, images: int) -> np.ndarray:
    """The indices of a step's images, `[batch_size]`; an epoch's incomplete batch is dropped."""
    epoch, position = divmod(step, images // batch_size)
    return _permutation(seed, epoch, images)[position * batch_size : (position + 1) * batch_size]


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, images: int) -> np.ndarray:
    return np.random.default_rng((seed, 0, epoch)).permutation(images)


def drawn_captions(
    rng: np.random.Generator, first: np.ndarray, count: np.ndarray, most: int, drawn: int
) -> Choice:
    """Draws captions of each image of a batch without replacement.

    Args:
        rng: source of the randomness.
        first: `[b]`, index of each image's first caption.
        count: `[b]`, number of each image's captions.
        most: the largest number of captions of any image of the split.
        drawn: number of captions to draw per image.

    Returns:
        `captions` `[b, min(drawn, most)]` int32, -1 where an image has fewer captions, and `share`
        `[b]` float32, one over the number of captions drawn.
    """
    # Sorting random keys draws without replacement; captions that do not exist come last.
    keys = rng.random((len(count), most))
    keys[np.arange(most) >= count[:, None]] = 2
    order = np.argsort(keys, axis=1)[:, :drawn]
    exists = np.arange(order.shape[1]) < count[:, None]
    captions = np.where(exists, first[:, None] + order, -1)
    share = np.float32(1) / np.minimum(count, drawn).astype(np.float32)
    return {"captions": captions.astype(np.int32), "share": share}


def mismatched(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Pairs every item of a batch with an item of another class.

    The result is a random permutation if no class fills more than half of the batch: every item is
    used once, so the partners have the statistics of the batch. If a class fills more than half,
    no such permutation exists, and its remaining items get random items of the other classes, which
    are then used more than once. If there is a single class, every item gets another item.

    Args:
        rng: source of the randomness.
        labels: `[b]` classes.

    Returns:
        `[b]` int32, the index of each item's partner.

    Raises:
        UserError: the batch has fewer than 2 items.
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
    # In `order` each class is contiguous and at most `largest` long: this shift leaves the class.
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

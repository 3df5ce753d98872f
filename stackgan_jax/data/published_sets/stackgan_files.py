"""The files of StackGAN's Data/birds and Data/flowers: names, classes, captions, embeddings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_jax.data.published_sets import source_files
from stackgan_jax.runtime import pickles
from stackgan_jax.runtime.errors import UserError

EMBEDDINGS, TEXTS = "char-CNN-RNN-embeddings.pickle", "text_c10"
DATA = "the preprocessed text embeddings of StackGAN, github.com/hanzhanggit/StackGAN"


def read_embeddings(root: Path, split: str) -> np.ndarray | None:
    """The embeddings of a split, in the order of its images; None if the file does not exist.

    Returns:
        `[images, k, t]` float32, k captions per image.

    Raises:
        UserError: the file contains anything else.
    """
    path = root / split / EMBEDDINGS
    if not path.exists():
        return None
    found = pickles.read(path)
    try:
        found = np.asarray(found, np.float32)
    except (ValueError, TypeError):  # The shapes differ, or these are not numbers.
        found = np.zeros(0)
    if found.ndim != 3 or not found.size or not np.isfinite(found).all():
        raise UserError(
            f"{path} must hold as many embeddings for every image, all of the same width and "
            f"finite; copy {DATA} again."
        )
    return found


def read_names(root: Path, split: str) -> list[str]:
    """The image names, in the order of all pickles: `002.Laysan_Albatross/Laysan_…_1027`.

    Raises:
        UserError: there is an entry that is not a name, or a name occurs twice.
    """
    path = root / split / "filenames.pickle"
    names = entries(path)
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{path} holds more than names; copy {DATA} again.")
    if len(set(names)) < len(names):
        raise UserError(f"{path} holds a name twice; copy {DATA} again.")
    return names


def read_captions(root: Path, split: str, names: list[str], labels: list[int]) -> list[list[str]]:
    """The captions of every image: as many as it has embeddings, or all if there are none.

    A caption whose text is unknown is called by the image's name and the caption's number:
    `002.Laysan_Albatross/Laysan_Albatross_0002_1027 #3`.

    Args:
        root: `config.data.path`.
        split: "train" or "test".
        names: the image names.
        labels: their classes.

    Raises:
        UserError: there are neither texts nor embeddings, an image's text is missing, or the
            number of embeddings differs from the number of names.
    """
    vectors = read_embeddings(root, split)
    if vectors is not None:
        require_as_many(root / split, filenames=names, embeddings=vectors)
    elif not (root / TEXTS).exists():
        raise UserError(
            f"Neither {split}/{EMBEDDINGS} nor {TEXTS} is in {root} (--config.data.path), so the "
            f"images have no captions; {DATA} contain both."
        )
    found = []
    for name, label in zip(names, labels, strict=True):
        known = _text(root, name, label)
        count = len(known) if vectors is None else vectors.shape[1]
        found.append(known[:count] + [f"{name} #{k}" for k in range(len(known), count)])
    return found


def _text(root: Path, name: str, label: int) -> list[str]:
    """The captions of an image; none if the folder of all captions does not exist."""
    if not (root / TEXTS).exists():
        return []
    # Flower names start with Oxford's image folder; their captions are in a folder per class.
    file = f"{TEXTS}/{name.replace('jpg/', f'class_{label:05d}/')}.txt"
    return source_files.captions(source_files.require(root, file, DATA))


def read_labels(root: Path, split: str) -> list[int]:
    """The classes of the images, in the order of all pickles.

    Raises:
        UserError: there is an entry that is not a whole number.
    """
    path = root / split / "class_info.pickle"
    labels = entries(path)
    labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not all(type(label) is int for label in labels):
        raise UserError(
            f"{path} holds more than whole numbers, the images' classes; copy {DATA} again."
        )
    return labels


def entries(path: Path) -> list[Any] | np.ndarray:
    """The list in a pickle.

    Raises:
        UserError: the pickle holds something other than a list.
    """
    found = pickles.read(path)
    if not isinstance(found, list) and getattr(found, "ndim", 0) == 0:
        raise UserError(f"{path} holds {str(found)[:40]!r} and no list; copy the file again.")
    return found


def require_as_many(folder: Path, **read: Sequence[Any]) -> None:
    """Raises UserError unless all lists, by the name of their pickle, are of one length above 0."""
    counts = {name: len(values) for name, values in read.items()}
    if len(set(counts.values())) > 1 or not all(counts.values()):
        found = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
        raise UserError(
            f"The pickles in {folder} do not belong together: they have {found} entries; copy all "
            "of them from one place."
        )

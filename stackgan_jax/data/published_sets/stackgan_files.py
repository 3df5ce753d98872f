"""The files of StackGAN's Data/birds and Data/flowers: names, classes, captions, embeddings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_jax.data.published_sets import owners_files
from stackgan_jax.runtime import pickles
from stackgan_jax.runtime.errors import UserError

EMBEDDINGS, TEXTS = "char-CNN-RNN-embeddings.pickle", "text_c10"
DATA = "the preprocessed text embeddings of StackGAN, github.com/hanzhanggit/StackGAN"


def read_embeddings(root: Path, split: str) -> np.ndarray | None:
    """[images, k, t] float32 of k captions each, in the order of the images; None if not there.

    Raises UserError when they are anything else.
    """
    path = root / split / EMBEDDINGS
    if not path.exists():
        return None
    found = pickles.read(path)
    try:
        found = np.asarray(found, np.float32)
    except (ValueError, TypeError):  # of different shapes, or no numbers
        found = np.zeros(0)
    if found.ndim != 3 or not found.size or not np.isfinite(found).all():
        raise UserError(
            f"{path} doesn't hold as many embeddings of one width for every image; copy "
            f"{DATA} again."
        )
    return found


def read_names(root: Path, split: str) -> list[str]:
    """The images' names in the order of all pickles: `002.Laysan_Albatross/Laysan_…_1027`."""
    names = entries(root / split / "filenames.pickle")
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{root / split}/filenames.pickle holds more than names.")
    if len(set(names)) < len(names):
        raise UserError(f"{root / split}/filenames.pickle holds a name twice.")
    return names


def read_captions(root: Path, split: str, names: list[str], labels: list[int]) -> list[list[str]]:
    """For every image as many captions as it has embeddings, or all where there are none.

    A caption that is not known is called by its image and number: `Laysan_Albatross_0002_1027 #3`.
    """
    vectors = read_embeddings(root, split)
    if vectors is not None:
        require_as_many(root / split, filenames=names, embeddings=vectors)
    elif not (root / TEXTS).exists():
        raise UserError(
            f"Neither {split}/{EMBEDDINGS} nor {TEXTS} is in {root} (--config.data.path), so that "
            f"nothing tells what its images show; {DATA} hold both."
        )
    found = []
    for name, label in zip(names, labels, strict=True):
        known = _text(root, name, label)
        count = len(known) if vectors is None else vectors.shape[1]
        found.append(known[:count] + [f"{name} #{k}" for k in range(len(known), count)])
    return found


def _text(root: Path, name: str, label: int) -> list[str]:
    """An image's captions; none where the folder with all of them is not there."""
    if not (root / TEXTS).exists():
        return []
    # Flowers are named after Oxford's folder of images; their captions lie in one of their class.
    file = f"{TEXTS}/{name.replace('jpg/', f'class_{label:05d}/')}.txt"
    return owners_files.captions(owners_files.require(root, file, DATA))


def read_labels(root: Path, split: str) -> list[int]:
    path = root / split / "class_info.pickle"
    labels = entries(path)
    labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not all(type(label) is int for label in labels):
        raise UserError(f"{path} holds more than whole numbers, the images' classes.")
    return labels


def entries(path: Path) -> list[Any] | np.ndarray:
    """What a pickle lists; UserError where it holds a single thing."""
    found = pickles.read(path)
    if not isinstance(found, list) and getattr(found, "ndim", 0) == 0:
        raise UserError(f"{path} holds {str(found)[:40]!r} and no list; copy it anew.")
    return found


def require_as_many(folder: Path, **read: Sequence[Any]) -> None:
    counts = {name: len(values) for name, values in read.items()}
    if len(set(counts.values())) > 1 or not all(counts.values()):
        found = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
        raise UserError(
            f"The pickles in {folder} don't belong together: entries are {found}; copy all of them "
            "from one place."
        )

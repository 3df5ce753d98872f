"""Classes and splits of the user's pictures, where the folder does not give them."""

import collections
import hashlib
from collections.abc import Sequence

from stackgan_jax.data.folder.annotations import Row
from stackgan_jax.runtime.errors import UserError

CLASSES = ("auto", "given", "captions")
MANY_CLASSES = 20  # enough to separate captions by class and to hold some classes out


def labels(rows: Sequence[Row], classes: str) -> tuple[list[int], bool]:
    """A label for each row, and whether the labels are the folder's classes.

    Training pairs a picture with a caption of another label, as a mismatch. If the folder has no
    classes, or so few that most captions within one class differ, the label stands for the caption:
    two images with different captions have different labels.

    Args:
        rows: the usable images.
        classes: `config.data.classes`: "given" takes the folder's classes; "captions" the captions;
            "auto" the folder's classes if there are at least MANY_CLASSES.

    Raises:
        UserError: `classes` is unknown, or it is "given" and an image has no class.
    """
    if classes not in CLASSES:
        choices = ", ".join(CLASSES)
        raise UserError(f"Unknown config.data.classes {classes!r}; choose from {choices}.")
    kinds = {row.annotation.kind for row in rows}
    if classes == "given" and "" in kinds:
        without = sum(not row.annotation.kind for row in rows)
        raise UserError(
            f"config.data.classes=given needs a class for every image, but {without:,} of "
            f"{len(rows):,} have none; add them, or set --config.data.classes=auto."
        )
    given = classes == "given" or (
        classes == "auto" and "" not in kinds and len(kinds) >= MANY_CLASSES
    )
    keys = [row.annotation.kind if given else row.annotation.captions for row in rows]
    order = {key: label for label, key in enumerate(sorted(set(keys), key=_numerically))}
    return [order[key] for key in keys], given


def splits(rows: Sequence[Row], given: bool, test_fraction: float, seed: int) -> list[str]:
    """The split of each row, "train" or "test": the folder's if it has a test split, else drawn.

    The draw depends on the name of the image, or of its class, so an image stays in its split when
    others are added. If the labels are the folder's classes, whole classes are held out.

    Args:
        rows: the usable images.
        given: whether the labels are the folder's classes.
        test_fraction: `config.data.test_fraction`, the share that is drawn for testing.
        seed: `config.data.split_seed`.

    Raises:
        UserError: `test_fraction` is not between 0 and 1, or there is only one class or image.
    """
    if any(row.annotation.split == "test" for row in rows):
        return [row.annotation.split or "train" for row in rows]
    if not 0 < test_fraction < 1:
        raise UserError(
            f"config.data.test_fraction={test_fraction:g} is not a number between 0 and 1; "
            "0.1 holds out a tenth for testing."
        )
    units = [row.annotation.kind if given else row.name for row in rows]
    drawn = sorted(set(units), key=lambda unit: hashlib.sha256(f"{seed}/{unit}".encode()).digest())
    if len(drawn) < 2:
        what = "class" if given else "usable image"
        raise UserError(
            f"There is only one {what}, so none can be held out for testing; add more"
            + (", or set --config.data.classes=captions." if given else ".")
        )
    held_out = set(drawn[: max(1, round(test_fraction * len(drawn)))])
    return ["test" if unit in held_out else "train" for unit in units]


def remarks(rows: Sequence[Row], where: Sequence[str], given: bool) -> list[str]:
    """Sentences for the user about classes and splits.

    Args:
        rows: the usable images.
        where: the split of each.
        given: whether the labels are the folder's classes.
    """
    found = []
    kinds = collections.defaultdict(set)
    for row, split in zip(rows, where, strict=True):
        if row.annotation.kind:
            kinds[row.annotation.kind].add(split)
    both = sum(len(each) == 2 for each in kinds.values())
    if both and (given or any(row.annotation.split for row in rows)):
        found.append(
            f"{both:,} of {len(kinds):,} classes are in both splits: "
            "the test captions include classes seen in training."
        )
    if kinds and not given:
        found.append(
            f"{len(kinds):,} {'class is' if len(kinds) == 1 else 'classes are'} too few to "
            "separate captions: images with different captions count as different "
            "(config.data.classes=given uses the classes)."
        )
    return found


def _numerically(key: str | tuple[str, ...]) -> tuple:
    """Sorts numbers by value, before everything else."""
    number = isinstance(key, str) and key.isdecimal() and len(key) < 20
    return (0, int(key), key) if number else (1, 0, key)

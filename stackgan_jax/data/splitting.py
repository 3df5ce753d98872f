"""Which class an image counts as and which split it is in, where a folder leaves that open."""

import collections
import hashlib
from collections.abc import Sequence

from stackgan_jax.data.folder.annotations import Row
from stackgan_jax.runtime.errors import UserError

CLASSES = ("auto", "given", "captions")
MANY_CLASSES = 20  # so many tell captions apart, and some can be held out


def labels(rows: Sequence[Row], classes: str) -> tuple[list[int], bool]:
    """A label for each usable row, and whether it is the class that the folder tells.

    Training mismatches pictures and captions of different labels. Where there are no classes, or
    so few that most captions within one differ, two images with other captions are of other labels.

    Args:
      rows: all usable.
      classes: "given", the folder's classes; "captions", by caption; "auto": given from
        MANY_CLASSES on.

    Raises UserError when `classes` is unknown, or "given" and not every image has one.
    """
    if classes not in CLASSES:
        choices = ", ".join(CLASSES)
        raise UserError(f"Unknown config.data.classes {classes!r}; choose from {choices}.")
    kinds = {row.annotation.kind for row in rows}
    if classes == "given" and "" in kinds:
        without = sum(not row.annotation.kind for row in rows)
        raise UserError(
            f"config.data.classes=given needs a class for every image, and {without:,} of "
            f"{len(rows):,} have none; add them, or set --config.data.classes=auto."
        )
    given = classes == "given" or (
        classes == "auto" and "" not in kinds and len(kinds) >= MANY_CLASSES
    )
    keys = [row.annotation.kind if given else row.annotation.captions for row in rows]
    order = {key: label for label, key in enumerate(sorted(set(keys), key=_natural))}
    return [order[key] for key in keys], given


def splits(rows: Sequence[Row], given: bool, test_fraction: float, seed: int) -> list[str]:
    """ "train" or "test" for each row: as the folder tells, or drawn.

    What is drawn depends on the image's name, or its class's, so that an image stays in its split
    when others are added. Whole classes are held out where the labels are the folder's classes.

    Raises UserError when `test_fraction` is no share, or too few images are there to hold one out.
    """
    if any(row.annotation.split == "test" for row in rows):
        return [row.annotation.split or "train" for row in rows]
    if not 0 < test_fraction < 1:
        raise UserError(
            f"config.data.test_fraction={test_fraction:g} is no share between 0 and 1; "
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
    """What a person should know of classes and splits, a sentence each."""
    found = []
    kinds = collections.defaultdict(set)
    for row, split in zip(rows, where, strict=True):
        if row.annotation.kind:
            kinds[row.annotation.kind].add(split)
    both = sum(len(each) == 2 for each in kinds.values())
    if both and (given or any(row.annotation.split for row in rows)):
        found.append(
            f"{both:,} of {len(kinds):,} classes are in both splits: "
            "the test captions are of classes seen in training."
        )
    if kinds and not given:
        found.append(
            f"{len(kinds):,} {'class is' if len(kinds) == 1 else 'classes are'} too few to tell "
            "captions apart: images with other captions count as different "
            "(config.data.classes=given uses the classes)."
        )
    if len({row.annotation.captions for row in rows}) == 1:
        found.append("All images have the same captions: the words tell a network nothing.")
    return found


def _natural(key: str | tuple[str, ...]) -> tuple:
    """Numbers in the order of numbers."""
    number = isinstance(key, str) and key.isdecimal() and len(key) < 20
    return (0, int(key), key) if number else (1, 0, key)

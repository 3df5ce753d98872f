"""Warns of captions that are probably not what the user wants to train on."""

import posixpath
from collections.abc import Sequence

from stackgan_jax.data.folder.annotations import Row

_LIKE_LISTS = ("[", "{")


def warnings(rows: Sequence[Row], without: int) -> list[str]:
    """Returns sentences about captions that are missing, all the same, names, or lists.

    Args:
        rows: the usable images.
        without: the number of further images, which have no caption.
    """
    found = []
    if without > len(rows):
        total = without + len(rows)
        found.append(f"{without:,} of {total:,} pictures have no caption and are left out.")
    if len({row.annotation.captions for row in rows}) == 1:
        found.append("All images have the same captions: a network learns nothing from the words.")
    named = [row for row in rows if _is_named_by(row)]
    if 2 * len(named) > len(rows):
        found.append(
            f"{len(named):,} pictures have their own file name as their caption, the first is "
            f"{named[0].annotation.captions[0]!r}."
        )
    listed = [c for row in rows for c in row.annotation.captions if c.startswith(_LIKE_LISTS)]
    if listed:
        found.append(
            f"{len(listed):,} captions begin with a bracket, which is learnt as a word; the first "
            f"is {listed[0][:60]!r}."
        )
    return [f"Warning: {sentence}" for sentence in found]


def _is_named_by(row: Row) -> bool:
    """Returns whether an image's only caption is its file name."""
    base = posixpath.basename(row.name)
    stem = posixpath.splitext(base)[0]
    written = {base, stem, stem.replace("_", " "), stem.replace("-", " ")}
    return len(row.annotation.captions) == 1 and row.annotation.captions[0] in written

"""Finds the images that a table names, also in other folders than the table says."""

import posixpath
import re
import unicodedata
from collections.abc import Iterable

from stackgan_jax.data.picture_files import is_picture, printable


class ImageNames:
    """Finds the images that tables name, also in sub-folders of the one that the table means."""

    def __init__(self, files: Iterable[str]) -> None:
        # File systems differ in how they store accents, so names are compared in one normal form.
        self._known = {unicodedata.normalize("NFC", name): name for name in files}
        self._by_end: dict[str, str | None] = {}  # the last part of a path → the path, if it is one
        for name in filter(is_picture, files):
            base = unicodedata.normalize("NFC", posixpath.basename(name))
            for end in (base, posixpath.splitext(base)[0]):
                self._by_end[end] = None if end in self._by_end else name
        self._elsewhere = ""

    def found(self, image: str) -> str:
        """Returns the path of an image that a table names; the name itself if there is none."""
        image = unicodedata.normalize("NFC", image)
        for name in (image, without_number(image)):
            if name in self._known:
                return self._known[name]
            if elsewhere := self._by_end.get(posixpath.basename(name)):
                self._elsewhere = self._elsewhere or f"{printable(name)} is {printable(elsewhere)}"
                return elsewhere
        return image

    def remark(self) -> str:
        """Returns how images were found that are not where a table says, or ""."""
        how = f" (images are found by the end of their path: {self._elsewhere})"
        return how if self._elsewhere else ""


def without_number(image: str) -> str:
    """Returns a name without a caption's number: `1.jpg#0`, as Flickr8k writes it, is `1.jpg`."""
    return re.sub(r"#\d+$", "", image)

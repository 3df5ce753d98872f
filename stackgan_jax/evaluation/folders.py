"""A folder of pictures of one size, by any model or camera, read as uint8."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from stackgan_jax.runtime.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class Folder:
    """The pictures of a folder and those below it, decoded when they are asked for.

    It has the shape of an array, uint8 [n, h, w, 3], and slices as one.

    Raises UserError when there is no picture, one can't be read, or their sizes differ.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise UserError(f"There is no folder {folder}.")
        self.files = sorted(
            path for path in self.folder.rglob("*") if path.suffix.lower() in SUFFIXES
        )
        if not self.files:
            kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
            raise UserError(f"There are no pictures in {folder}; they may be {kinds}.")
        self.shape = (len(self.files), *self._common_size(), 3)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, part: slice) -> np.ndarray:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(_try(_decoded), self.files[part]))
        self._refuse_unreadable(found)
        return np.stack(found)

    def _common_size(self) -> tuple[int, int]:
        with ThreadPoolExecutor(4) as pool:
            sizes = list(pool.map(_try(_size), self.files))
        self._refuse_unreadable(sizes)
        counts = {size: sizes.count(size) for size in dict.fromkeys(sizes)}
        if len(counts) > 1:
            told = ", ".join(
                f"{count} of {w}×{h} like {self.files[sizes.index((h, w))].name}"
                for (h, w), count in list(counts.items())[:5]
            )
            more = " and others" if len(counts) > 5 else ""
            raise UserError(
                f"The pictures in {self.folder} have different sizes ({told}{more}); resize them "
                "to one, and say how, for that changes every score."
            )
        return sizes[0]

    def _refuse_unreadable(self, found: Sequence) -> None:
        """Where reading some failed, decodes all, to tell of all that can't be at once."""
        if not any(isinstance(each, Exception) for each in found):
            return
        with ThreadPoolExecutor(4) as pool:
            readable = pool.map(_try(_readable), self.files)
            bad = [str(f) for f, x in zip(self.files, readable, strict=True) if x is not True]
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        raise UserError(
            f"{len(bad)} of {len(self.files)} pictures can't be read: {', '.join(bad[:10])}{more}; "
            "mend or remove them."
        )


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.height, image.width


def _decoded(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _readable(path: Path) -> bool:
    return bool(_decoded(path).size)


def _try(read):
    """Errors as values, so that all unreadable files are told at once."""

    def attempt(path: Path):
        try:
            return read(path)
        # A damaged file can make a decoder raise anything.
        except Exception as error:
            return error

    return attempt

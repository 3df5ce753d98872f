"""Folders of pictures: any model's or camera's pictures of one size, read as uint8."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_jax.data import decoding, picture_files
from stackgan_jax.data.records import Location
from stackgan_jax.runtime.errors import UserError


class Folder:
    """The pictures of a folder and its subfolders, decoded on access.

    It has the shape of an array, uint8 `[n, h, w, 3]`, and can be sliced like one.

    Args:
        folder: the folder.

    Raises:
        UserError: for no pictures, pictures that can't be read, or different sizes.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise UserError(f"There is no folder {folder}.")
        found = picture_files.listing(self.folder)
        self.files = [self.folder / name for name in found.files]
        if found.left_out:
            listed = "; ".join(found.left_out[:5]) + (" …" if len(found.left_out) > 5 else "")
            print(f"{len(found.left_out):,} files of {folder} are left out: {listed}", flush=True)
        if not self.files:
            raise UserError(
                f"There are no pictures in {folder}; use files of type {picture_files.KINDS}."
            )
        self.shape = (len(self.files), *self._common_size(), 3)

    def __len__(self) -> int:
        """Returns the number of pictures."""
        return len(self.files)

    def __getitem__(self, part: slice) -> np.ndarray:
        """Decodes some pictures, uint8 `[b, h, w, 3]`."""
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(_try(_decoded), self.files[part]))
        self._require_readable(found)
        return np.stack(found)

    def _common_size(self) -> tuple[int, int]:
        with ThreadPoolExecutor(4) as pool:
            sizes = list(pool.map(_try(_size), self.files))
        self._require_readable(sizes)
        counts = {size: sizes.count(size) for size in dict.fromkeys(sizes)}
        if len(counts) > 1:
            groups = ", ".join(
                f"{count} of {w}×{h} like {self.files[sizes.index((h, w))].name}"
                for (h, w), count in list(counts.items())[:5]
            )
            more = " and others" if len(counts) > 5 else ""
            raise UserError(
                f"The pictures in {self.folder} have different sizes ({groups}{more}); resize them "
                "to one size, and report how: the method changes every score."
            )
        return sizes[0]

    def _require_readable(self, found: Sequence) -> None:
        """Raises UserError if any result is an error; decodes all files to name every bad one."""
        if not any(isinstance(each, Exception) for each in found):
            return
        with ThreadPoolExecutor(4) as pool:
            readable = pool.map(_try(_readable), self.files)
            bad = [str(f) for f, x in zip(self.files, readable, strict=True) if x is not True]
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        raise UserError(
            f"{len(bad)} of {len(self.files)} pictures can't be read: {', '.join(bad[:10])}{more}; "
            "repair or remove them."
        )


def _size(path: Path) -> tuple[int, int]:
    return decoding.upright_size(Location(path).read())


def _decoded(path: Path) -> np.ndarray:
    return decoding.decode_whole(Location(path).read())


def _readable(path: Path) -> bool:
    return bool(_decoded(path).size)


def _try(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Returns errors as values, so that one error can name all unreadable files."""

    def attempt(path: Path) -> Any:
        try:
            return read(path)
        # A damaged file can make a decoder raise anything.
        except Exception as error:
            return error

    return attempt

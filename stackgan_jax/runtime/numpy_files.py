"""Reads users' .npy and .npz files. A header is believed only as far as the file can bear it out.

NumPy takes memory for as much as a header claims, before it reads.
"""

import contextlib
import io
import math
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

MAX_BYTES = 1 << 34  # of one array
MAX_RATIO = 1032  # deflate can't compress further


def read_npy(path: Path) -> np.ndarray:
    """Opens an .npy file, memory-mapped.

    Raises:
      OSError: it can't be opened.
      ValueError: it is damaged.
    """
    with _damage_as_value_error():
        return np.load(path, mmap_mode="r", allow_pickle=False)


def read_npz(
    path: Any, choose: Callable[[Collection[str]], Iterable[str]]
) -> dict[str, np.ndarray]:
    """Reads arrays of an .npz file.

    Args:
      path: the file, a `Path`, or an `epath.Path` on gs://.
      choose: the names in the file → those that are read.

    Raises:
      OSError: it can't be opened.
      ValueError: it is damaged, it lacks a name, or an array claims more bytes than its part of the
        file can hold, or than MAX_BYTES.
    """
    with (
        path.open("rb") as file,
        _damage_as_value_error(),
        np.load(file, allow_pickle=False) as archive,
    ):
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is an .npy file with the ending .npz")
        file.seek(0, io.SEEK_END)  # which returns no place on gs://
        size = file.tell()
        names = list(choose(archive.files))
        for name in names:
            _require_plausible(archive.zip, name, size)
        return {name: archive[name] for name in names}


@contextlib.contextmanager
def _damage_as_value_error() -> Iterator[None]:
    """Turns whatever NumPy raises on a damaged file, which can be nearly anything."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise ValueError(f"it is damaged, {type(error).__name__}: {error}") from error


def require_size(name: str, size: int, most: int) -> None:
    """Raises ValueError if an array claims more than `most` bytes, or more than MAX_BYTES."""
    if size > min(most, MAX_BYTES):
        raise ValueError(f"the array {name} claims {size:,} bytes")


def _require_plausible(members: zipfile.ZipFile, name: str, file_size: int) -> None:
    present = set(members.namelist())
    info = members.getinfo(f"{name}.npy" if f"{name}.npy" in present else name)
    require_size(name, info.compress_size, file_size)
    require_size(name, info.file_size, MAX_RATIO * info.compress_size)
    with members.open(info) as file:
        first_version = np.lib.format.read_magic(file) == (1, 0)
        header = np.lib.format
        read = header.read_array_header_1_0 if first_version else header.read_array_header_2_0
        shape, _, dtype = read(file)
    require_size(name, math.prod(shape) * dtype.itemsize, info.file_size)

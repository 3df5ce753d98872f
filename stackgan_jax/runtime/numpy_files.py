"""Reads users' .npy and .npz files. A header is believed only as far as the file can bear it out.

NumPy takes memory for as much as a header claims, before it reads.
"""

import math
import zipfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np

MAX_BYTES = 1 << 34  # of one array
MAX_RATIO = 1032  # deflate can't compress further


def read_npy(path: Path) -> np.ndarray:
    """Opens an .npy file, memory-mapped; raises OSError or ValueError."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def read_npz(
    path: Path, choose: Callable[[Collection[str]], Iterable[str]]
) -> dict[str, np.ndarray]:
    """Reads arrays of an .npz file.

    Args:
      path: the file.
      choose: the names in the file → those that are read.

    Raises:
      OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile: it can't be read, or an array
        claims more bytes than its part of the file can hold, or than MAX_BYTES.
    """
    with np.load(path, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is an .npy file with the ending .npz")
        names = list(choose(archive.files))
        with zipfile.ZipFile(path) as members:
            for name in names:
                _require_plausible(members, name, path.stat().st_size)
        return {name: archive[name] for name in names}


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

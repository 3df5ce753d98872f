"""Reads PyTorch's state dicts without PyTorch, and without running code from them.

Both formats: the old one, a row of pickles and then the numbers, and the zip archive of today.
"""

import io
import math
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stackgan_jax.runtime import pickles
from stackgan_jax.runtime.errors import UserError

_MAGIC = 0x1950A86A20F9469CFC6C  # The first pickle of the old format.
_TYPES = {
    **{"Half": "<f2", "Float": "<f4", "Double": "<f8", "BFloat16": "<u2", "Bool": "?"},
    **{"Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8"},
}
_FLOATING = ("Half", "Float", "Double", "BFloat16")


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a state dict.

    Args:
        path: the file.

    Returns:
        Key → array. Floating-point arrays become float32.

    Raises:
        UserError: the file is missing or damaged, holds anything but tensors by name, or asks to
            run code (which is not run).
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from error
    try:
        zipped = content.startswith(b"PK")
        loaded = _from_zip(content) if zipped else _from_pickles(content)
        if not isinstance(loaded, dict) or not all(
            isinstance(key, str) and isinstance(tensor, _Tensor) for key, tensor in loaded.items()
        ):
            raise UserError(f"{path} holds something other than weights by name (a state dict).")
        return {key: tensor.array() for key, tensor in loaded.items()}
    except UserError:
        raise
    except pickles.NotAdmitted as found:
        reason = str(found).removeprefix("it ")
        raise UserError(
            f"{path} is no PyTorch checkpoint, or {reason}, which no weights need; nothing in it "
            "was run."
        ) from None
    except Exception as error:  # A damaged file can raise nearly anything.
        raise UserError(
            f"{path} is no PyTorch checkpoint, or is damaged; copy it from its source again."
        ) from error


class _Storage:
    """A row of numbers in the file, which tensors share; filled in after the pickle is read."""

    __slots__ = ("kind", "numbers")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.numbers: np.ndarray | None = None

    def fill(self, content: bytes, count: int, offset: int = 0) -> int:
        """Takes `count` numbers from a place in the content; returns their bytes."""
        kind = np.dtype(_TYPES[self.kind])
        # An empty buffer would be rejected, even for no numbers.
        self.numbers = np.frombuffer(content, kind, count, offset) if count else np.zeros(0, kind)
        return count * kind.itemsize


class _Tensor(NamedTuple):
    """A view of a storage, by strides in numbers, not bytes."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Returns a contiguous copy, float32 if the numbers are floating-point."""
        numbers, kind = self.storage.numbers, self.storage.kind
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.strides, strict=True))
        count = math.prod(self.size)
        # NumPy doesn't check that a view stays in its memory.
        negative = min((self.offset, *self.size, *self.strides)) < 0
        if negative or count > len(numbers) or (count and last >= len(numbers)):
            raise ValueError("a tensor lies outside its storage")
        strides = [s * numbers.itemsize for s in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.size, strides)
        if kind == "BFloat16":  # float32's upper half
            return (view.astype(np.uint32) << 16).view(np.float32)
        return np.array(view, np.float32 if kind in _FLOATING else view.dtype, order="C")


class _TensorOf(pickles.Name):
    """Stands for `torch._utils._rebuild_tensor`, and for its successor with more arguments."""

    def __call__(self, storage: _Storage, offset: int, size: Any, strides: Any, *_: Any) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without storage")
        return _Tensor(storage, int(offset), tuple(size), tuple(strides))


class _Parameter(pickles.Name):
    """Stands for `torch._utils._rebuild_parameter`."""

    def __call__(self, tensor: _Tensor, *_: Any) -> _Tensor:
        return tensor


class _Ordered(dict):
    """What stands for `collections.OrderedDict` makes; what the pickle sets on it is left out."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _NewOrdered(pickles.Name):
    """Stands for `collections.OrderedDict`."""

    def __call__(self, items: Iterable = ()) -> _Ordered:
        return _Ordered(items)


_ADMITTED = {
    "collections.OrderedDict": _NewOrdered(),
    "torch._utils._rebuild_tensor": _TensorOf(),
    "torch._utils._rebuild_tensor_v2": _TensorOf(),
    "torch._utils._rebuild_parameter": _Parameter(),
    **{f"torch.{kind}Storage": kind for kind in _TYPES},
}


class _Reader(pickles.Reader):
    """The pickle of a state dict, whose storages lie outside of it."""

    def __init__(self, file: io.BytesIO, new_storage: Callable[[str, str, int], _Storage]) -> None:
        super().__init__(file, _ADMITTED, encoding="utf-8")
        self._new_storage = new_storage

    def persistent_load(self, pid: tuple) -> _Storage:
        """Returns the storage that ("storage", type, key, device, numbers, …) names."""
        _, kind, key, _, count, *view = pid
        if kind not in _TYPES or any(part is not None for part in view):
            raise ValueError("a storage of another kind")
        return self._new_storage(kind, key, count)


def _from_zip(content: bytes) -> Any:
    archive = zipfile.ZipFile(io.BytesIO(content))
    (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    folder = pickled.removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") == b"big":
        raise ValueError("big-endian numbers")
    storages: dict[str, _Storage] = {}

    def storage(kind: str, key: str, count: int) -> _Storage:
        if key not in storages:
            storages[key] = _Storage(kind)
            storages[key].fill(archive.read(f"{folder}data/{key}"), count)
        return storages[key]

    return _Reader(io.BytesIO(archive.read(pickled)), storage).load()


def _from_pickles(content: bytes) -> Any:
    file, storages = io.BytesIO(content), {}

    def storage(kind: str, key: str, count: int) -> _Storage:
        return storages.setdefault(key, _Storage(kind))

    def load() -> Any:
        return _Reader(file, storage).load()

    if load() != _MAGIC:
        raise ValueError("the first number is another")
    _, system = load(), load()
    if not system.get("little_endian", True):
        raise ValueError("big-endian numbers")
    loaded, order = load(), load()
    for key in order:
        count = int.from_bytes(file.read(8), "little")
        place = file.tell()
        file.seek(place + storages[key].fill(content, count, place))
    return loaded

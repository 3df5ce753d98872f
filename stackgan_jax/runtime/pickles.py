"""Reads pickles of arrays, lists, strings and numbers without running code from the pickle.

A pickle is a program. It may use the names in `_ADMITTED` only, and each of them stands for an
object of this file, never for the real thing: a pickle can only call code that is written here. Any
other name ends the reading before anything is imported or called.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from stackgan_jax.runtime.errors import UserError, reason

_NUMBERS = re.compile(r"[biuf][1248]")


class NotAdmitted(Exception):
    """The pickle contains or asks for something besides arrays, lists, strings and numbers."""


def read(path: str | Path) -> Any:
    """Reads a pickle of any protocol, including Python 2's.

    Args:
        path: the file.

    Returns:
        Lists, strings, numbers and arrays. Tuples become lists, byte strings become strings (UTF-8,
        or Latin-1 if they are not valid UTF-8), and NumPy scalars become numbers. Arrays are
        read-only: they share the memory that was read.

    Raises:
        UserError: the file cannot be read, is damaged, or contains anything else.
    """
    try:
        with open(path, "rb") as file:
            return _plain(Reader(file, _ADMITTED, encoding="bytes").load())
    except NotAdmitted as found:
        raise UserError(
            f"{path} was not read: {found}, and only arrays, lists, strings and numbers are "
            "allowed. Nothing in it was run."
        ) from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from error
    except Exception as error:  # A damaged pickle can raise nearly anything.
        what = f"{type(error).__name__} {reason(error)}"
        raise UserError(
            f"{path} is damaged or not a pickle ({what}); copy it from its source again."
        ) from error


class Reader(pickle._Unpickler):
    """Finds the admitted names only; `persistent_load` still raises, as in the base class.

    The base class is the unpickler written in Python: the one in C allocates as much memory as a
    damaged file asks for.

    Args:
        file: the pickle.
        admitted: "module.name" → the object that stands for it.
        encoding: of Python 2's strings, or "bytes".
    """

    def __init__(self, file: IO[bytes], admitted: Mapping[str, Any], encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self._admitted = admitted

    def find_class(self, module: str, name: str) -> Any:
        """Returns the object that stands for the name, or raises `NotAdmitted`."""
        name = f"{module}.{name}"
        if name not in self._admitted:
            raise NotAdmitted(f"it asks for {name[:80]}")
        return self._admitted[name]


class _Type:
    """Stands for a NumPy dtype; only dtypes of numbers are created."""

    __slots__ = ("dtype",)

    def __init__(self, code: str) -> None:
        if not _NUMBERS.fullmatch(code):
            raise NotAdmitted(f"it holds an array of type {code[:20]!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        _, order, *structure = state[:5]
        if any(part is not None for part in structure):
            raise NotAdmitted("it holds a structured array")
        self.dtype = self.dtype.newbyteorder(_text(order))


class _Array:
    """Stands for a NumPy array, which is created when its contents are read."""

    __slots__ = ("array",)

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_columns, data = state
        self.array = _array(data, kind, shape, "F" if by_columns else "C")


class Name:
    """Stands for an admitted name; the pickle cannot set attributes of it."""

    __slots__ = ()


class _NewArray(Name):
    """Stands for `numpy.core.multiarray._reconstruct`."""

    def __call__(self, *_: Any) -> _Array:
        return _Array()


class _NewType(Name):
    """Stands for `numpy.dtype`."""

    def __call__(self, code: str | bytes, *_: Any) -> _Type:
        return _Type(_text(code))


class _NewScalar(Name):
    """Stands for `numpy.core.multiarray.scalar`."""

    def __call__(self, kind: _Type, data: str | bytes) -> int | float | bool:
        return _array(data, kind, (), "C").item()


class _FromBuffer(Name):
    """Stands for `numpy.core.numeric._frombuffer`, which protocol 5 uses."""

    def __call__(self, data: bytes, kind: _Type, shape: tuple, order: str) -> _Array:
        made = _Array()
        made.array = _array(data, kind, shape, order)
        return made


class _Encode(Name):
    """Stands for `_codecs.encode`, with which Python 3 writes bytes for Python 2."""

    def __call__(self, text: str, encoding: str) -> bytes:
        return _bytes(text)


class _EmptyBytes(Name):
    """Stands for `bytes`, with which Python 3 writes empty bytes for Python 2."""

    def __call__(self) -> bytes:
        return b""


_ADMITTED = {
    "numpy.ndarray": Name(),  # An argument of `_reconstruct` that is not needed.
    "numpy.dtype": _NewType(),
    "_codecs.encode": _Encode(),
    "__builtin__.bytes": _EmptyBytes(),
    **{
        f"numpy.{core}.{name}": made
        for core in ("core", "_core")  # Before NumPy 2, and since.
        for name, made in {
            "multiarray._reconstruct": _NewArray(),
            "multiarray.scalar": _NewScalar(),
            "numeric._frombuffer": _FromBuffer(),
        }.items()
    },
}


def _array(data: str | bytes, kind: _Type, shape: tuple, order: str) -> np.ndarray:
    return np.frombuffer(_bytes(data), kind.dtype).reshape(shape, order=order)


def _bytes(data: str | bytes) -> bytes:
    return data.encode("latin-1") if isinstance(data, str) else data


def _text(data: str | bytes) -> str:
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _plain(value: Any) -> Any:
    """Replaces `_Array`s by their arrays; raises `NotAdmitted` for other objects."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, str | bytes):
        return _text(value)
    if isinstance(value, bool | int | float):
        return value
    raise NotAdmitted(f"it holds a {type(value).__name__.lstrip('_')}")

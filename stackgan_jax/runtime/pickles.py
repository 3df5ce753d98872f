"""Reads pickles of arrays, lists, strings and numbers, and lets nothing else in them come to life.

A pickle is a program. The names that it may use are those of `_ADMITTED`, and behind each stands an
object of this file, never the thing that the name says: what a pickle calls is only ever code that
is written here. Any other name stops the reading before anything is imported or called.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_jax.runtime.errors import UserError

_NUMBERS = re.compile(r"[biuf][1248]")


class _Refused(Exception):
    """What a pickle holds or asks for that is none of arrays, lists, strings and numbers."""


def read(path: str | Path) -> Any:
    """The lists, strings, numbers and arrays of a pickle of any protocol, Python 2's included.

    Tuples come as lists, byte strings as strings (UTF-8, or Latin-1 where they are none), numpy's
    scalars as numbers. Arrays share the memory that was read and can't be written to.

    Raises: UserError, naming the file, when it can't be read, is damaged, or holds anything else.
    """
    try:
        with open(path, "rb") as file:
            return _plain(_Reader(file, encoding="bytes").load())
    except _Refused as refused:
        raise UserError(
            f"{path} was not read: {refused}, and only arrays, lists, strings and numbers are "
            "admitted. Nothing in it was run."
        ) from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = " ".join(f"{type(error).__name__} {error}".split())[:100]
        raise UserError(f"{path} is damaged or no pickle ({reason}); copy it anew.") from error


class _Reader(pickle._Unpickler):
    """Finds the admitted names only; `persistent_load` stays the refusal that it is.

    The unpickler in Python: that in C sets aside whatever memory a damaged file asks for.
    """

    def find_class(self, module: str, name: str) -> Any:
        name = f"{module}.{name}"
        if name not in _ADMITTED:
            raise _Refused(f"it asks for {name[:80]}")
        return _ADMITTED[name]


class _Type:
    """Stands for a numpy dtype; only those of numbers are made."""

    __slots__ = ("dtype",)

    def __init__(self, code: str):
        if not _NUMBERS.fullmatch(code):
            raise _Refused(f"it holds an array of type {code[:20]!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        _, order, *structure = state[:5]
        if any(part is not None for part in structure):
            raise _Refused("it holds a structured array")
        self.dtype = self.dtype.newbyteorder(_text(order))


class _Array:
    """Stands for a numpy array, which is made when its contents come."""

    __slots__ = ("array",)

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_columns, data = state
        self.array = _array(data, kind, shape, "F" if by_columns else "C")


class _Name:
    """What a pickle gets for an admitted name: no attribute of it can be set."""

    __slots__ = ()


class _NewArray(_Name):
    """`numpy.core.multiarray._reconstruct`."""

    def __call__(self, *_: Any) -> _Array:
        return _Array()


class _NewType(_Name):
    """`numpy.dtype`."""

    def __call__(self, code: str | bytes, *_: Any) -> _Type:
        return _Type(_text(code))


class _NewScalar(_Name):
    """`numpy.core.multiarray.scalar`."""

    def __call__(self, kind: _Type, data: str | bytes) -> int | float | bool:
        return _array(data, kind, (), "C").item()


class _FromBuffer(_Name):
    """`numpy.core.numeric._frombuffer`, of protocol 5."""

    def __call__(self, data: bytes, kind: _Type, shape: tuple, order: str) -> _Array:
        made = _Array()
        made.array = _array(data, kind, shape, order)
        return made


class _Encode(_Name):
    """`_codecs.encode`, by which Python 3 writes bytes for Python 2."""

    def __call__(self, text: str, encoding: str) -> bytes:
        return _bytes(text)


class _NoBytes(_Name):
    """`bytes`, by which Python 3 writes an empty one for Python 2."""

    def __call__(self) -> bytes:
        return b""


_ADMITTED = {
    "numpy.ndarray": _Name(),  # an argument that says nothing new
    "numpy.dtype": _NewType(),
    "_codecs.encode": _Encode(),
    "__builtin__.bytes": _NoBytes(),
    **{
        f"numpy.{core}.{name}": made
        for core in ("core", "_core")  # before numpy 2, and since
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
    """`value` with arrays in place of what stood for them; raises `_Refused` for other things."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, str | bytes):
        return _text(value)
    if isinstance(value, bool | int | float):
        return value
    raise _Refused(f"it holds a {type(value).__name__.lstrip('_')}")

"""Reads files of Lua Torch's `torch.save` (.t7). Code in a file is never run.

The binary format is that of Torch7's File.lua and generic/{Storage,Tensor}.c on a 64-bit machine:
little-endian, ints of 4 bytes, longs of 8. Every table and object has a number; later references
to it are that number alone.
"""

import dataclasses
import math
import mmap
import re
import struct
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_jax.runtime.errors import UserError, reason

_NIL, _NUMBER, _STRING, _TABLE, _OBJECT, _BOOLEAN = range(6)
_UNNUMBERED_FUNCTION, _FUNCTIONS = 6, (7, 8)
_ARRAY_CLASS = re.compile(
    r"torch\.(?:Cuda)?(Byte|Char|Short|Int|Long|Half|Float|Double|)(Storage|Tensor)"
)
_DTYPES = {
    "Byte": "u1",
    "Char": "i1",
    "Short": "<i2",
    "Int": "<i4",
    "Long": "<i8",
    "Half": "<f2",
    "Float": "<f4",
    "Double": "<f8",
    "": "<f4",  # torch.CudaTensor
}
# The graph of an encoder has some thousand levels. No file of Torch is deeper than this.
_DEEPEST = 100_000
_MOST_DIMENSIONS = 32


class Table(dict):
    """A Lua table. Keys that are numbers are floats; table[1] is the first item.

    A table is equal only to itself.
    """

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"a table of {len(self)}"  # Without items, which may refer to the table itself.

    def items_in_order(self) -> list[Any]:
        """Returns the values of the keys 1, 2, 3 … up to the first missing key."""
        found = []
        while len(found) + 1 in self:
            found.append(self[len(found) + 1])
        return found


@dataclasses.dataclass(eq=False)
class Object:
    """An object of a Torch class.

    Attributes:
        kind: The class, for example `nn.Linear`.
        fields: Its fields.
    """

    kind: str
    fields: Table = dataclasses.field(default_factory=Table, repr=False)

    def __getitem__(self, name: str) -> Any:
        """Returns a field, or None if it is missing, as in Lua."""
        return self.fields.get(name)


def load(path: str | Path) -> Any:
    """Reads a file of `torch.save`.

    Returns:
        None, float, bool, str, Table, Object, or a read-only array for a tensor or a storage. A
        function becomes None.

    Raises:
        UserError: If the file can't be read, has another format, or is cut short.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).read()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from error
    except (ValueError, struct.error, TypeError, OverflowError) as error:
        raise UserError(
            f"{path} is no Lua Torch file, or a damaged one: {reason(error)}."
        ) from error


class _Reader:
    """Reads values from the bytes of a file, from its beginning."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.position = 0
        self.numbered: dict[int, Any] = {}

    def read(self) -> Any:
        """Returns the value in the file. Nested values are read without recursion.

        Each method that is a generator yields the generators of the values inside its value.
        """
        nested, value = [self._value()], None
        while nested:
            if len(nested) > _DEEPEST:
                raise ValueError("it is nested too deeply")
            try:
                nested.append(nested[-1].send(value))
                value = None
            except StopIteration as finished:
                nested.pop()
                value = finished.value
        return value

    def _value(self) -> Generator[Generator, Any, Any]:
        kind = self._int()
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            return self._unpack("<d")
        if kind == _STRING:
            return self._string()
        if kind == _BOOLEAN:
            return self._int() == 1
        if kind == _UNNUMBERED_FUNCTION:
            return (yield self._function())
        if kind not in (_TABLE, _OBJECT, *_FUNCTIONS):
            raise ValueError(f"unknown kind of value {kind} at byte {self.position - 4}")
        number = self._int()
        if number in self.numbered:
            return self.numbered[number]
        if kind == _TABLE:
            return (yield self._table(number))
        if kind == _OBJECT:
            return (yield self._object(number))
        self.numbered[number] = None
        return (yield self._function())

    def _table(self, number: int) -> Generator[Generator, Any, Table]:
        table = self.numbered[number] = Table()
        for _ in range(self._int()):
            key = yield self._value()
            table[key] = yield self._value()
        return table

    def _object(self, number: int) -> Generator[Generator, Any, Any]:
        kind = self._string()
        if kind.startswith("V "):  # The version, which the earliest files don't have.
            kind = self._string()
        array = _ARRAY_CLASS.fullmatch(kind)
        if array:
            dtype = np.dtype(_DTYPES[array[1]])
            if array[2] == "Storage":
                value = np.frombuffer(self._bytes(self._long() * dtype.itemsize), dtype)
            else:
                value = yield self._tensor(dtype)
            self.numbered[number] = value
            return value
        # The number is assigned before the fields are read, because they may refer to it.
        made = self.numbered[number] = Object(kind)
        fields = yield self._value()
        if not isinstance(fields, Table):
            raise ValueError(f"{kind} has no table of fields")
        made.fields.update(fields)
        return made

    def _tensor(self, dtype: np.dtype) -> Generator[Generator, Any, np.ndarray]:
        dimensions = self._int()
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {dimensions} dimensions")
        shape = [self._long() for _ in range(dimensions)]
        strides = [self._long() * dtype.itemsize for _ in range(dimensions)]
        offset = (self._long() - 1) * dtype.itemsize
        storage = yield self._value()
        if not dimensions or storage is None:
            return np.zeros(0, dtype)
        if not isinstance(storage, np.ndarray) or math.prod(shape) > storage.size:
            raise ValueError("a tensor has more numbers than its storage")
        # NumPy's constructor checks that the view stays inside the storage.
        return np.ndarray(shape, dtype, storage, offset, strides)

    def _function(self) -> Generator[Generator, Any, None]:
        self._bytes(self._int())  # The bytecode; the captured values follow.
        yield self._value()

    def _bytes(self, count: int) -> bytes:
        if count < 0 or count > len(self.data) - self.position:
            raise ValueError(f"it is cut short at byte {len(self.data)}")
        self.position += count
        return self.data[self.position - count : self.position]

    def _unpack(self, code: str) -> Any:
        return struct.unpack(code, self._bytes(struct.calcsize(code)))[0]

    def _int(self) -> int:
        return self._unpack("<i")

    def _long(self) -> int:
        return self._unpack("<q")

    def _string(self) -> str:
        return self._bytes(self._int()).decode("latin-1")

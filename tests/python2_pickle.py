"""Writes pickles as Python 2.7 and NumPy 1.x did, for tests of the reader."""

import struct

import numpy as np

_DTYPE = b"cnumpy\ndtype\n"
_NDARRAY = b"cnumpy\nndarray\n"
_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
_SCALAR = b"cnumpy.core.multiarray\nscalar\n"


def dumps(value, protocol=2):
    """`pickle.dumps(value, protocol)` of Python 2.7 in protocol 0 or 2, without memo opcodes.

    bytes become Python 2's str and str becomes its unicode. Tuples, lists, numbers, None and NumPy
    arrays and scalars keep their types.
    """
    prefix = b"\x80\x02" if protocol == 2 else b""
    return prefix + (_binary if protocol == 2 else _text)(value) + b"."


def _binary(value):
    if isinstance(value, np.ndarray | np.generic):
        return _numpy(value, _binary, b"\x87R")
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value) if abs(value) < 2**31 else b"\x8a" + _long(value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, bytes):
        short = len(value) < 256
        return (b"U" + bytes([len(value)]) if short else b"T" + _size(value)) + value
    if isinstance(value, str):
        encoded = value.encode("utf-8")
        return b"X" + _size(encoded) + encoded
    if value is None:
        return b"N"
    inside = b"".join(map(_binary, value))
    return b"](" + inside + b"e" if isinstance(value, list) else b"(" + inside + b"t"


def _text(value):
    if isinstance(value, np.ndarray | np.generic):
        return _numpy(value, _text, b"tR")
    if isinstance(value, bool):
        return b"I01\n" if value else b"I00\n"
    if isinstance(value, int):
        return b"I%d\n" % value if abs(value) < 2**63 else b"L%dL\n" % value
    if isinstance(value, float):
        return b"F" + repr(value).encode() + b"\n"
    if isinstance(value, bytes):
        return b"S" + repr(value)[1:].encode() + b"\n"
    if isinstance(value, str):
        value = value.replace("\\", "\\u005c").replace("\n", "\\u000a")
        return b"V" + value.encode("raw-unicode-escape") + b"\n"
    if value is None:
        return b"N"
    inside = [_text(item) for item in value]
    if isinstance(value, list):
        return b"(l" + b"".join(item + b"a" for item in inside)
    return b"(" + b"".join(inside) + b"t"


def _numpy(value, write, call):
    """The calls that construct an array or a scalar; `call` closes three arguments and calls."""
    mark = b"(" if call[0] == ord("t") else b""
    order = value.dtype.byteorder.replace("=", "<").encode()
    kind = f"{value.dtype.kind}{value.dtype.itemsize}".encode()
    dtype = _DTYPE + mark + write(kind) + write(0) + write(1) + call
    dtype += write((3, order, None, None, None, -1, -1, 0)) + b"b"
    if isinstance(value, np.generic):
        return _SCALAR + b"(" + dtype + write(value.tobytes()) + b"tR"
    made = _RECONSTRUCT + mark + _NDARRAY + write((0,)) + write(b"b") + call
    by_columns = value.flags.f_contiguous and not value.flags.c_contiguous
    data = value.tobytes(order="F" if by_columns else "C")
    state = write(1) + write(tuple(value.shape)) + dtype + write(by_columns) + write(data)
    return made + b"(" + state + b"tb"


def _size(data):
    return struct.pack("<i", len(data))


def _long(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return bytes([len(data)]) + data

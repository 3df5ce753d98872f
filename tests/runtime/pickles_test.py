"""Pickles: values of every protocol are read; other objects are rejected, and no code runs."""

import pickle

import numpy as np
import pytest
import python2_pickle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stackgan_jax.runtime import pickles
from stackgan_jax.runtime.errors import UserError

# Written by Python 2.7.18 with numpy 1.16.6: pickle.dumps(VALUE) and cPickle.dumps(VALUE, 2).
VALUE = [b"002.Laysan", "café", 2, 1.5, True, np.array([[[0, 10, 39], [92, 128, 255]]], np.uint8)]
PROTOCOL_0 = (
    b"(lp0\nS'002.Laysan'\np1\naVcaf\xe9\np2\naI2\naF1.5\naI01\nacnumpy.core.multiarray\n"
    b"_reconstruct\np3\n(cnumpy\nndarray\np4\n(I0\ntp5\nS'b'\np6\ntp7\nRp8\n(I1\n(I1\nI2\nI3\ntp9\n"
    b"cnumpy\ndtype\np10\n(S'u1'\np11\nI0\nI1\ntp12\nRp13\n(I3\nS'|'\np14\nNNNI-1\nI-1\nI0\ntp15\n"
    b'bI00\nS"\\x00\\n\'\\\\\\x80\\xff"\np16\ntp17\nba.'
)
PROTOCOL_2 = (
    b"\x80\x02]q\x01(U\n002.Laysanq\x02X\x05\x00\x00\x00caf\xc3\xa9q\x03K\x02G?\xf8\x00\x00\x00\x00"
    b"\x00\x00\x88cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85U\x01b"
    b"\x87Rq\x06(K\x01K\x01K\x02K\x03\x87cnumpy\ndtype\nq\x07U\x02u1K\x00K\x01\x87Rq\x08(K\x03U\x01|"
    b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06\x00\n'\\\x80\xfftbe."
)


def read(stream, folder):
    (folder / "some.pickle").write_bytes(stream)
    return pickles.read(folder / "some.pickle")


def same(value, expected):
    if isinstance(expected, list | tuple):
        return len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(expected, np.ndarray):
        return value.dtype == expected.dtype and np.array_equal(value, expected, equal_nan=True)
    if isinstance(expected, bytes):
        expected = expected.decode("latin-1")
    if isinstance(expected, np.generic):
        expected = expected.item()
    return value == expected and type(value) is type(expected)


@pytest.mark.parametrize("stream", [PROTOCOL_0, PROTOCOL_2])
def test_reads_pickles_that_python_2_wrote(stream, tmp_path):
    value = read(stream, tmp_path)
    assert value[:5] == ["002.Laysan", "café", 2, 1.5, True]
    np.testing.assert_array_equal(value[5], VALUE[5])
    assert value[5].dtype == np.uint8


numbers = arrays.arrays(
    st.sampled_from(["u1", "<i8", ">i4", "<f4", ">f8", "b1"]), arrays.array_shapes(max_dims=4)
)
leaves = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.booleans(),
    st.text("aé優\n'\\ _/."),
    st.binary().filter(lambda data: not any(byte > 127 for byte in data)),
    numbers,
    numbers.map(np.asfortranarray),
    st.floats(width=32, allow_nan=False).map(np.float32),
    st.integers(-(2**63), 2**63 - 1).map(np.int64),
)
values = st.recursive(leaves, lambda inside: st.lists(inside, max_size=4), max_leaves=8)


@settings(max_examples=60)
@given(values)
def test_reads_every_value_of_every_protocol(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("pickles")
    for protocol in (0, 2):
        assert same(read(python2_pickle.dumps(value, protocol), folder), value)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert same(read(pickle.dumps(value, protocol), folder), value)


def test_bytes_that_are_not_utf_8_are_read_as_latin_1(tmp_path):
    assert read(python2_pickle.dumps([b"caf\xe9", "café".encode()]), tmp_path) == ["café", "café"]


class Touch:
    """Creates a file when it is unpickled with `pickle.loads`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def attacks(path):
    """Yields pickles that create the file `path` when they are read with `pickle.loads`."""
    name = str(path)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.dumps(Touch(path), protocol)
        yield pickle.dumps([np.zeros(2), Touch(path)], protocol)
        yield pickle.dumps(np.array([Touch(path)], dtype=object), protocol)
    argument = f"S'{name}'\nS'w'\n".encode()
    yield b"cio\nopen\n(" + argument + b"tR."  # GLOBAL, REDUCE
    yield b"(" + argument + b"iio\nopen\n."  # INST
    yield b"(cio\nopen\n" + argument + b"o."  # OBJ
    yield b"cposix\nsystem\n(S'touch " + name.encode() + b"'\ntR."
    yield b"c__builtin__\neval\n(S'open(\"" + name.encode() + b'", "w")\'\ntR.'
    # Attributes of an admitted name, and BUILD.
    yield b"\x80\x04\x8c\x16numpy.core.multiarray.x\x8c\x01y\x93."
    yield b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93."
    yield b"cnumpy\ndtype\n(S'__call__'\ncio\nopen\ndb(" + argument + b"tR."


def test_code_in_a_pickle_does_not_run(tmp_path):
    path = tmp_path / "made"
    for stream in attacks(path):
        with pytest.raises(UserError):
            read(stream, tmp_path)
        assert not path.exists()


def test_the_code_runs_with_the_standard_unpickler(tmp_path):
    path, worked = tmp_path / "made", 0
    for stream in attacks(path):
        try:
            pickle.loads(stream)
        except Exception:
            continue
        worked += path.exists()
        path.unlink(missing_ok=True)
    assert worked >= 3 * (pickle.HIGHEST_PROTOCOL + 1)


@given(st.binary(max_size=60), st.integers(0, 400))
def test_a_damaged_pickle_is_reported_in_one_sentence(tmp_path_factory, noise, at):
    folder = tmp_path_factory.mktemp("pickles")
    for stream in (noise, PROTOCOL_2[:at], PROTOCOL_2[:at] + noise + PROTOCOL_2[at + len(noise) :]):
        try:
            read(stream, folder)
        except UserError as error:
            assert "some.pickle" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"a": 1}, "dict"),
        ([None], "NoneType"),
        ({1, 2}, "set"),
        (np.array(["a", None], dtype=object), "'O8'"),
        (np.zeros(2, dtype=[("a", "i4")]), "'V4'"),
        (np.array(["a"]), "'U1'"),
        (1j, "complex"),
        (np.complex64(1), "'c8'"),
        (pickles.read, "stackgan_jax.runtime.pickles.read"),
    ],
)
def test_other_objects_are_rejected_by_name(value, named, tmp_path):
    with pytest.raises(UserError, match=named):
        read(pickle.dumps(value, 2), tmp_path)


def test_an_admitted_name_without_a_value_is_rejected(tmp_path):
    for name in (b"cnumpy\nndarray\n.", b"cnumpy\ndtype\n.", b"c_codecs\nencode\n."):
        with pytest.raises(UserError, match="was not read"):
            read(name, tmp_path)


def test_a_missing_file_and_a_folder_are_reported(tmp_path):
    with pytest.raises(UserError, match=r"nothing.pickle can't be read: No such file"):
        pickles.read(tmp_path / "nothing.pickle")
    with pytest.raises(UserError, match="can't be read"):
        pickles.read(tmp_path)

"""Any content of a folder's files gives valid rows or a UserError."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_folders import write_files

from stackgan_jax.data.folder import layouts
from stackgan_jax.data.folder.annotations import clean
from stackgan_jax.runtime.errors import UserError

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
keys = st.sampled_from(["file_name", "text", "caption", "class_id", "class", "bbox", "split"])
names = st.sampled_from(["a.png", "b.png", "../a.png", "sub/c.png", ""])
rows = st.dictionaries(keys, anything | names | st.just([1, 2, 3, 4]), max_size=5)


def is_utf8(text):
    """Whether a text can be printed and written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A function: name, content → the valid rows of a folder with that file and two images."""
    folder = write_files(tmp_path_factory.mktemp("fuzz"), {"a.png": b"1", "sub/c.png": b"2"})
    images = {"a.png": folder / "a.png", "sub/c.png": folder / "sub" / "c.png"}

    def read(name, content):
        write_files(folder, {name: content})
        left_out = []
        try:
            found = layouts.read({name: folder / name, **images}, left_out)
        except UserError as error:
            assert str(error)
            return []
        assert len({row.name for row in found}) == len(found)
        for row in found:
            assert row.problem or row.image is not None
            assert all(caption and caption == clean(caption) for caption in row.annotation.captions)
            assert row.annotation.split in ("", "train", "test")
            assert all(map(is_utf8, [row.name, row.problem, *row.annotation.captions]))
        assert all(map(is_utf8, left_out))
        return found

    return read


fuzz = settings(max_examples=50, deadline=None)


@fuzz
@given(st.lists(rows, max_size=4))
def test_any_json_rows_are_read_or_reported(read, lines):
    found = read("metadata.jsonl", lines)
    assert len(found) <= len(lines)


@fuzz
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_as_json_lines_are_read_or_reported(read, lines):
    read("metadata.jsonl", b"\n".join(lines))


cells = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(["a.png", '["x"]'])


@fuzz
@given(st.lists(st.lists(cells, min_size=1, max_size=4), max_size=4), st.binary(max_size=20))
def test_any_csv_is_read_or_reported(read, table, after):
    text = "file_name,text,bbox\n" + "\n".join(",".join(row) for row in table)
    read("metadata.csv", text.encode() + after)


@fuzz
@given(st.binary(max_size=60))
def test_any_text_file_is_read_or_reported(read, content):
    (row, other) = read("a.txt", content)
    assert (row.name, other.annotation.captions) == ("a.png", ())
    if not row.problem:
        assert len(row.annotation.captions) <= len(content.splitlines()) + 1


def _whole_shard():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in {"1.png": b"12345", "1.txt": b"one", "1.json": b"{}"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()[: 512 * 8]


SHARD = _whole_shard()


@fuzz
@given(st.data())
def test_any_damaged_shard_is_read_or_reported(read, data):
    content = bytearray(SHARD)
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read("x.tar", bytes(content[: data.draw(st.integers(0, len(content)))]))

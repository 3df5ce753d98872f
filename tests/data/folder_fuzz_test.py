"""Any content of a folder's files gives valid rows or a UserError."""

import io
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_folders import write_files

from stackgan_jax.data.folder import layouts, values
from stackgan_jax.data.folder.values import clean
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
        try:
            reading = layouts.read({name: folder / name, **images})
        except UserError as error:
            assert str(error)
            return []
        found = reading.rows
        assert len({row.name for row in found}) == len(found)
        for row in found:
            assert row.problem or row.image is not None
            assert all(caption and caption == clean(caption) for caption in row.annotation.captions)
            assert row.annotation.split in ("", "train", "test")
            assert all(map(is_utf8, [row.name, row.problem, *row.annotation.captions]))
        assert all(map(is_utf8, [*reading.left_out, *reading.remarks]))
        return found

    return read


fuzz = settings(max_examples=50)


@fuzz
@given(st.lists(rows, max_size=4))
def test_any_json_rows_are_read_or_reported(read, lines):
    found = read("metadata.jsonl", lines)
    assert len(found) <= len(lines)


@fuzz
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_as_json_lines_are_read_or_reported(read, lines):
    read("metadata.jsonl", b"\n".join(lines))


images = st.fixed_dictionaries({}, optional={"id": anything, "file_name": names | anything})
captions = st.fixed_dictionaries({}, optional={"image_id": anything, "caption": anything})
coco = st.fixed_dictionaries({"images": st.lists(images) | anything}) | st.fixed_dictionaries(
    {"images": st.lists(images), "annotations": st.lists(captions) | anything}
)
by_image = st.dictionaries(names, rows | anything)


@fuzz
@given(anything | st.lists(rows | anything, max_size=4) | coco | by_image)
def test_any_json_table_is_read_or_reported(read, content):
    for name in ("metadata.json", "list.json"):
        read(name, json.dumps(content))


@fuzz
@given(st.text(st.sampled_from("[]()'\"{},ab \\\n\0"), max_size=12))
def test_any_list_in_a_cell_is_read_or_reported(text):
    try:
        assert all(values.captions("[" + text))
    except values.Unusable as reason:
        assert str(reason)


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


SIZES = [1 << 50, -512, (1 << 90) - 1]
KINDS = [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_SPARSE]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_headers_of_any_size_are_reported_and_not_believed(read, size, kind):
    member = tarfile.TarInfo("2.png")
    member.type = kind
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size.to_bytes(12, "big", signed=True)
    if size > 0:
        header[124] |= 0x80
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    files = SHARD[: 512 * 6]  # without the blocks that end the shard
    read("x.tar", files + bytes(header) + b"5 size=1\n".ljust(512, b"\0") + b"\0" * 1024)

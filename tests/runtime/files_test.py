"""Files and folders are written whole or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackgan_jax.runtime import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@given(st.text(), st.text())
def test_text_is_written_and_replaced_whole(tmp_path_factory, before, after):
    path = tmp_path_factory.mktemp("files") / "page.txt"
    for text in (before, after):
        files.write_text(path, text)
        assert path.read_bytes() == text.encode("utf-8")
    assert names(path.parent) == ["page.txt"]


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "page.txt"
    path.write_text("old")
    with files.replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@given(st.binary(max_size=50), st.booleans())
def test_an_error_keeps_the_old_file_and_removes_the_partial_one(tmp_path_factory, written, exists):
    path = tmp_path_factory.mktemp("files") / "page.txt"
    if exists:
        path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as partial:
        partial.write_bytes(written)
        raise ZeroDivisionError
    assert names(path.parent) == (["page.txt"] if exists else [])
    assert not exists or path.read_text() == "old"


def test_text_that_cannot_be_encoded_keeps_the_old_file(tmp_path):
    path = tmp_path / "page.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "half \ud800")
    assert names(tmp_path) == ["page.txt"] and path.read_text() == "old"


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "page.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), files.replacing(path):
        pass
    assert path.read_text() == "old"


def test_a_file_in_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.write_text(tmp_path / "none" / "page.txt", "text")


contents = st.dictionaries(st.sampled_from("abcd"), st.text(max_size=5), max_size=4)


def fill(folder, texts):
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())


def read(folder):
    return {path.name: path.read_bytes().decode() for path in folder.iterdir()}


@given(contents, contents)
def test_an_existing_folder_is_replaced_with_all_its_files(tmp_path_factory, before, after):
    path = tmp_path_factory.mktemp("folders") / "parent" / "made"
    for texts in (before, after):
        with files.replacing_folder(path) as partial:
            fill(partial, texts)
        assert read(path) == texts
    assert names(path.parent) == ["made"]


@given(contents, st.none() | contents)
def test_an_error_keeps_the_old_folder_and_removes_the_partial_one(
    tmp_path_factory, written, existing
):
    path = tmp_path_factory.mktemp("folders") / "made"
    if existing is not None:
        path.mkdir()
        fill(path, existing)
    with pytest.raises(ZeroDivisionError), files.replacing_folder(path) as partial:
        fill(partial, written)
        raise ZeroDivisionError
    assert names(path.parent) == ([] if existing is None else ["made"])
    assert existing is None or read(path) == existing


def test_others_may_read_a_new_folder(tmp_path):
    with files.replacing_folder(tmp_path / "made"):
        pass
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o755

"""Seals: every change of a sealed folder is noticed, whatever it is."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stackgan_jax.runtime import seals

CONTENT = {"a.bin": b"\x00\x01\x02", "deep/b.txt": b"text", "deep/er/empty": b""}


@pytest.fixture
def folder(tmp_path):
    for name, content in CONTENT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    seals.seal(tmp_path, {"config.json": "{}"})
    return tmp_path


@given(st.sampled_from(sorted(CONTENT)), st.binary(max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_other_content_of_any_file_is_noticed(folder, name, content):
    (folder / name).write_bytes(content)
    assert bool(seals.damage(folder)) == (content != CONTENT[name])
    (folder / name).write_bytes(CONTENT[name])


def test_a_missing_file_is_named(folder):
    (folder / "deep/b.txt").unlink()
    assert seals.damage(folder) == "deep/b.txt is missing"


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_a_changed_seal_is_damage_and_carries_nothing(folder, data):
    whole = (folder / seals.NAME).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    (folder / seals.NAME).write_bytes(changed)
    spaces = bytes(changed).split() == whole.split()
    assert spaces or (seals.damage(folder) and not seals.carried(folder))
    (folder / seals.NAME).write_bytes(whole)


def test_files_that_may_change_and_new_ones_are_no_damage(folder):
    seals.seal(folder, leave_out=["a.bin"])
    (folder / "a.bin").write_bytes(b"other")
    (folder / "new").write_bytes(b"")
    assert seals.damage(folder) == ""


def test_a_folder_without_a_seal_counts_as_sound(tmp_path):
    assert seals.damage(tmp_path) == "" and not seals.is_sealed(tmp_path)
    assert seals.carried(tmp_path) == {}

"""Models in one file and in a hub's folder: the same pictures, and damage that is noticed."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import stackgan_jax
from stackgan_jax import UserError

RED = "a small red bird with black wings"


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return model.save(tmp_path_factory.mktemp("saved") / "birds.safetensors")


def pictures(model):
    """Of Stage I: after so few steps Stage II draws nothing."""
    drawn = model.draw([RED, "a blue bird"], seeds=[1, 2], stage=1)
    return np.stack([np.asarray(picture) for picture in drawn])


def digest(file):
    with safe_open(file, framework="numpy") as opened:
        return opened.metadata()["sha256"]


def test_a_file_draws_the_same_pictures(model, saved):
    again = stackgan_jax.load(saved)
    np.testing.assert_array_equal(pictures(again), pictures(model))
    assert again.captions == model.captions
    ignored = {"source"}
    assert {k: v for k, v in again.info.items() if k not in ignored} == {
        k: v for k, v in model.info.items() if k not in ignored
    }


def test_a_file_of_a_file_is_the_same(saved, tmp_path):
    again = stackgan_jax.load(saved).save(tmp_path / "again.safetensors")
    assert digest(again) == digest(saved)


def test_half_the_size_draws_nearly_the_same(model, saved, tmp_path):
    small = model.save(tmp_path / "small.safetensors", dtype="bfloat16")
    assert small.stat().st_size < 0.7 * saved.stat().st_size
    difference = np.abs(np.int32(pictures(stackgan_jax.load(small))) - pictures(model))
    assert 0 < difference.mean() < 3


def test_a_file_can_be_read_by_whom_the_umask_lets(saved, tmp_path):
    (tmp_path / "other").touch()
    assert saved.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_names_no_folder_of_the_machine(saved, runs):
    with safe_open(saved, framework="numpy") as file:
        configs = json.loads(file.metadata()["content"])["configs"]
    assert str(runs) not in json.dumps(configs)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_damage_is_noticed(saved, tmp_path, damage):
    content = bytearray(saved.read_bytes())
    for place in (1, 200, len(content) // 2, len(content) - 3):
        changed = bytearray(content)
        changed[place] ^= 1
        changed = {"flip": changed, "truncate": content[:place], "empty": b""}[damage]
        (tmp_path / "damaged.safetensors").write_bytes(changed)
        with pytest.raises(UserError, match=r"damaged|no model"):
            stackgan_jax.load(tmp_path / "damaged.safetensors")


def rewritten(saved, path, **changes):
    with safe_open(saved, framework="numpy") as file:
        header = file.metadata() | changes
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(arrays, path, header)
    return path


def test_a_newer_format_another_program_and_changed_facts_are_refused(saved, tmp_path):
    path = tmp_path / "other.safetensors"
    with pytest.raises(UserError, match="install a newer"):
        stackgan_jax.load(rewritten(saved, path, version="99"))
    with pytest.raises(UserError, match="another program"):
        stackgan_jax.load(rewritten(saved, path, format="pt"))
    with pytest.raises(UserError, match="digest does not match"):
        stackgan_jax.load(rewritten(saved, path, content="{}"))


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG not a model")
    with pytest.raises(UserError, match="is no model"):
        stackgan_jax.load(tmp_path / "picture.png")
    with pytest.raises(UserError, match="There is no run in"):
        stackgan_jax.load(tmp_path / "missing")
    with pytest.raises(UserError, match="name a run's folder"):
        stackgan_jax.load("")


def test_a_file_is_refused_where_it_cannot_be_written(model, tmp_path):
    with pytest.raises(UserError, match="can't be written"):
        model.save(tmp_path / "missing" / "birds.safetensors")
    with pytest.raises(UserError, match="choose from float32, bfloat16"):
        model.save(tmp_path / "birds.safetensors", dtype="int8")


def test_a_hub_folder_holds_weights_a_card_and_a_sheet(model, tmp_path):
    folder = model.save_hub(tmp_path / "birds", license="cc-by-4.0")
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "model.safetensors",
        "samples.png",
    }
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    assert "16 and then 64 pixels a side" in card
    np.testing.assert_array_equal(pictures(stackgan_jax.load(folder)), pictures(model))
    with pytest.raises(UserError, match="is not empty"):
        model.save_hub(folder)


def test_a_hubs_model_is_taken_from_its_cache(model, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    cache = tmp_path / "cache" / "models--me--birds"
    model.save_hub(cache / "snapshots" / ("0" * 40))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    np.testing.assert_array_equal(pictures(stackgan_jax.load("hf://me/birds")), pictures(model))
    with pytest.raises(UserError, match="hf://me/other can't be downloaded"):
        stackgan_jax.load("hf://me/other")

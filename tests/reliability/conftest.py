"""Small runs on a folder of pictures."""

import time

import pytest
from picture_folders import data_config, write_numbered_pictures
from programs import Programs

from stackgan_jax import stages


@pytest.fixture(scope="session")
def folder_config(small_config, tmp_path_factory):
    """(kind, **changes) → a config of the narrowest networks on a folder of 24 pictures."""
    root = tmp_path_factory.mktemp("folder")
    pictures = write_numbered_pictures(root / "pictures", 24)

    def make(kind, **changes):
        config = small_config(kind)
        with config.unlocked():
            config.data = data_config(pictures, dir=str(root / "data"))
        config.update({"preview_every": 5, "log_every": 1} | changes)
        return config

    return make


@pytest.fixture(scope="session")
def folder_runs(folder_config, tmp_path_factory):
    """Four steps of each training: text_encoder/, stage1/ and stage2/; only to read."""
    folder = tmp_path_factory.mktemp("folder_runs")
    encoder, stage1 = (str(folder / name) for name in ("text_encoder", "stage1"))
    stages.run(folder_config("text_encoder"), folder / "text_encoder")
    stages.run(folder_config("stage1", text_encoder=encoder), folder / "stage1")
    needed = {"text_encoder": encoder, "stage1": stage1}
    stages.run(folder_config("stage2", **needed), folder / "stage2")
    return folder


@pytest.fixture(scope="session")
def programs(folder_config, folder_runs, tmp_path_factory):
    """The programs; each training takes 30 steps and saves every second one."""
    encoder, stage1 = (str(folder_runs / name) for name in ("text_encoder", "stage1"))
    configs = {
        "text_encoder": folder_config("text_encoder", steps=30),
        "stage1": folder_config("stage1", text_encoder=encoder, steps=30),
        "stage2": folder_config("stage2", text_encoder=encoder, stage1=stage1, steps=30),
    }
    return Programs(configs, folder_runs / "stage1", tmp_path_factory.mktemp("configs"))


@pytest.fixture(scope="session")
def undisturbed(programs, tmp_path_factory):
    """name → what a program leaves that nobody disturbs, the folder where it is, its seconds."""
    known = {}

    def of(name):
        if name not in known:
            place, began = tmp_path_factory.mktemp("undisturbed"), time.monotonic()
            left = programs.finish(name, place)
            known[name] = left, place, time.monotonic() - began
        return known[name]

    return of

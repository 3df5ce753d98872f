"""A cheap network in Inception's place, folders of noise, and runs that a test may write in."""

import shutil

import numpy as np
import pytest

from stackgan_jax.data import images
from stackgan_jax.evaluation import evaluate, inception_weights, readers


class Colours:
    """In Inception's place: averages over 4×4 fields of a picture."""

    resize, dtype = "clean", "float32"

    def __call__(self, pictures):
        size = pictures.shape[1] // 4
        fields = pictures[:, : 4 * size, : 4 * size].reshape(-1, 4, size, 4, size, 3)
        numbers = fields.mean(axis=(2, 4)).reshape(len(pictures), -1) / 64
        return {"2048": numbers.astype(np.float32), "logits_unbiased": numbers[:, :10]}


@pytest.fixture
def colours(monkeypatch):
    """Replaces Inception; returns a list of how many pictures each reading had."""
    seen = []

    class Reader(readers.InceptionReader):
        def read(self, pictures):
            seen.append(len(pictures))
            return super().read(pictures)

    weights = inception_weights.Weights(None, "colours.pth", "5" * 64)
    monkeypatch.setattr(
        readers.InceptionReader, "of", classmethod(lambda cls, protocol: Reader(weights, Colours()))
    )
    return seen


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder of the features of real pictures."""
    monkeypatch.setattr(evaluate, "CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """name, count, size, seed → a folder of noise."""

    def make(name, count=40, size=16, seed=0):
        made = tmp_path / name
        made.mkdir()
        pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)
        for number, picture in enumerate(pixels):
            images.save_png(made / f"{number:03}.png", picture)
        return made

    return make


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a Stage-I run that a test may write in."""
    return shutil.copytree(runs / "stage1", tmp_path / "run")

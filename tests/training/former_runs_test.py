"""Runs of an earlier form of states and configs: they draw and go on as they did there.

tests/data/former_runs.tar.xz was made by commit 0a90d9a: two steps of each stage, batch 8, on the
tiny synthetic birds. former_runs.npz has what that commit drew from them (seed 3, two captions)
and the losses of its next two steps.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from stackgan_jax import sample, stages, text
from stackgan_jax.evaluation import during_training
from stackgan_jax.runtime import configuration

DATA = Path(__file__).parents[1] / "data"
CAPTIONS = ["a red bird", "a small blue bird"]


@pytest.fixture(scope="module")
def expected():
    with np.load(DATA / "former_runs.npz") as values:
        return dict(values)


@pytest.fixture
def former(tmp_path, monkeypatch):
    """The runs in the working directory, which their configs name each other from."""
    monkeypatch.chdir(tmp_path)
    with tarfile.open(DATA / "former_runs.tar.xz") as archive:
        archive.extractall(filter="data")
    return Path("runs")


def test_former_runs_draw_the_same_pictures(former, expected):
    for kind in ("stage1", "stage2"):
        embedding = text.embed(former / kind, CAPTIONS)
        np.testing.assert_allclose(embedding, expected[f"{kind}_embedding"], atol=1e-6)
        drawn = sample.generate(former / kind, embedding, seed=3)[kind]
        np.testing.assert_allclose(drawn, expected[kind], atol=1e-5)


@pytest.mark.parametrize("kind", ["stage1", "stage2"])
def test_what_former_configs_lack_is_added_before_training(former, kind):
    during_training.require_possible(configuration.read(former / kind / "config.json"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stage1", "stage2"])
def test_former_runs_go_on_with_the_same_losses(former, expected, data_dir, kind):
    config = configuration.read(former / kind / "config.json")
    config.steps = 4
    config.data.dir = str(data_dir)
    stages.run(config, former / kind)
    lines = (former / kind / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["step"] > 2]
    losses = [[row[name] for name in ("d_loss", "g_loss", "kl")] for row in rows]
    np.testing.assert_allclose(losses, expected[f"{kind}_losses"], rtol=1e-4)

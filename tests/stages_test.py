"""Trainings by kind: a stage registered from outside, and as many stages as a config asks for."""

import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from stackgan_jax import sample, stages, text
from stackgan_jax.evaluation import evaluate
from stackgan_jax.report import build
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import game
from stackgan_jax.training.learner import Learner


def counting(config, workdir, devices):
    """The learner of a training that counts its steps."""

    def step(state, batch):
        return {"count": state["count"] + 1}, {"loss": state["count"].astype(float)}

    return Learner(
        init=lambda key: {"count": jax.numpy.zeros((), int)},
        step=step,
        batches=lambda start, stop: ({} for _ in range(start, stop)),
        parameters=lambda state: {},
        finish=lambda state: (workdir / "count").write_text(str(state["count"])),
    )


def test_a_stage_from_outside_the_package_is_trained(small_config, tmp_path, monkeypatch):
    monkeypatch.setitem(stages.STAGES, "counter", counting)
    whole = small_config("text_encoder")
    config = ConfigDict({**whole.to_dict(), "kind": "counter", "name": "counter"})
    stages.run(config, tmp_path)
    assert (tmp_path / "count").read_text() == "4"


def test_an_unknown_kind_is_rejected_with_the_choices(small_config, tmp_path):
    config = small_config("text_encoder")
    config.kind = "stage9"
    with pytest.raises(UserError, match=r"'stage9'; choose from text_encoder, stage1, stage2"):
        stages.run(config, tmp_path)


def test_a_quickstart_trains_its_stages_in_order(small_config, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(stages, "train", lambda config, *_: seen.append(config))
    monkeypatch.setattr(build, "write", lambda *_, **__: "page")
    kinds = ["stage3", "stage2", "text_encoder", "stage1"]
    stages.run(ConfigDict({kind: small_config(kind) for kind in kinds} | {"name": "q"}), tmp_path)
    assert [config.kind for config in seen] == ["text_encoder", "stage1", "stage2", "stage3"]
    assert seen[3].stage2 == str(tmp_path / "stage2")
    assert seen[3].text_encoder == str(tmp_path / "text_encoder")


def test_a_third_stage_draws_four_times_as_large(small_config):
    configs = [small_config(f"stage{number}") for number in (1, 2, 3)]
    built = game.build(configs[2], configs[:2])
    assert [stage.condition for stage in built.cascade.stages] == [8, 8, 8]
    state = jax.eval_shape(lambda key: built.init(key, 16), jax.random.key(0))
    assert len(state.priors) == 2
    drawn = jax.eval_shape(
        lambda key, state: built.generate(state, np.zeros((2, 16)), built.cascade.noise(key, 2)),
        jax.random.key(0),
        state,
    )
    assert {name: image.shape[1] for name, image in drawn.items()} == {
        "stage1": 16,
        "stage2": 64,
        "stage3": 256,
    }


@pytest.mark.slow
def test_a_third_stage_trains_resumes_draws_is_evaluated_and_reported(runs, small_config, tmp_path):
    needs = {"text_encoder": str(runs / "text_encoder"), "stage2": str(runs / "stage2")}
    config = small_config("stage3", steps=2, **needs)
    stages.run(config, tmp_path)
    assert (tmp_path / "stage1.json").is_file() and (tmp_path / "stage2.json").is_file()
    config.steps = 4
    stages.run(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == [2, 4]
    embedding = text.embed(tmp_path, ["a small red bird"])
    drawn = sample.generate(tmp_path, embedding, seed=1)
    assert [pictures.shape[1] for pictures in drawn.values()] == [16, 64, 256]
    assert all(np.isfinite(pictures).all() for pictures in drawn.values())
    # The earlier stages draw what they drew in their own run, but for moved running statistics.
    assert configuration.read(tmp_path / "stage2.json").kind == "stage2"
    record = evaluate.of_run(tmp_path, {"images": 16, "attributes": False})
    assert "joint_frechet_distance" in record.scores
    assert build.write(tmp_path).is_file()
    assert "Stage III" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")

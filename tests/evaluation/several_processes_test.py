"""One run is scored by several processes as by one."""

import numpy as np
import pytest
import several
from sample_scores import QUICK

from stackgan_jax.evaluation import records
from stackgan_jax.runtime import configuration


def scores(workdir):
    (record,) = records.read(workdir / "metrics.json")
    values = {name: [score.value, score.real] for name, score in record.scores.items()}
    return {name: np.array(value, float) for name, value in values.items()}  # None becomes nan


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(run, tmp_path):
    config = configuration.of_workdir(run)
    with config.unlocked():
        config.eval.update(QUICK)
    file = several.config_file(config, tmp_path)
    found = []
    for count, devices in ((1, 8), (2, 4)):
        (run / "metrics.json").unlink(missing_ok=True)
        for kept in run.rglob("features-*.npz"):
            kept.unlink()
        statuses, outputs = several.Run(count, devices, file, run, "--mode=evaluate").ended()
        assert statuses == [0] * count, outputs
        assert ["Written to" in output for output in outputs] == [True, False][:count]
        found.append(scores(run))
    alone, together = found
    assert together.keys() == alone.keys()
    for name, values in alone.items():
        np.testing.assert_allclose(together[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_training_in_two_processes_measures_the_scores_of_one(small_config, runs, tmp_path):
    encoder = str(runs / "text_encoder")
    config = small_config("stage1", text_encoder=encoder, steps=2, save_every=2)
    with config.unlocked():
        config.eval.update(QUICK, every=2)
    file, found = several.config_file(config, tmp_path), []
    for count, devices in ((1, 8), (2, 4)):
        workdir = tmp_path / f"of_{count}"
        statuses, outputs = several.Run(count, devices, file, workdir).ended()
        assert statuses == [0] * count, outputs
        found.append(scores(workdir))
    alone, together = found
    assert together.keys() == alone.keys()
    # The weights after two steps differ in their rounding, the real pictures don't.
    for name, (drawn, real) in alone.items():
        np.testing.assert_allclose(together[name][0], drawn, rtol=1e-2, atol=1e-2, err_msg=name)
        np.testing.assert_allclose(together[name][1], real, rtol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--follow", "--workdir=other", "--images=a"])
def test_several_processes_refuse_what_one_does(flag, run, tmp_path):
    file = several.config_file(configuration.of_workdir(run), tmp_path)
    statuses, outputs = several.Run(2, 1, file, run, "--mode=evaluate", flag).ended(timeout=120)
    assert statuses == [1, 1]
    assert all("Start it with --num_processes=1." in output for output in outputs)

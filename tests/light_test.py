"""A light installation, without TensorFlow: it draws and exports, and says what it lacks."""

import subprocess
import sys

import pytest

from stackgan_jax import UserError, stages
from stackgan_jax.data import overview
from stackgan_jax.evaluation import evaluate
from stackgan_jax.report import build
from stackgan_jax.runtime import configuration

LEFT_OUT = ("tensorflow", "tensorflow_datasets", "clu", "tensorboard", "importlib_resources")

# Every format of --mode=export but ONNX, which needs onnx, and the picture of a sentence.
DRAWS = f"""
import sys
for name in {LEFT_OUT}:
    sys.modules[name] = None
import stackgan_jax
from stackgan_jax.pretrained import exports

exports.write(None, "safetensors", "birds.safetensors", "float32")
exports.write(None, "hub", "hub", "float32")
exports.write(None, "stablehlo", "birds.stablehlo", "float32")
stackgan_jax.load("birds.safetensors")("a red bird", n=1)[0].save("bird.png")
"""


def test_without_tensorflow_every_export_is_written_and_one_draws(tmp_path):
    program = [sys.executable, "-c", DRAWS]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = ("birds.safetensors", "hub/model.safetensors", "birds.stablehlo", "bird.png")
    assert all((tmp_path / name).stat().st_size for name in written)


@pytest.mark.parametrize("mode", ["train", "prepare", "report", "evaluate"])
def test_what_needs_the_synthetic_birds_names_the_install_command(
    mode, runs, tmp_path, monkeypatch
):
    actions = {
        "train": lambda: stages.run(configuration.load("quickstart.py"), tmp_path / "run"),
        "prepare": lambda: overview.prepare(configuration.load("stage1.py")),
        "report": lambda: build.write(runs / "stage2"),
        "evaluate": lambda: evaluate.of_run(runs / "stage2", {}),
    }
    for name in LEFT_OUT:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"synthetic_birds needs TensorFlow .*`pip install -e \.`"):
        actions[mode]()
    assert not list(tmp_path.glob("run/*"))

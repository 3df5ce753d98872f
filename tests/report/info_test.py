"""What is said of a run: each training's state in one screen, and quickly."""

import subprocess
import sys

import pytest

from stackgan_jax.report import info
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError


def test_a_stage_is_described_by_its_files(runs):
    text = info.describe(runs / "stage2")
    for part in ("a run of stage2", "synthetic_birds", "4 of 4", "drawn from 4", " MB"):
        assert part in text
    assert "generator " in text and "discriminator " in text and "trained" in text
    assert text.count("\n") < 24


def test_a_quickstart_lists_its_trainings_also_those_not_begun(runs, small_config, tmp_path):
    config = configuration.load("quickstart.py")
    configuration.write(tmp_path / "config.json", config)
    (tmp_path / "stage1").symlink_to(runs / "stage1")
    text = info.describe(tmp_path)
    assert all(f"\n{kind}\n" in text for kind in ("text_encoder", "stage1", "stage2"))
    assert text.count("none of") == 2


def test_no_run_is_said_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match="There is no run"):
        info.describe(tmp_path)
    (tmp_path / "birds.safetensors").touch()
    with pytest.raises(UserError, match=r"is a file, .* can only draw: --mode=sample"):
        info.describe(tmp_path / "birds.safetensors")


def test_it_needs_no_tensorflow(runs):
    program = (
        "import sys\n"
        "for name in ('tensorflow', 'tensorflow_datasets', 'clu'): sys.modules[name] = None\n"
        "import pathlib; from stackgan_jax.report import info\n"
        f"print(info.describe(pathlib.Path({str(runs / 'text_encoder')!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "encoder char_cnn_rnn" in done.stdout

"""Campaigns against a small run: damaged files, and kills at any instant.

`STACKGAN_JAX_TRIALS=100 pytest -m slow -n0 tests/reliability` makes 100 of each;
docs/reliability.md has what was found.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from stackgan_jax import sample, stages
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import metrics_log
from stackgan_jax.training.checkpoint import Checkpoints

TRIALS = int(os.environ.get("STACKGAN_JAX_TRIALS", "10"))
CAPTION = "a small red bird with black wings"


def damage(file: Path, kind: str, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    if kind == "flip" and content:
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    if kind == "delete":
        file.unlink()
    elif kind == "flip":
        file.write_bytes(content)
    else:
        file.write_bytes(content[: len(content) // 2 if kind == "truncate" else 0])


def outcome(action):
    """What an action returns, or the sentence with which it refuses."""
    try:
        return action()
    except UserError as error:
        return str(error)


@pytest.mark.slow
def test_no_damage_of_a_run_goes_unnoticed_or_ends_in_a_traceback(
    runs, small_config, tmp_path, capsys
):
    """Every damaged run draws and goes on as an undamaged one from a saved step, or is refused."""
    config = small_config("stage1", text_encoder=str(runs / "text_encoder"), steps=5)
    config.update(preview_every=1000, log_every=1)
    draw = lambda run: sample.generate(run, sample.text.embed(run, [CAPTION]), seed=1)["stage1"]

    def goes_on(run):
        stages.run(config, run)
        params = Checkpoints(run / "checkpoints").restore_part(("ema",)).state["ema"]["params"]
        return params["image"]["kernel"]

    undamaged = shutil.copytree(runs / "stage1", tmp_path / "undamaged")
    pictures = [draw(undamaged)]
    shutil.rmtree(undamaged / "checkpoints" / "4")
    pictures.append(draw(undamaged))
    trained = goes_on(undamaged)
    survived, refused = 0, 0
    for trial in range(TRIALS):
        rng = np.random.default_rng(trial)
        run = shutil.copytree(runs / "stage1", tmp_path / f"run{trial}")
        files = sorted(path for path in run.rglob("*") if path.is_file())
        file = files[rng.integers(len(files))]
        kind = ("flip", "truncate", "empty", "delete")[trial % 4]
        damage(file, kind, rng)
        what = f"trial {trial}: {kind} {file.relative_to(run)}"
        drawn = outcome(lambda run=run: draw(run))
        after = outcome(lambda run=run: goes_on(run))
        print(f"\n{what}: {drawn if isinstance(drawn, str) else 'draws'}; ", end="")
        print(after if isinstance(after, str) else "goes on")
        if not isinstance(drawn, str):
            assert any(np.array_equal(drawn, each) for each in pictures), what
        if not isinstance(after, str):
            np.testing.assert_array_equal(after, trained, err_msg=what)
        survived += not isinstance(after, str)
        refused += isinstance(after, str)
        shutil.rmtree(run)
    with capsys.disabled():
        print(f"{TRIALS} damages: {survived} survived, {refused} refused in a sentence.")


PROGRAM = """
import sys
from pathlib import Path
from stackgan_jax import stages
from stackgan_jax.runtime import configuration, entry_point
from absl import flags
flags.FLAGS(["program"])
workdir = Path(sys.argv[1])
entry_point.run(lambda: stages.run(configuration.read(Path(sys.argv[2])), workdir))
"""


@pytest.fixture
def long_run(runs, small_config, tmp_path):
    """Starts a run of 30 steps that saves after every second one, in a process of its own."""
    config = small_config("stage1", text_encoder=str(runs / "text_encoder"), steps=30)
    config.update(preview_every=5, log_every=1)
    configuration.write(tmp_path / "wanted.json", config)

    def start(workdir):
        command = [sys.executable, "-c", PROGRAM, str(workdir), str(tmp_path / "wanted.json")]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "8"}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )

    return start


def trained(workdir):
    step, state = Checkpoints(workdir / "checkpoints", read_only=True).restore_part(
        ("generator", "discriminator", "ema")
    )
    log = [{**line, "seconds": 0} for line in metrics_log.read(workdir / metrics_log.FILE)]
    return step, state, log


def assert_same(one, other):
    assert one[0] == other[0] and one[2] == other[2]
    jax.tree.map(np.testing.assert_array_equal, one[1], other[1])


@pytest.mark.slow
def test_kills_at_any_instant_lose_nothing(long_run, tmp_path, capsys):
    """After each kill the run goes on from the last save, and ends as an undisturbed one."""
    assert not long_run(tmp_path / "undisturbed").wait()
    rng = np.random.default_rng(0)
    kills, chains = 0, 0
    while kills < TRIALS:
        run = tmp_path / f"chain{chains}"
        for _ in range(8):
            process = long_run(run)
            try:
                process.wait(timeout=rng.uniform(2, 30))
                break
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
                assert "Traceback" not in process.communicate()[0]
        final = long_run(run)
        said = final.communicate()[0]
        assert final.returncode == 0, said
        assert_same(trained(run), trained(tmp_path / "undisturbed"))
        chains += 1
    with capsys.disabled():
        print(f"{kills} kills in {chains} runs: nothing lost.")

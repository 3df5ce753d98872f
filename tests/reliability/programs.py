"""The program as a user starts it, on small runs: what the campaigns of reliability share."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import several

from stackgan_jax.training import metrics_log
from stackgan_jax.training.checkpoint import Checkpoints

TRIALS = int(os.environ.get("STACKGAN_JAX_TRIALS", "6"))
TRAININGS = ("text_encoder", "stage1", "stage2")
NAMES = (*TRAININGS, "prepare", "report", "evaluate")
FIELDS = {name: ("generator", "discriminator", "ema") for name in ("stage1", "stage2")}
QUICK = ("--config.eval.images=8", "--config.eval.batch_size=8", "--config.eval.independent=False")


class Programs:
    """Commands by name, and what each leaves behind in a folder of its own.

    Args:
        configs: the config of each training, by name.
        finished: a run of Stage I to evaluate and report.
        folder: where the configs are written as files.
    """

    def __init__(self, configs, finished: Path, folder: Path):
        folder.mkdir(exist_ok=True)
        self.files = {name: several.config_file(each, folder) for name, each in configs.items()}
        self.finished = finished

    def arguments(self, name: str, place: Path) -> list[str]:
        """The options of a program that works in `place`."""
        if name in TRAININGS:
            return [f"--config={self.files[name]}", f"--workdir={place / 'run'}"]
        if name == "prepare":
            data = f"--config.data.dir={place / 'data'}"
            return ["--mode=prepare", f"--config={self.files['stage1']}", data]
        if not (place / "run").exists():
            shutil.copytree(self.finished, place / "run")
        return [f"--mode={name}", f"--workdir={place / 'run'}", *(QUICK * (name == "evaluate"))]

    def start(
        self, name: str, place: Path, output: object = subprocess.PIPE, **environment: str
    ) -> subprocess.Popen:
        """Starts a program; its process has one device and writes both outputs to `output`."""
        command = [sys.executable, "-m", "stackgan_jax.main", *self.arguments(name, place)]
        own = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", **environment}
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **own},
        )

    def finish(self, name: str, place: Path) -> object:
        """Runs a program to its end, which must be good; returns `left`."""
        process = self.start(name, place)
        said = process.communicate()[0]
        assert process.returncode == 0 and "Traceback" not in said, said
        return self.left(name, place)

    def left(self, name: str, place: Path) -> object:
        """What a finished program leaves that must be the same, however often it was ended."""
        run = place / "run"
        if name in TRAININGS:
            return trained(run, FIELDS.get(name, ("params",)))
        if name == "prepare":
            return digests(place / "data")
        if name == "report":
            assert "</html>" in (run / "report" / "index.html").read_text(encoding="utf-8")
            return json.loads((run / "report" / "report.json").read_text())["runs"]
        (record,) = json.loads((run / "metrics.json").read_text())["evaluations"]
        return record["scores"]


def trained(workdir: Path, fields: tuple[str, ...]) -> object:
    """The newest state of a run, its step, and its log without the times."""
    step, state = Checkpoints(workdir / "checkpoints", read_only=True).restore_part(fields)
    log = [{**line, "seconds": 0} for line in metrics_log.read(workdir / metrics_log.FILE)]
    return step, state, log


def digests(folder: Path) -> dict[str, str]:
    """Name → digest of every file below a folder, but of locks."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def assert_same(one: object, other: object) -> None:
    """Compares what two programs left, bit by bit."""
    jax.tree.map(np.testing.assert_array_equal, one, other)

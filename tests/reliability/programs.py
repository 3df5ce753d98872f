"""The program as a user starts it, on small runs: what the campaigns of reliability share."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import several
from commands import PROCESSES

from stackgan_jax.training import metrics_log
from stackgan_jax.training.checkpoint import Checkpoints

TRIALS = int(os.environ.get("STACKGAN_JAX_TRIALS", "6"))
TRAININGS = ("text_encoder", "stage1", "stage2")
TWO = "two processes"
NAMES = (*TRAININGS, TWO, "prepare", "report", "evaluate")
FIELDS = {name: ("generator", "discriminator", "ema") for name in ("stage1", "stage2")}
QUICK = ("--config.eval.images=8", "--config.eval.batch_size=8", "--config.eval.independent=False")


class Started:
    """A program of one or several processes that works.

    Args:
        commands: the options of each process.
        said: a folder for what they print.
        environment: further variables of their environment.
    """

    def __init__(self, commands: list[list[str]], said: Path, environment: dict[str, str]):
        self.files = [said / f"said{number}" for number in range(len(commands))]
        self.processes = [
            PROCESSES.Process(target=_program, args=(command, file, environment))
            for command, file in zip(commands, self.files, strict=True)
        ]
        for process in self.processes:
            process.start()

    def ends(self, seconds: float | None = None) -> bool:
        """Waits for so many seconds; returns whether all processes have ended."""
        for process in self.processes:
            process.join(seconds)
        return not any(process.is_alive() for process in self.processes)

    def kill(self, alone: int | None = None) -> None:
        """Kills all processes, or one; returns when all have ended."""
        for process in self.processes if alone is None else [self.processes[alone]]:
            process.kill()
        assert self.ends(300), self.said()

    @property
    def status(self) -> int:
        """The greatest exit status."""
        return max(process.exitcode for process in self.processes)

    def said(self) -> str:
        """What the processes have printed, one after the other."""
        return "".join(f.read_text(errors="replace") for f in self.files if f.exists())


def _program(arguments: list[str], said: Path, environment: dict[str, str]) -> None:
    """What a fork does: it runs the program with these options."""
    with said.open("w") as file:
        for output in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), output.fileno())
    os.environ.update(environment)
    tempfile.tempdir = None
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 1)
    if "JAX_COMPILATION_CACHE_DIR" in environment:
        jax.config.update("jax_compilation_cache_dir", environment["JAX_COMPILATION_CACHE_DIR"])
    sys.argv = ["stackgan_jax", *arguments]
    from stackgan_jax import main  # Here alone: its flags have the names of other programs'.

    main.console()


class Programs:
    """Commands by name, and what each leaves behind in a folder of its own.

    Args:
        configs: the config of each training, by name.
        finished: a run of Stage I to evaluate and report.
        folder: where the configs and the outputs of programs are written.
    """

    def __init__(self, configs, finished: Path, folder: Path):
        folder.mkdir(exist_ok=True)
        self.files = {name: several.config_file(each, folder) for name, each in configs.items()}
        self.finished, self.folder = finished, folder

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

    def start(self, name: str, place: Path, **environment: str) -> Started:
        """Starts a program; each of its processes has one device."""
        said = Path(tempfile.mkdtemp(dir=self.folder))
        if name != TWO:
            return Started([self.arguments(name, place)], said, environment)
        both = [*self.arguments("stage1", place), "--num_processes=2", "--peer_timeout=15"]
        both.append(f"--coordinator=localhost:{several.free_port()}")
        return Started([[*both, f"--process_id={each}"] for each in (0, 1)], said, environment)

    def finish(self, name: str, place: Path) -> object:
        """Runs a program to its end, which must be good; returns `left`."""
        started = self.start(name, place)
        started.ends()
        said = started.said()
        assert started.status == 0 and "Traceback" not in said, said
        return self.left(name, place)

    def left(self, name: str, place: Path) -> object:
        """What a finished program leaves that must be the same, however often it was ended."""
        run = place / "run"
        if name in (*TRAININGS, TWO):
            return trained(run, FIELDS.get("stage1" if name == TWO else name, ("params",)))
        if name == "prepare":
            return digests(place / "data")
        if name == "report":
            assert "</html>" in (run / "report" / "index.html").read_text(encoding="utf-8")
            return json.loads((run / "report" / "report.json").read_text())["runs"]
        evaluations = (run / "metrics.json").read_text().replace(str(place), "")
        (record,) = json.loads(evaluations)["evaluations"]
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

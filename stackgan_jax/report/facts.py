"""What is known about a run without drawing: its stages, their logs, the data, the machine."""

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from stackgan_jax import sample
from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.runtime import configuration

PACKAGES = ("stackgan_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run: which kind of learner, where, and what its metrics.jsonl tells."""

    kind: str
    folder: Path
    config: ConfigDict
    log: Sequence[Mapping[str, float]]

    @property
    def seconds(self) -> float:
        """Of training, over all the times that it was stopped and went on."""
        return self.log[-1]["seconds"] if self.log else 0.0


def find_runs(workdir: Path) -> list[Run]:
    """The trained runs of a workdir, in the order of training; the last one draws.

    Raises UserError when none of them draws.
    """
    path = workdir / "config.json"
    folders = []
    if path.is_file() and "kind" not in configuration.read(path):
        kinds = [stage.kind for stage in configuration.stages(configuration.read(path))]
        folders = [workdir / kind for kind in kinds if _checkpoints(workdir / kind)]
    if not any(configuration.is_stage(_run(folder).config) for folder in folders):
        folders = [sample.find_run(workdir)[0]]
    return [_run(folder) for folder in folders]


def _checkpoints(folder: Path) -> list[Path]:
    """Oldest first."""
    steps = (path for path in folder.glob("checkpoints/*") if path.name.isdigit())
    return sorted(steps, key=lambda path: int(path.name))


def _run(folder: Path) -> Run:
    config = configuration.read(folder / "config.json")
    log = folder / "metrics.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return Run(config.kind, folder, config, [json.loads(line) for line in lines])


def training_seconds(runs: Sequence[Run]) -> float:
    """Of all runs together."""
    return sum(run.seconds for run in runs)


def of_runs(workdir: Path, runs: Sequence[Run]) -> dict[str, Any]:
    """Name, time and steps."""
    newest = {run.kind: _checkpoints(run.folder)[-1] for run in runs}
    ended = max(path.stat().st_mtime for path in newest.values())
    ended = datetime.datetime.fromtimestamp(ended, datetime.UTC)
    return {
        "name": configuration.read(workdir / "config.json").name,
        "workdir": str(workdir),
        "trained_until": ended.strftime("%Y-%m-%d %H:%M UTC"),
        "runs": {
            run.kind: {
                "config": run.config.name,
                "steps": int(newest[run.kind].name),
                "batch_size": run.config.batch_size,
                "seconds": round(run.seconds, 1),
            }
            for run in runs
        },
    }


def of_data(data: ConfigDict, training: Split, test: Split) -> dict[str, Any]:
    """Name and sizes."""
    classes, test_classes = set(training.labels.tolist()), set(test.labels.tolist())
    return {
        "data": {
            "name": data.name,
            "builder_config": data.builder_config,
            "path": data.path,
            "train_images": len(training),
            "train_classes": len(classes),
            "test_images": len(test),
            "test_classes": len(test_classes),
            "shared_classes": len(classes & test_classes),
        }
    }


def of_machine() -> dict[str, Any]:
    """Versions and devices of this process, which in a quickstart is the one that trained."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "devices": [f"{each.platform}:{each.id} {each.device_kind}" for each in jax.devices()],
        "host": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
        },
    }


def _processor() -> str:
    """The processor's name, which Linux tells only in /proc."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()

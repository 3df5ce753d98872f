"""What is known about a run without drawing: its stages, their logs, the data, the machine."""

import dataclasses
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from stackgan_jax import sample
from stackgan_jax.data.split import Split
from stackgan_jax.runtime import configuration, run_files
from stackgan_jax.runtime.run_files import saved_steps
from stackgan_jax.training import metrics_log

PACKAGES = ("stackgan_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")

Log = Sequence[Mapping[str, float]]  # the lines of a metrics.jsonl: "step", "seconds" and scalars


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run.

    Attributes:
        kind: of learner: "text_encoder", "stage1" and so on.
        folder: with config.json and checkpoints.
        config: of the run.
        log: of the run.
    """

    kind: str
    folder: Path
    config: ConfigDict
    log: Log

    @property
    def step(self) -> int:
        """Step of the newest checkpoint."""
        return saved_steps(self.folder / "checkpoints")[-1]

    @property
    def seconds(self) -> float:
        """Training time, the sum over all resumed parts."""
        return self.log[-1]["seconds"] if self.log else 0.0


def find_runs(workdir: Path) -> list[Run]:
    """Returns the trained runs of a workdir in the order of training; the last one draws.

    Args:
        workdir: of a quickstart, or of a run of one stage.

    Raises:
        UserError: none of the runs draws.
    """
    path = workdir / "config.json"
    folders = []
    if run_files.exists(path) and "kind" not in (config := configuration.read(path)):
        folders = [workdir / training.kind for training in configuration.stages(config)]
        folders = [folder for folder in folders if saved_steps(folder / "checkpoints")]
    if not any(configuration.STAGE.fullmatch(folder.name) for folder in folders):
        folders = [sample.find_run(workdir)[0]]
    configs = [configuration.read(folder / "config.json") for folder in folders]
    return [
        Run(config.kind, folder, config, read_log(folder))
        for folder, config in zip(folders, configs, strict=True)
    ]


def read_log(folder: Path) -> list[dict[str, float]]:
    """Returns the lines of a run's metrics.jsonl; none if the file is missing."""
    return metrics_log.read(folder / metrics_log.FILE)


def training_seconds(runs: Sequence[Run]) -> float:
    """Returns the training time of all runs together."""
    return sum(run.seconds for run in runs)


def of_runs(workdir: Path, runs: Sequence[Run]) -> dict[str, Any]:
    """Returns name, training time and steps."""
    newest = [run.folder / "checkpoints" / str(run.step) for run in runs]
    ended = max(path.stat().st_mtime for path in newest)
    ended = datetime.datetime.fromtimestamp(ended, datetime.UTC)
    return {
        "name": configuration.read(workdir / "config.json").name,
        "workdir": str(workdir),
        "trained_until": ended.strftime("%Y-%m-%d %H:%M UTC"),
        "runs": {
            run.kind: {
                "config": run.config.name,
                "steps": run.step,
                "batch_size": run.config.batch_size,
                "seconds": round(run.seconds, 1),
            }
            for run in runs
        },
    }


def of_data(data: ConfigDict, training: Split, test: Split) -> dict[str, Any]:
    """Returns name and sizes of the data set."""
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
    """Returns versions and devices of this process; in a quickstart it is the one that trained."""
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
    """The processor's name; on Linux only /proc contains it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

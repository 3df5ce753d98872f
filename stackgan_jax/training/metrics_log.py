"""The metrics of training steps: on the devices, checked and averaged, and in metrics.jsonl."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration, files
from stackgan_jax.runtime.errors import UserError

FILE = "metrics.jsonl"


class PendingMetrics:
    """The metrics of steps that may still be running on the devices.

    Args:
        config: of the run, for the error's sentence.
        workdir: the folder of the run, likewise.
    """

    def __init__(self, config: ConfigDict, workdir: Path) -> None:
        self.config, self.workdir = config, workdir
        self._steps: list[tuple[int, int, Mapping[str, jax.Array]]] = []  # First, end, metrics.
        self._ready = 0  # How many of `_steps` are known to have run.
        self._finished = 0

    def add(self, first: int, end: int, metrics: Mapping[str, jax.Array]) -> None:
        """Adds the metrics of the steps from `first` to before `end`, a scalar or one per step."""
        for value in metrics.values():
            value.copy_to_host_async()
        self._steps.append((first, end, metrics))

    def finished(self) -> int:
        """Returns how many steps have run, without waiting for others."""
        for _, end, metrics in self._steps[self._ready :]:
            if not all(value.is_ready() for value in metrics.values()):
                break
            self._ready, self._finished = self._ready + 1, end
        return self._finished

    def wait(self) -> None:
        """Returns when all steps have run."""
        jax.block_until_ready([metrics for *_, metrics in self._steps])

    def take_means(self) -> dict[str, float]:
        """Waits for all steps, then removes their metrics.

        Returns:
            The mean of each metric over the steps; empty if there are none.

        Raises:
            UserError: a metric is not finite.
        """
        joined: dict[str, list[np.ndarray]] = {}
        for first, end, metrics in jax.device_get(self._steps):
            for name, values in metrics.items():
                self._require_finite(name, np.atleast_1d(values), first)
                joined.setdefault(name, []).append(np.atleast_1d(values))
            self._finished = end
        self._steps.clear()
        self._ready = 0
        return {name: float(np.mean(np.concatenate(parts))) for name, parts in joined.items()}

    def _require_finite(self, name: str, values: np.ndarray, first: int) -> None:
        broken = np.flatnonzero(~np.isfinite(values))
        if len(broken):
            raise UserError(
                f"{name} became {values[broken[0]]} at step {first + broken[0]}; the run was "
                f"stopped and nothing was saved after that. {self._remedy()}"
            )

    def _remedy(self) -> str:
        """How to go on after a NaN."""
        section = next((name for name in ("training", "joint") if name in self.config), "")
        scale = self.config[section].get("learning_rate_scale", 1.0) / 2 if section else ""
        slower = f"--config.{section}.learning_rate_scale={scale:g}" if section else "smaller steps"
        seed = f"--config.seed={self.config.seed + 1}"
        if configuration.has_begun(self.workdir):
            return (
                f"Earlier checkpoints are in {self.workdir}: continue from the newest with "
                f"{slower}, or start again in another --workdir with {seed}."
            )
        return f"There is no checkpoint yet: start again with {slower}, or with {seed}."


class MetricsLog:
    """The file metrics.jsonl: a line of JSON for each report, with step, seconds and means.

    Lines after `start`, of a run that ended before it saved these steps, are removed.

    Args:
        workdir: the folder of the run.
        start: the number of steps that were done before.
    """

    def __init__(self, workdir: Path, start: int) -> None:
        self.path = workdir / FILE
        self._seconds_before = self._keep_until(start)

    def append(self, step: int, seconds: float, means: Mapping[str, float]) -> None:
        """Adds a line.

        Args:
            step: the number of steps done.
            seconds: since this process began to train; earlier processes' seconds are added.
            means: the mean of each metric.
        """
        line = {"step": step, "seconds": self._seconds_before + seconds, **means}
        with self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _keep_until(self, step: int) -> float:
        """Removes the lines after `step`; returns the seconds of training up to there."""
        if not self.path.exists():
            return 0.0
        kept = [line for line in read(self.path) if line["step"] <= step]
        files.write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        return kept[-1]["seconds"] if kept else 0.0


def read(path: Any) -> list[dict[str, float]]:
    """The lines of a metrics.jsonl; none if there is no such file.

    What can't be read, for example of a line that a full disk cut, is left out, and said.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    read = [line for line in map(_parsed, lines) if line]
    if len(read) < len(lines):
        print(
            f"{len(lines) - len(read)} of {len(lines)} lines of {path} can't be read and are left "
            "out.",
            flush=True,
        )
    return read


def _parsed(line: bytes) -> dict[str, float] | None:
    """A line's content; None if it isn't a line of this log."""
    try:
        content = json.loads(line)
        numbers = [content["step"], content["seconds"], *content.values()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return content if all(isinstance(each, int | float) for each in numbers) else None

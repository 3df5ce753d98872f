"""What a training run reports: to the terminal, metrics.jsonl, TensorBoard and previews/."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from stackgan_jax.runtime import files, run_files, tensorboard
from stackgan_jax.runtime.progress import Bar, print_line
from stackgan_jax.training.learner import Preview
from stackgan_jax.training.metrics_log import MetricsLog, PendingMetrics
from stackgan_jax.training.previews import PreviewWriter

BAR_LOSSES = ("d_loss", "g_loss", "kl", "loss")  # The bar on a terminal shows these.


class Progress:
    """Reports and logs one training run; of several processes only process 0 does.

    On a terminal a bar shows the progress; in a file or a pipe every report is a line.

    Args:
        config: the config of the run.
        workdir: the folder of the run.
        start: the number of steps that were done before.

    Attributes:
        done: the number of steps that have been started.
        means: the mean of each metric since the previous check.
        halts: seconds that the devices were idle, for each kind of interruption.
    """

    def __init__(self, config: ConfigDict, workdir: Path, start: int) -> None:
        self.config, self.workdir, self.start, self.done = config, workdir, start, start
        self.means: dict[str, float] = {}
        self.halts: dict[str, list[float]] = {"log": [], "preview": [], "save": []}
        self._pending = PendingMetrics(config, workdir)
        self._writes = jax.process_index() == 0
        self._log = MetricsLog(workdir, start) if self._writes else None
        self._began = self._last = time.monotonic()
        self._last_done = start
        self._bar = None
        if self._writes and sys.stdout.isatty() and sys.stderr.isatty():
            self._bar = Bar(config.name, config.steps, "done", "steps")
        self._tensorboard = tensorboard.writer(workdir) if self._writes else None
        self._previews = PreviewWriter(workdir, self._tensorboard)

    def say(self, sentence: str) -> None:
        """Prints a sentence, in process 0 only."""
        if self._writes:
            print_line(sentence)

    def overview(self, parameters: Mapping[str, Any]) -> None:
        """Prints the parameter count of each network; parameters.txt gets the whole table."""
        if not self._writes:
            return
        counts = jax.tree.map(lambda leaf: leaf.size, parameters)
        for name, tree in counts.items():
            print_line(f"{name}: {sum(jax.tree.leaves(tree)):,} parameters")
        try:
            from clu import parameter_overview
        except ImportError:
            return
        tables = []
        for name, tree in parameters.items():
            table = parameter_overview.get_parameter_overview(tree, include_stats=False)
            tables.append(f"{name}\n{table}")
        files.write_text(self.workdir / run_files.PARAMETERS, "\n\n".join(tables) + "\n")

    def count(self, first: int, count: int, metrics: Mapping[str, jax.Array]) -> int:
        """Records steps that have been started, without waiting for them.

        Args:
            first: the first of the steps.
            count: how many steps were started.
            metrics: their metrics, a scalar or `[count]` each.

        Returns:
            The number of steps started so far.
        """
        self.done = first + count
        self._pending.add(first, self.done, metrics)
        if first == self.start:
            jax.block_until_ready(metrics)
            waited = time.monotonic() - self._began
            self.say(f"First step done, {waited:.1f} s after the start.")
            self._last, self._last_done = time.monotonic(), self.done
        if self._bar:
            self._bar.draw(self._pending.finished())
        return self.done

    @contextlib.contextmanager
    def halt(self, kind: str) -> Iterator[None]:
        """Waits for the devices, then measures how long the block keeps them idle.

        Args:
            kind: "log", "preview" or "save", a key of `halts`.
        """
        self._pending.wait()
        if self._bar:
            self._bar.clear()
        began = time.monotonic()
        yield
        self.halts[kind].append(time.monotonic() - began)

    def refuse_nan(self) -> None:
        """Waits for the metrics since the previous check, and updates `means`.

        Raises:
            UserError: a metric is not finite; the error names the first one and its step.
        """
        if self._bar:
            self._bar.clear()
        self.means = self._pending.take_means() or self.means

    def report(self) -> None:
        """Reports the means since the previous report, and writes them to the logs.

        Raises:
            UserError: a metric is not finite.
        """
        self.refuse_nan()
        now = time.monotonic()
        steps_per_second = (self.done - self._last_done) / max(now - self._last, 1e-9)
        self._last, self._last_done = now, self.done
        if not self._writes:
            return
        if self._bar:
            shown = {name: self.means[name] for name in BAR_LOSSES if name in self.means}
            self._bar.draw(self.done, details=_numbers(shown))
        else:
            self.say(self._line(steps_per_second))
        self._log.append(self.done, now - self._began, self.means)
        if self._tensorboard:
            self._tensorboard.write_scalars(
                self.done, {**self.means, "steps_per_second": steps_per_second}
            )

    def _line(self, steps_per_second: float) -> str:
        steps = f"{self.config.name} {self.done:,}/{self.config.steps:,}"
        line = f"{steps} | {_numbers(self.means)}"
        if steps_per_second:
            images_per_second = steps_per_second * self.config.batch_size
            remaining = (self.config.steps - self.done) / steps_per_second
            line += f" | {steps_per_second:.3g} steps/s, {images_per_second:.0f} images/s"
            line += f" | ETA {_clock(remaining)}"
        return line

    def preview(self, page: Preview) -> None:
        """Writes a page of pictures with captions, while training continues.

        Raises:
            UserError: an earlier page could not be written.
        """
        self._previews.check()
        if self._writes:
            self._previews.write(page, self.done)

    def close(self) -> None:
        """Waits until everything has been written.

        Raises:
            UserError: a preview could not be written.
        """
        if self._bar:
            self._bar.close()
        try:
            self._previews.close()
        finally:
            if self._tensorboard:
                self._tensorboard.close()


def _numbers(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _clock(seconds: float) -> str:
    """Returns seconds as h:mm:ss."""
    if not math.isfinite(seconds):
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

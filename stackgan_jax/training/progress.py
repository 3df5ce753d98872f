"""What a training run reports: to the terminal, metrics.jsonl, the loggers and previews/."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from stackgan_jax.runtime import files, run_files
from stackgan_jax.runtime.progress import Bar, print_line
from stackgan_jax.training import previews
from stackgan_jax.training.hints import Watch
from stackgan_jax.training.learner import Preview
from stackgan_jax.training.loggers import Loggers
from stackgan_jax.training.metrics_log import MetricsLog, PendingMetrics
from stackgan_jax.training.outlook import Outlook

BAR_LOSSES = ("d_loss", "g_loss", "kl", "loss")  # The bar on a terminal shows these.
SETTLED = 5.0  # seconds after which the steps since a report say how fast training is


class Progress:
    """Reports and logs one training run; of several processes only process 0 does.

    On a terminal a bar shows the progress; in a file or a pipe every report is a line.

    Args:
        config: the config of the run.
        workdir: the folder of the run.
        start: the number of steps that were done before.
        outlook: the place of the run among those of a quickstart.

    Attributes:
        done: the number of steps that have been started.
        means: the mean of each metric since the previous check.
        halts: seconds that the devices were idle, for each kind of interruption.

    Raises:
        UserError: a logger can't be opened.
    """

    def __init__(
        self, config: ConfigDict, workdir: Path, start: int, outlook: Outlook | None = None
    ) -> None:
        self.config, self.workdir, self.start, self.done = config, workdir, start, start
        self.means: dict[str, float] = {}
        self.halts: dict[str, list[float]] = {"log": [], "preview": [], "save": []}
        self._outlook = outlook or Outlook()
        self._pending = PendingMetrics(config, workdir)
        self._writes = jax.process_index() == 0
        self._log = self._loggers = self._watch = self._bar = None
        if self._writes:
            self._log = MetricsLog(workdir, start)
            self._loggers = Loggers(config, workdir)
            self._watch = Watch(config, workdir, start, self._outlook.options)
            if sys.stdout.isatty() and sys.stderr.isatty():
                title = f"{self._outlook.place}{config.name}"
                self._bar = Bar(title, config.steps, "done", "steps", times="{rate_noinv_fmt}")
        self._began = self._last = time.monotonic()
        self._last_done, self._speed = start, 0.0
        self._previews = previews.PreviewWriter(workdir, self._loggers)

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
            self._bar.draw(self._pending.finished(), self._details())
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
        speed = (self.done - self._last_done) / max(now - self._last, 1e-9)
        self._last, self._last_done = now, self.done
        if not self._writes:
            return
        self._speed = speed or self._speed
        if self._bar:
            self._bar.draw(self.done, self._details(), at_once=True)
        else:
            steps = f"{self._outlook.place}{self.config.name} {self.done:,}/{self.config.steps:,}"
            latest = self._previews.latest
            self.say(_line(steps, _numbers(self.means), self._rate(), self._eta(), latest))
        self._log.append(self.done, now - self._began, self.means)
        self._loggers.scalars(self.done, {**self.means, "steps_per_second": speed})
        self._tell(self._watch.log(self.done, self.means))

    def _details(self) -> list[str]:
        """The lines below the bar: the remaining time and losses, and the newest preview."""
        shown = {name: self.means[name] for name in BAR_LOSSES if name in self.means}
        newest = self._previews.latest and f"Newest preview: {self._previews.latest}"
        return [_line(self._eta(), _numbers(shown)), newest]

    def _rate(self) -> str:
        if not self._speed:
            return ""
        images_per_second = self._speed * self.config.batch_size
        return f"{self._speed:.3g} steps/s, {images_per_second:.0f} images/s"

    def _eta(self) -> str:
        """The remaining time by the speed since the last report, or before it."""
        since, steps = time.monotonic() - self._last, self.done - self._last_done
        speed = steps / since if steps and since > SETTLED else self._speed
        return self._outlook.eta(self.config.steps - self.done, speed)

    def preview(self, page: Preview) -> None:
        """Writes a page of pictures with captions, while training continues.

        Raises:
            UserError: an earlier page could not be written.
        """
        self._previews.check()
        if not self._writes:
            return
        if not self.halts["preview"]:  # Compiling the first one says nothing of the speed.
            self.say(f"Previews: {self.workdir / previews.FOLDER}")
            self._last, self._last_done = time.monotonic(), self.done
        self._previews.write(page, self.done)
        self._loggers.scalars(self.done, page.scalars)
        self._loggers.histograms(self.done, page.histograms)
        self._tell(self._watch.look(self.done, page.scalars))

    def scores(self, scores: Mapping[str, float]) -> None:
        """Logs what an evaluation has measured."""
        if self._writes:
            self._loggers.scalars(
                self.done, {f"evaluation/{name}": value for name, value in scores.items()}
            )

    def _tell(self, hints: list[str]) -> None:
        for hint in hints:
            self.say(f"Hint at step {self.done:,}: {hint}")
            self._loggers.text(self.done, "hint", hint)

    def close(self) -> None:
        """Waits until everything has been written.

        Raises:
            UserError: a preview could not be written.
        """
        try:
            self._previews.close()
        finally:
            if self._bar:
                self._bar.close(self._details())
            if self._loggers:
                self._loggers.close()


def _line(*parts: str) -> str:
    return " | ".join(filter(None, parts))


def _numbers(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())

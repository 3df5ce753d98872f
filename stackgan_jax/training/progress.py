"""What a run tells as it goes on: lines on the terminal, metrics.jsonl, TensorBoard, previews."""

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.data import images
from stackgan_jax.runtime import tensorboard
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.learner import Preview

PREVIEW_CELL = 128  # pixels; pictures of every size are shown as large


class Progress:
    """What a run tells: a line on the terminal, metrics.jsonl, TensorBoard, previews."""

    def __init__(self, config: ConfigDict, workdir: Path, start: int):
        self.config, self.workdir, self.start, self.done = config, workdir, start, start
        self.means: dict[str, float] = {}
        self.halts: dict[str, list[float]] = {"log": [], "preview": [], "save": []}
        self._pending: list[tuple[int, Mapping[str, jax.Array]]] = []
        self._writes = jax.process_index() == 0
        self._log = workdir / "metrics.jsonl"
        self._seconds = _keep_log_until(self._log, start) if self._writes else 0.0
        self._began = self._last = time.monotonic()
        self._last_done = start
        self._tensorboard = tensorboard.writer(workdir) if self._writes else None
        self._background = ThreadPoolExecutor(1)  # writes pictures while the devices go on
        self._previews: list[Future] = []

    def say(self, sentence: str) -> None:
        """Prints it, once for all processes."""
        if self._writes:
            print(sentence, flush=True)

    def overview(self, parameters: Mapping[str, Any]) -> None:
        """Prints each network's parameter count; the whole table goes to parameters.txt."""
        if not self._writes:
            return
        counts = jax.tree.map(lambda leaf: leaf.size, parameters)
        for name, tree in counts.items():
            print(f"{name}: {sum(jax.tree.leaves(tree)):,} parameters", flush=True)
        try:
            from clu import parameter_overview
        except ImportError:
            return
        tables = []
        for name, tree in parameters.items():
            table = parameter_overview.get_parameter_overview(tree, include_stats=False)
            tables.append(f"{name}\n{table}")
        (self.workdir / "parameters.txt").write_text("\n\n".join(tables) + "\n")

    def count(self, first: int, count: int, metrics: Mapping[str, jax.Array]) -> int:
        """Notes the metrics of `count` steps, without waiting; returns how many steps are done."""
        for value in metrics.values():
            value.copy_to_host_async()
        self._pending.append((first, metrics))
        self.done = first + count
        if first == self.start:
            jax.block_until_ready(metrics)
            waited = time.monotonic() - self._began
            self.say(f"First step done, {waited:.1f} s after the start.")
            self._last, self._last_done = time.monotonic(), self.done
        return self.done

    @contextlib.contextmanager
    def halt(self, kind: str) -> Iterator[None]:
        """Waits for the devices; what follows keeps them idle, and is noted in `halts`, seconds."""
        jax.block_until_ready([metrics for _, metrics in self._pending])
        began = time.monotonic()
        yield
        self.halts[kind].append(time.monotonic() - began)

    def refuse_nan(self) -> None:
        """Raises UserError naming the first loss and step that is not finite, if any."""
        fetched = jax.device_get(self._pending)
        for first, metrics in fetched:
            for name, values in metrics.items():
                broken = np.flatnonzero(~np.isfinite(np.atleast_1d(values)))
                if len(broken):
                    value = np.atleast_1d(values)[broken[0]]
                    raise UserError(
                        f"{name} became {value} at step {first + broken[0]}; the run was stopped "
                        "and nothing was saved after that. Earlier checkpoints are in "
                        f"{self.workdir}: go on from them with a smaller learning rate, or another "
                        "seed."
                    )
        if fetched:
            joined = {n: [np.atleast_1d(m[n]) for _, m in fetched] for n in fetched[0][1]}
            self.means = {n: float(np.mean(np.concatenate(v))) for n, v in joined.items()}
        self._pending.clear()

    def report(self) -> None:
        """Prints, and writes to the logs, the means since the last report."""
        self.refuse_nan()
        now = time.monotonic()
        steps_per_second = (self.done - self._last_done) / max(now - self._last, 1e-9)
        self._last, self._last_done = now, self.done
        if not self._writes:
            return
        losses = "  ".join(f"{name} {value:.4g}" for name, value in self.means.items())
        remaining = self.config.steps - self.done
        rate = ""
        if steps_per_second:
            rate = (
                f" | {steps_per_second:.3g} steps/s, "
                f"{steps_per_second * self.config.batch_size:.0f} images/s"
                f" | ETA {_clock(remaining / steps_per_second)}"
            )
        steps = f"{self.config.name} {self.done:,}/{self.config.steps:,}"
        print(f"{steps} | {losses}{rate}", flush=True)
        line = {"step": self.done, "seconds": self._seconds + now - self._began, **self.means}
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        if self._tensorboard:
            self._tensorboard.write_scalars(
                self.done, {**self.means, "steps_per_second": steps_per_second}
            )

    def preview(self, page: Preview) -> None:
        """Writes a page of pictures and its captions, as a PNG and to TensorBoard, behind the loop.

        Raises UserError if an earlier one could not be written.
        """
        self._tell_of_previews(wait=False)
        if self._writes:
            self._previews.append(self._background.submit(self._write_preview, page, self.done))

    def _write_preview(self, page: Preview, done: int) -> None:
        grid = images.captioned_grid(page.rows, page.captions, page.headings, cell=PREVIEW_CELL)
        folder = self.workdir / "previews"
        folder.mkdir(exist_ok=True)
        images.save_png(folder / f"step_{done:07d}.png", grid)
        if self._tensorboard:
            self._tensorboard.write_images(done, {"preview": grid[None]})
            self._tensorboard.write_texts(done, {"captions": "\n\n".join(page.captions)})

    def _tell_of_previews(self, wait: bool) -> None:
        written = [preview for preview in self._previews if wait or preview.done()]
        self._previews = [preview for preview in self._previews if preview not in written]
        try:
            for preview in written:
                preview.result()
        except OSError as error:
            raise UserError(
                f"The preview in {self.workdir} can't be written ({error.strerror}); "
                "free space or mend the path, then run again."
            ) from error

    def close(self) -> None:
        """Waits for what is still being written."""
        try:
            self._tell_of_previews(wait=True)
        finally:
            self._background.shutdown()
            if self._tensorboard:
                self._tensorboard.close()


def _keep_log_until(log: Path, step: int) -> float:
    """Drops lines after `step` (of a run that ended before it saved); returns seconds so far."""
    if not log.exists():
        return 0.0
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    kept = [line for line in lines if line["step"] <= step]
    log.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    return kept[-1]["seconds"] if kept else 0.0


def _clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    if not math.isfinite(seconds):
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

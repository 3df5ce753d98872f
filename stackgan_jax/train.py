"""The one training loop: batch, step, log, preview, save. It knows a Learner, nothing of GANs."""

import contextlib
import itertools
import json
import math
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import configuration, dispatch, images, learners, mesh
from stackgan_jax.checkpoint import Checkpoints
from stackgan_jax.compilation import memory_in_words
from stackgan_jax.errors import Stopped, UserError

PREVIEW_CELL = 128  # pixels; pictures of every size are shown as large


def train(config: ConfigDict, workdir: Path) -> Any:
    """Trains until `config.steps`, going on from the newest checkpoint of `workdir`.

    Leaves in `workdir`: config.json, checkpoints/, metrics.jsonl, previews/, TensorBoard events,
    and what the learner finishes with (a text encoder, say).

    Returns: the final state.
    Raises:
      UserError: the workdir belongs to another config, can't be written, or a loss became NaN.
      Stopped: Ctrl-C or SIGTERM came; everything up to there has been saved.
    """
    claim(workdir, config)
    devices = mesh.data_mesh(config.batch_size)
    with memory_in_words(config.batch_size):
        state, _ = run(learners.create(config, workdir, devices), config, workdir, devices)
    return state


def run(
    learner: learners.Learner, config: ConfigDict, workdir: Path, devices: jax.sharding.Mesh
) -> tuple[Any, dict[str, list[float]]]:
    """`train` with a learner that is there already.

    Returns: the final state, and `Progress.halts`.
    """
    checkpoints = Checkpoints(workdir / "checkpoints", **config.keep)
    state = learner.init(jax.random.key(config.seed))
    start = checkpoints.latest or 0
    if checkpoints.latest is not None:
        state = checkpoints.restore(state)
        print(f"Going on from step {start:,} of {workdir}.", flush=True)
    progress = Progress(config, workdir, start)
    progress.overview(learner.parameters(state))
    try:
        with StopRequests() as stop:
            for first, count, batch in _batches(learner, devices, start, config):
                take = learner.step if count == 1 else learner.steps
                state, metrics = take(state, batch)
                done = progress.count(first, count, metrics)
                last = done == config.steps
                if done % config.log_every == 0 or last or stop.requested:
                    with progress.halt("log"):
                        progress.report()
                if learner.preview and (done % config.preview_every == 0 or last):
                    with progress.halt("preview"):
                        progress.preview(learner.preview(state))
                if done % config.save_every == 0 or last or stop.requested:
                    with progress.halt("save"):
                        progress.refuse_nan()
                        checkpoints.save(done, state, progress.means)
                if stop.requested:
                    raise Stopped(stop.requested, done, workdir)
                checkpoints.check()
    finally:  # what has been begun to save is saved, whatever happened
        checkpoints.close()
        progress.close()
    if learner.finish:
        learner.finish(state)
    return state, progress.halts


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes `workdir` the run of `config`, or raises UserError where it is another's."""
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            configuration.refuse_another(configuration.read(path), config, workdir)
        if jax.process_index() == 0:
            configuration.write(path, config)
    except OSError as error:
        raise UserError(
            f"The workdir {workdir} can't be written ({error.strerror}); give another --workdir."
        ) from error


def _batches(
    learner: learners.Learner, devices: jax.sharding.Mesh, start: int, config: ConfigDict
) -> Iterator[tuple[int, int, dict[str, jax.Array]]]:
    """(first step, how many, their batch or batches stacked on the devices), each group being
    transferred while the one before is used."""
    ahead = None
    batches = learner.batches(start, config.steps)
    ends = (config.log_every, config.preview_every, config.save_every)
    for first, count in dispatch.groups(start, config.steps, learner.together, ends):
        group = list(itertools.islice(batches, count))
        if count == 1:
            placed = (first, 1, mesh.place_batch(devices, group[0]))
        else:
            stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *group)
            placed = (first, count, mesh.place_batch(devices, stacked, axis=1))
        if ahead:
            yield ahead
        ahead = placed
    if ahead:
        yield ahead


class StopRequests:
    """Notes Ctrl-C and SIGTERM while active; a second Ctrl-C ends the process at once."""

    def __init__(self):
        self.requested: int = 0
        self._previous = {}

    def __enter__(self) -> "StopRequests":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame) -> None:
        print(f"\n{signal.Signals(number).name}: saving, then stopping …", flush=True)
        self.requested = number
        signal.signal(signal.SIGINT, self._previous[signal.SIGINT])


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
        self._tensorboard = _tensorboard(workdir) if self._writes else None

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
        overview = parameter_overview.get_parameter_overview
        tables = [f"{name}\n{overview(tree)}" for name, tree in parameters.items()]
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
            print(f"First step done, {waited:.1f} s after the start.", flush=True)
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

    def preview(self, page: learners.Preview) -> None:
        """Writes a page of pictures, as a PNG and to TensorBoard with its captions."""
        if not self._writes:
            return
        grid = images.captioned_grid(page.rows, page.captions, page.headings, cell=PREVIEW_CELL)
        folder = self.workdir / "previews"
        folder.mkdir(exist_ok=True)
        images.save_png(folder / f"step_{self.done:07d}.png", grid)
        if self._tensorboard:
            self._tensorboard.write_images(self.done, {"preview": grid[None]})
            self._tensorboard.write_texts(self.done, {"captions": "\n\n".join(page.captions)})

    def close(self) -> None:
        if self._tensorboard:
            self._tensorboard.close()


def _tensorboard(workdir: Path) -> Any:
    """clu's TensorBoard writer, or None with a word where TensorFlow is not installed."""
    try:
        import tensorflow  # noqa: F401
        from clu import metric_writers
    except ImportError:
        print("TensorFlow is not installed: no TensorBoard log, only metrics.jsonl.", flush=True)
        return None
    return metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(workdir)))


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

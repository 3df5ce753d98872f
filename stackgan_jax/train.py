"""The one training loop: batch, step, log, preview, save. It knows a Learner, nothing of GANs."""

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import configuration, images, learners, mesh, processes, running, tensorboard
from stackgan_jax.checkpoint import Checkpoints
from stackgan_jax.errors import Stopped, UserError
from stackgan_jax.evaluate.while_training import in_training

PREVIEW_CELL = 128  # pixels; pictures of every size are shown as large


def train(config: ConfigDict, workdir: Path) -> Any:
    """Trains until `config.steps`, going on from the newest checkpoint of `workdir`.

    Leaves in `workdir`: config.json, checkpoints/, metrics.jsonl, previews/, TensorBoard events,
    and what the learner finishes with (a text encoder, say).

    Returns: the final state.
    Raises:
      UserError: the workdir belongs to another config, can't be written, is not the same folder
        for every process, or a loss became NaN.
      Stopped: Ctrl-C or SIGTERM came; everything up to there has been saved.
    """
    claim(workdir, config)
    with running.training(workdir):
        return _train(config, workdir)


def _train(config: ConfigDict, workdir: Path) -> Any:
    devices = mesh.data_mesh(config.batch_size)
    learner = learners.create(config, workdir, devices)
    evaluation = in_training(config, workdir)
    checkpoints = Checkpoints(workdir / "checkpoints", **config.keep)
    state = learner.init(jax.random.key(config.seed))
    start = checkpoints.latest or 0
    progress = Progress(config, workdir, start)
    if checkpoints.latest is not None:
        state = checkpoints.restore(state)
        progress.say(f"Going on from step {start:,} of {workdir}.")
    progress.overview(learner.parameters(state))
    try:
        with processes.StopRequests() as stop:
            for step, batch in _batches(learner, devices, start, config.steps):
                state, metrics = learner.step(state, batch)
                done = progress.count(step, metrics)
                last = done == config.steps
                stopping = stop.agreed()
                if done % config.log_every == 0 or last or stopping:
                    progress.report()
                if learner.preview and (done % config.preview_every == 0 or last):
                    progress.preview(learner.preview(state))
                scores = {}
                due = evaluation and (done % config.eval.every == 0 or last) and not stopping
                if due:
                    progress.refuse_nan()
                    scores = evaluation(done, state, stop.asked)
                if done % config.save_every == 0 or last or due or stopping:
                    progress.refuse_nan()
                    checkpoints.save(done, state, progress.means | scores)
                if stopping:
                    raise Stopped(stopping, done, workdir)
                checkpoints.check()
    finally:  # what has been begun to save is saved, whatever happened
        checkpoints.close()
        progress.close()
    if learner.finish:
        learner.finish(state)
    return state


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes `workdir` the run of `config`, or raises UserError where it is another's.

    It is another's once something has been saved: what failed before that can be mended.
    """
    path = workdir / "config.json"
    with _writable(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists() and configuration.has_begun(workdir):
            configuration.refuse_another(configuration.read(path), config, workdir)
        if jax.process_index() == 0:
            configuration.write(path, config)
    mesh.wait_for_all_processes(f"claim {workdir}")
    processes.refuse_if_any(
        ""
        if path.exists()
        else f"the workdir {workdir} is not the folder that process 0 has there; give a --workdir "
        "on a file system that all hosts share, or on gs://."
    )


@contextlib.contextmanager
def _writable(workdir: Path) -> Iterator[None]:
    """Raises UserError for what a disk raises, or any of the libraries that reach gs://."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(workdir, Path) and not isinstance(error, OSError):
            raise
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0][:200]
        raise UserError(
            f"The workdir {workdir} can't be written ({reason}); give another --workdir."
        ) from error


def _batches(
    learner: learners.Learner, devices: jax.sharding.Mesh, start: int, stop: int
) -> Iterator[tuple[int, dict[str, jax.Array]]]:
    """(step, batch on the devices), one batch being transferred while another is used."""
    ahead = None
    for step, batch in enumerate(learner.batches(start, stop), start):
        placed = (step, mesh.place_batch(devices, batch))
        if ahead:
            yield ahead
        ahead = placed
    if ahead:
        yield ahead


class Progress:
    """What a run tells: a line on the terminal, metrics.jsonl, TensorBoard, previews."""

    def __init__(self, config: ConfigDict, workdir: Path, start: int):
        self.config, self.workdir, self.start, self.done = config, workdir, start, start
        self.means: dict[str, float] = {}
        self._pending: list[tuple[int, Mapping[str, jax.Array]]] = []
        self._writes = jax.process_index() == 0
        self._log = workdir / "metrics.jsonl"
        self._seconds = _keep_log_until(self._log, start) if self._writes else 0.0
        self._began = self._last = time.monotonic()
        self._last_done = start
        self._tensorboard = tensorboard.writer(workdir) if self._writes else None

    def say(self, sentence: str) -> None:
        """Prints it, once for all processes."""
        if self._writes:
            print(sentence, flush=True)

    def overview(self, parameters: Mapping[str, Any]) -> None:
        """Prints each network's parameter count; the whole table goes to parameters.txt."""
        if not self._writes:
            return
        from clu import parameter_overview

        tables = []
        for name, tree in parameters.items():
            print(f"{name}: {parameter_overview.count_parameters(tree):,} parameters", flush=True)
            table = parameter_overview.get_parameter_overview(tree, include_stats=False)
            tables.append(f"{name}\n{table}")
        (self.workdir / "parameters.txt").write_text("\n\n".join(tables) + "\n")
        print("Compiling the training step …", flush=True)

    def count(self, step: int, metrics: Mapping[str, jax.Array]) -> int:
        """Notes a step's metrics without waiting for them; returns how many steps are done."""
        self._pending.append((step, metrics))
        self.done = step + 1
        if self.done == self.start + 1:
            jax.block_until_ready(metrics)
            waited = time.monotonic() - self._began
            self.say(f"Compiled, first step done ({waited:.1f} s).")
            self._last, self._last_done = time.monotonic(), self.done
        return self.done

    def refuse_nan(self) -> None:
        """Raises UserError naming the first loss and step that is not finite, if any."""
        fetched = [(step, jax.device_get(metrics)) for step, metrics in self._pending]
        for step, metrics in fetched:
            for name, value in metrics.items():
                if not np.isfinite(value):
                    raise UserError(
                        f"{name} became {value} at step {step}; the run was stopped and nothing "
                        f"was saved after that. Earlier checkpoints are in {self.workdir}: go on "
                        "from them with a smaller learning rate, or another seed."
                    )
        if fetched:
            names = fetched[0][1]
            self.means = {n: float(np.mean([m[n] for _, m in fetched])) for n in names}
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

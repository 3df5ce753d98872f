"""The one training loop: batch, step, log, preview, save. It knows a Learner, nothing of GANs."""

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import configuration, dispatch, learners, mesh
from stackgan_jax.checkpoint import Checkpoints
from stackgan_jax.compilation import memory_in_words
from stackgan_jax.errors import Stopped, UserError
from stackgan_jax.progress import Progress


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

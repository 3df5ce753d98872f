"""The one training loop: batch, step, log, preview, save. It knows a Learner, nothing of GANs."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration, mesh, processes
from stackgan_jax.runtime.compilation import readable_out_of_memory
from stackgan_jax.runtime.errors import Stopped, UserError
from stackgan_jax.training import fused_steps, learners, lock
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.progress import Progress

# (step, state, whether to give up) → scores by name, of a state between two steps.
Evaluation = Callable[[int, Any, Callable[[], bool]], Mapping[str, float]]


def train(
    config: ConfigDict,
    workdir: Path,
    evaluation_of: Callable[[ConfigDict, Path], Evaluation | None] | None = None,
) -> Any:
    """Trains until `config.steps`, going on from the newest checkpoint of `workdir`.

    Leaves in `workdir`: config.json, checkpoints/, metrics.jsonl, previews/, TensorBoard events,
    and what the learner finishes with (a text encoder, say).

    Returns: the final state.
    Raises:
      UserError: the workdir belongs to another config, can't be written, is not the same folder
        for every process, or a loss became NaN.
      Stopped: Ctrl-C or SIGTERM came; everything up to there has been saved.
    """
    with claimed(workdir, config):
        devices = mesh.data_mesh(config.batch_size)
        with readable_out_of_memory(config.batch_size):
            learner = learners.create(config, workdir, devices)
            note(workdir, config)
            evaluation = evaluation_of(config, workdir) if evaluation_of else None
            state, _ = run(learner, config, workdir, devices, evaluation)
    return state


def run(
    learner: learners.Learner,
    config: ConfigDict,
    workdir: Path,
    devices: jax.sharding.Mesh,
    evaluation: Evaluation | None = None,
) -> tuple[Any, dict[str, list[float]]]:
    """`train` with a learner that is there already, and an evaluation where one is due.

    Returns: the final state, and `Progress.halts`.
    """
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
            for first, count, batch in _batches(learner, devices, start, config):
                take = learner.step if count == 1 else learner.steps
                state, metrics = take(state, batch)
                done = progress.count(first, count, metrics)
                last = done == config.steps
                stopping = stop.agreed()
                if done % config.log_every == 0 or last or stopping:
                    with progress.halt("log"):
                        progress.report()
                if learner.preview and (done % config.preview_every == 0 or last):
                    with progress.halt("preview"):
                        progress.preview(learner.preview(state))
                scores = {}
                due = evaluation and (done % config.eval.every == 0 or last) and not stopping
                if due:
                    progress.refuse_nan()
                    scores = evaluation(done, state, stop.asked)
                if done % config.save_every == 0 or last or due or stopping:
                    with progress.halt("save"):
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
    return state, progress.halts


@contextlib.contextmanager
def claimed(workdir: Path, config: ConfigDict) -> Iterator[None]:
    """While active, `workdir` is the run of `config`, as by `claim`, and seen to be trained."""
    claim(workdir, config)
    with lock.training(workdir):
        yield


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes `workdir` the run of `config`, or raises UserError where it is another's.

    It is another's once something has been saved: what failed before that can be mended. From then
    on its config.json stays until `note`: the start may yet be refused, for other data say.
    """
    path = workdir / "config.json"
    with _writable(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists() and configuration.has_begun(workdir):
            configuration.refuse_another(configuration.read(path), config, workdir)
        else:
            note(workdir, config)
    mesh.wait_for_all_processes(f"claim {workdir}")
    processes.raise_in_all(
        ""
        if path.exists()
        else f"the workdir {workdir} is not the folder that process 0 has there; give a --workdir "
        "on a file system that all hosts share, or on gs://."
    )


def note(workdir: Path, config: ConfigDict) -> None:
    """Writes down that `workdir` is the run of `config`."""
    if jax.process_index() == 0:
        configuration.write(workdir / "config.json", config)


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
    learner: learners.Learner, devices: jax.sharding.Mesh, start: int, config: ConfigDict
) -> Iterator[tuple[int, int, dict[str, jax.Array]]]:
    """(first step, how many, their batch or batches stacked on the devices), each group being
    transferred while the one before is used."""
    ahead = None
    batches = learner.batches(start, config.steps)
    ends = [config.log_every, config.preview_every, config.save_every]
    if "eval" in config and config.eval.every:
        ends.append(config.eval.every)
    for first, count in fused_steps.groups(start, config.steps, learner.together, ends):
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

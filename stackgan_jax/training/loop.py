"""The one training loop: batch, step, log, preview, save. It knows a Learner, nothing of GANs."""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.runtime import mesh, processes
from stackgan_jax.runtime.compilation import readable_out_of_memory
from stackgan_jax.runtime.errors import Stopped, UserError
from stackgan_jax.training import fused_steps, previews
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.learner import Learner
from stackgan_jax.training.outlook import Outlook
from stackgan_jax.training.progress import Progress
from stackgan_jax.training.run_folder import claimed, note

# (config, workdir, devices) → the learner.
Create = Callable[[ConfigDict, Path, jax.sharding.Mesh], Learner]


class Evaluation(Protocol):
    """Scores a state between two steps.

    Attributes:
        metrics: the names of its scores.
    """

    metrics: Collection[str]

    def __call__(self, step: int, state: Any, abandoned: Callable[[], bool]) -> Mapping[str, float]:
        """Returns scores by name; none if it was abandoned."""


def train(
    config: ConfigDict,
    workdir: Path,
    create: Create,
    evaluation_of: Callable[[ConfigDict, Path], Evaluation | None] | None = None,
    outlook: Outlook | None = None,
) -> Any:
    """Trains until `config.steps`, starting from the newest checkpoint in `workdir`.

    It writes to `workdir`: config.json, checkpoints/, metrics.jsonl, previews/, what its loggers
    keep there, and what the learner finishes with, for example a text encoder.

    Args:
        config: of one training.
        workdir: of the run.
        create: makes the learner.
        evaluation_of: makes the evaluation that runs every `config.eval.every` steps; None for no
            evaluation.
        outlook: the place of the training in a quickstart, for its remaining time.

    Returns:
        The final state.

    Raises:
        UserError: the workdir belongs to another config, cannot be written or is not the same
            folder for every process, or a loss became NaN.
        Stopped: Ctrl-C or SIGTERM came; everything up to that step has been saved.
    """
    with claimed(workdir, config):
        devices = mesh.data_mesh(config.batch_size)
        with readable_out_of_memory(config):
            learner = create(config, workdir, devices)
            note(workdir, config)
            evaluation = evaluation_of(config, workdir) if evaluation_of else None
            state, _ = run(learner, config, workdir, devices, evaluation, outlook)
    return state


def run(
    learner: Learner,
    config: ConfigDict,
    workdir: Path,
    devices: jax.sharding.Mesh,
    evaluation: Evaluation | None = None,
    outlook: Outlook | None = None,
) -> tuple[Any, dict[str, list[float]]]:
    """Runs the loop of `train`: batch, step, log, preview, evaluation, save.

    Args:
        learner: what is trained.
        config: steps, and how often to log, preview, evaluate and save.
        workdir: of the run.
        devices: that share the batch.
        evaluation: scores a state; None for no evaluation.
        outlook: as for `train`.

    Returns:
        The final state, and `Progress.halts`: seconds that the devices waited for logs, previews
        and saves.
    """
    checkpoints = Checkpoints(workdir / "checkpoints", **config.keep)
    state = learner.init(jax.random.key(config.seed))
    begun = checkpoints.latest is not None
    start, state = checkpoints.restore(state) if begun else (0, state)
    progress = Progress(config, workdir, start, outlook)
    early = previews.early(config.preview_every) if learner.preview else ()
    if begun:
        progress.say(f"Resuming from step {start:,} of {workdir}.")
    progress.overview(learner.parameters(state))
    try:
        with processes.StopRequests() as stop:
            for first, count, batch in _batches(learner, devices, start, config, early):
                take = learner.step if count == 1 else learner.steps
                state, metrics = take(state, batch)
                done = progress.count(first, count, metrics)
                if first == start:
                    measured = {*metrics, *(evaluation.metrics if evaluation else ())}
                    _require_known_best(config, measured)
                last = done == config.steps
                stopping = stop.agreed()
                if done % config.log_every == 0 or last or stopping:
                    with progress.halt("log"):
                        progress.report()
                regular = done % config.preview_every == 0 or last
                if learner.preview and (regular or done in early):
                    with progress.halt("preview"):
                        progress.preview(learner.preview(state))
                scores = {}
                due = evaluation and (done % config.eval.every == 0 or last) and not stopping
                if due:
                    progress.refuse_nan()
                    scores = evaluation(done, state, stop.asked)
                    progress.scores(scores)
                if done % config.save_every == 0 or last or due or stopping:
                    with progress.halt("save"):
                        progress.refuse_nan()
                        checkpoints.save(done, state, progress.means | scores)
                if stopping:
                    raise Stopped(stopping, done, workdir)
                checkpoints.check()
    finally:  # A save that has begun is finished, whatever happened.
        checkpoints.close()
        progress.close()
    if learner.finish:
        learner.finish(state)
    return state, progress.halts


def _require_known_best(config: ConfigDict, names: Collection[str]) -> None:
    """Raises UserError if `config.keep.best` is none of the names that are measured."""
    if config.keep.best and config.keep.best not in names:
        raise UserError(
            f"Unknown config.keep.best {config.keep.best!r}; choose from "
            f"{', '.join(sorted(names))}."
        )


def _batches(
    learner: Learner,
    devices: jax.sharding.Mesh,
    start: int,
    config: ConfigDict,
    marks: Sequence[int],
) -> Iterator[tuple[int, int, dict[str, jax.Array]]]:
    """Yields (first step, how many steps, their batch or stacked batches on the devices).

    Each group is transferred while the one before is used; `marks` are ends of groups, too.
    """
    ahead = None
    batches = learner.batches(start, config.steps)
    ends = [config.log_every, config.preview_every, config.save_every]
    if "eval" in config and config.eval.every:
        ends.append(config.eval.every)
    for first, count in fused_steps.groups(start, config.steps, learner.together, ends, marks):
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

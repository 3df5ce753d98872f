"""Orbax checkpoints of any pytree: saved in the background, sealed, restored on any mesh.

A checkpoint is sealed when it is complete: `runtime/seals.py`. Its seal also carries the run's
config and the other small files without which the arrays mean nothing.
"""

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from stackgan_jax.runtime import paths, seals
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.run_files import saved_steps
from stackgan_jax.training import former_states
from stackgan_jax.training.sound_checkpoints import Saved, first_sound, reason_of, set_aside

CARRIED = ("config.json", "data.json", "stage[0-9]*.json")  # Of the run's folder.
UNSEALED = ("_CHECKPOINT_METADATA",)  # Orbax still adds a time to it.

# Devices share the writing of an array that all of them hold by slicing it, and each slice of each
# shape is a program to compile: 4 s at the first checkpoint on 8 devices. Only large arrays pay.
_SHARED_BYTES = 4 << 20  # of one device's share
_WRITERS = ocp.type_handlers.create_type_handler_registry(
    (
        jax.Array,
        ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=_SHARED_BYTES),
    ),
    (np.ndarray, ocp.type_handlers.NumpyHandler()),
)


class Checkpoints:
    """The checkpoints of one run, `<directory>/<step>/{state,metrics,seal.json}`.

    Args:
        directory: the folder; it is created when the first checkpoint is saved.
        newest: how many of the newest checkpoints are kept.
        every: also keep checkpoints whose step is a multiple of this; 0 for none.
        best: also keep the checkpoint with the best value of this metric; "" for none.
        best_mode: "min" if smaller values are better, or "max".
        read_only: whether to save and clean up nothing, because another process may be training.
    """

    def __init__(
        self,
        directory: str | Path,
        newest: int = 2,
        every: int = 0,
        best: str = "",
        best_mode: str = "min",
        read_only: bool = False,
    ) -> None:
        self.directory = paths.absolute(directory)
        self._best, self._best_mode, self._read_only = best, best_mode, read_only
        self._policy = _preservation_policy(newest, every, best, best_mode)
        self._saving: int | None = None

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """What saves. It is made after `restore`, because it reads every checkpoint's metrics."""
        for step in self.steps:
            if _metrics(self.directory / str(step)) is None:
                set_aside(self.directory, step, "its metrics can't be read")
        return ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=self._policy,
                cleanup_tmp_directories=True,  # What a killed process was saving.
                async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            ),
            item_handlers={
                "state": ocp.PyTreeCheckpointHandler(type_handler_registry=_WRITERS),
                "metrics": ocp.JsonCheckpointHandler(),
            },
        )

    @property
    def steps(self) -> list[int]:
        """All saved steps, oldest first."""
        return saved_steps(self.directory)

    @property
    def latest(self) -> int | None:
        """The newest saved step, or None."""
        return max(self.steps, default=None)

    @property
    def best(self) -> int | None:
        """The step to draw from: that with the best value of the metric `best`, or the newest."""
        values = {step: self._value(step) for step in self.steps} if self._best else {}
        measured = {step: value for step, value in values.items() if value is not None}
        if not measured:
            return self.latest
        choose = min if self._best_mode == "min" else max
        return choose(measured, key=lambda step: (measured[step], -step))

    def save(self, step: int, state: Any, metrics: Mapping[str, float]) -> None:
        """Starts to save a checkpoint in the background; a saved step is not saved again.

        Args:
            step: the number of steps done.
            state: a pytree of arrays.
            metrics: the metrics of the step, by name.

        Raises:
            UserError: the disk is full or cannot be written.
        """
        metrics = {name: float(value) for name, value in metrics.items()}
        with _disk_errors_as_user_errors(f"saving step {step} in {self.directory}"):
            self._manager.wait_until_finished()  # so that `_seal` knows of which step it is called
            self._saving = step
            self._manager.save(
                step,
                metrics=metrics,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state), metrics=ocp.args.JsonSave(metrics)
                ),
            )

    def check(self) -> None:
        """Checks the checkpoints that are being saved in the background.

        Raises:
            UserError: one of them could not be saved.
        """
        with _disk_errors_as_user_errors(f"saving in {self.directory}"):
            self._manager.check_for_errors()

    def restore(self, template: Any, step: int | None = None) -> Saved:
        """Restores the state of a step.

        A damaged checkpoint is set aside, unless `read_only`, and an older one restored.

        Args:
            template: a state with the same structure, shapes and shardings.
            step: this step and no other; the newest sound one by default.

        Returns:
            The step, and its state with the shardings of `template`.

        Raises:
            UserError: there is no such checkpoint, none is sound, or its arrays have other shapes.
        """

        def read(step: int) -> Any:
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
                saved = self._shapes_of(reader, step)
                stored = former_states.as_stored(template, saved)
                self._require_shapes(stored, saved, step)
                abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, stored)
                restored = reader.restore(
                    self._state(step), args=ocp.args.StandardRestore(abstract)
                )
            return former_states.as_now(template, restored)

        return first_sound(
            self.directory, self._candidates(step, self.latest), read, self._read_only
        )

    def restore_part(self, names: tuple[str, ...], step: int | None = None) -> Saved:
        """Restores some fields of the state only.

        Args:
            names: top-level fields of the state.
            step: this step and no other; `best` by default, or another sound one.

        Returns:
            The step, and each field by name, as nested dicts of NumPy arrays.

        Raises:
            UserError: there is no such checkpoint, none is sound, or it lacks a field.
        """
        candidates = self._candidates(step, self.best)
        return first_sound(
            self.directory, candidates, lambda step: self._part(names, step), self._read_only
        )

    def _part(self, names: tuple[str, ...], step: int) -> dict[str, Any]:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            saved = self._shapes_of(reader, step)
            names = former_states.stored_names(names, saved)
            missing = [name for name in names if name not in saved]
            if missing:
                raise UserError(
                    f"The checkpoint {self.directory}/{step} has no {', '.join(missing)}; "
                    f"it holds {', '.join(sorted(saved))}."
                )
            device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            abstract = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
                {name: saved[name] for name in names},
            )
            restored = reader.restore(
                self._state(step),
                args=ocp.args.PyTreeRestore(
                    abstract,
                    restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
                    partial_restore=True,
                ),
            )
        return former_states.parts_as_now(jax.device_get(restored))

    def _state(self, step: int) -> Any:
        return self.directory / str(step) / "state"

    def _shapes_of(self, reader: ocp.Checkpointer, step: int) -> dict[str, Any]:
        """The tree of shapes and types of a saved state."""
        return reader.metadata(self._state(step)).item_metadata.tree

    def metrics(self, step: int | None = None) -> dict[str, float]:
        """Returns the metrics that were saved with the state.

        Args:
            step: the step; the newest by default.

        Raises:
            UserError: there is no such checkpoint.
        """
        (step, *_) = self._candidates(step, self.latest)
        return _metrics(self.directory / str(step)) or {}

    def wait(self) -> None:
        """Returns when all checkpoints that are being saved are on disk.

        Raises:
            UserError: one of them could not be saved.
        """
        with _disk_errors_as_user_errors(f"saving in {self.directory}"):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits as `wait` does, then releases the folder."""
        self.wait()
        self._manager.close()

    def _seal(self) -> None:
        """Seals the checkpoint that Orbax has written and will now give its final name."""
        if jax.process_index():
            return
        unfinished = self.directory.glob(f"{self._saving}.orbax-checkpoint-tmp*")
        folder = next(iter(unfinished), self.directory / str(self._saving))
        run = self.directory.parent
        carried = [path for pattern in CARRIED for path in run.glob(pattern)]
        texts = {path.name: path.read_text(encoding="utf-8") for path in carried}
        seals.seal(folder, texts, leave_out=UNSEALED)

    def _candidates(self, step: int | None, first: int | None) -> list[int]:
        """`step` alone, or for None all saved steps: `first`, then the others, newest first."""
        steps = self.steps
        if step is None and steps:
            return [first, *(each for each in reversed(steps) if each != first)]
        if step not in steps:
            missing = "No checkpoint" if step is None else f"No checkpoint of step {step}"
            remedy = f"; there are {steps}" if steps else "; train it first"
            raise UserError(f"{missing} in {self.directory}{remedy}.")
        return [step]

    def _value(self, step: int) -> float | None:
        """The metric `best` of a step; None if it was not measured or can't be read."""
        return (_metrics(self.directory / str(step)) or {}).get(self._best)

    def _require_shapes(self, template: Any, tree: Any, step: int) -> None:
        """Raises UserError if the arrays of the saved tree and of `template` differ in shape."""
        saved, expected = _shapes(tree), _shapes(template)
        for name in sorted(saved.keys() | expected.keys()):
            if saved.get(name) != expected.get(name):
                raise UserError(
                    f"The checkpoint {self.directory}/{step} belongs to a different network: "
                    f"{name} has shape {saved.get(name, 'none')} there and "
                    f"{expected.get(name, 'none')} in this config; use the config it was trained "
                    "with, or another --workdir."
                )


def _preservation_policy(
    newest: int, every: int, best: str, best_mode: str
) -> checkpoint_managers.PreservationPolicy:
    """Returns Orbax's form of the arguments of `Checkpoints`."""
    policies = [checkpoint_managers.LatestN(newest)]
    if every:
        policies.append(checkpoint_managers.EveryNSteps(every))
    if best:
        # Checkpoints that were not evaluated lack the metric.
        worst = float("inf") if best_mode == "min" else -float("inf")
        policies.append(
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics.get(best, worst),
                reverse=best_mode == "min",
                n=1,
            )
        )
    return checkpoint_managers.AnyPreservationPolicy(policies)


@contextlib.contextmanager
def _disk_errors_as_user_errors(doing: str) -> Iterator[None]:
    """Turns the errors that Orbax raises on a full or unwritable disk into a `UserError`.

    Args:
        doing: what failed, as the sentence continues after "Failed while".
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"Failed while {doing}: {reason_of(error)} "
            "Earlier checkpoints are intact; free disk space or correct the path, then run again."
        ) from error


def _metrics(folder: Any) -> dict[str, float] | None:
    """The metrics of a checkpoint; None if they can't be read."""
    try:
        metrics = json.loads((folder / "metrics" / "metrics").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return metrics if isinstance(metrics, dict) else None


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every array by its path, with names joined by '/'."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): tuple(leaf.shape) for path, leaf in flat}


def _name(path: tuple) -> str:
    parts = (getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))) for key in path)
    return "/".join(str(part) for part in parts)

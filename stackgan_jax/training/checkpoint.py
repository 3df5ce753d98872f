"""Orbax checkpoints of any pytree: saved in the background, restored on any mesh."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from stackgan_jax.runtime import paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import former_states


class Checkpoints:
    """The checkpoints of one run, `<directory>/<step>/{state,metrics}`.

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
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=_preservation_policy(newest, every, best, best_mode),
                # Otherwise a checkpoint that another process is saving would be cleaned up.
                cleanup_tmp_directories=not read_only,
                create=not read_only,
            ),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "metrics": ocp.JsonCheckpointHandler(),
            },
        )

    @property
    def latest(self) -> int | None:
        """The newest saved step, or None."""
        return self._manager.latest_step()

    @property
    def steps(self) -> list[int]:
        """All saved steps, oldest first."""
        return sorted(self._manager.all_steps())

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
            self._manager.save(
                step,
                metrics=metrics,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), metrics=ocp.args.JsonSave(metrics)
                ),
            )

    def check(self) -> None:
        """Checks the checkpoints that are being saved in the background.

        Raises:
            UserError: one of them could not be saved.
        """
        with _disk_errors_as_user_errors(f"saving in {self.directory}"):
            self._manager.check_for_errors()

    def restore(self, template: Any, step: int | None = None) -> Any:
        """Restores the state of a step.

        Args:
            template: a state with the same structure, shapes and shardings.
            step: the step; the newest by default.

        Returns:
            The state, with the shardings of `template`.

        Raises:
            UserError: there is no such checkpoint, or its arrays have other shapes.
        """
        step = self._existing(step)
        saved = self._manager.item_metadata(step).state.tree
        stored = former_states.as_stored(template, saved)
        self._require_shapes(stored, saved, step)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, stored)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        )
        return former_states.as_now(template, restored.state)

    def restore_part(self, names: tuple[str, ...], step: int | None = None) -> dict[str, Any]:
        """Restores some fields of the state only.

        Args:
            names: top-level fields of the state.
            step: the step; the newest by default.

        Returns:
            Each field by name, as nested dicts of NumPy arrays.

        Raises:
            UserError: there is no such checkpoint, or it lacks a field.
        """
        step = self._existing(step)
        saved = self._manager.item_metadata(step).state.tree
        names = former_states.stored_names(names, saved)
        missing = [name for name in names if name not in saved]
        if missing:
            raise UserError(
                f"The checkpoint {self.directory}/{step} has no {', '.join(missing)}; "
                f"it holds {', '.join(sorted(saved))}."
            )
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        part = {name: saved[name] for name in names}
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), part
        )
        restore_args = ocp.checkpoint_utils.construct_restore_args(abstract)
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            restored = reader.restore(
                self.directory / str(step) / "state",
                args=ocp.args.PyTreeRestore(
                    abstract, restore_args=restore_args, partial_restore=True
                ),
            )
        return former_states.parts_as_now(jax.device_get(restored))

    def metrics(self, step: int | None = None) -> dict[str, float]:
        """Returns the metrics that were saved with the state.

        Args:
            step: the step; the newest by default.

        Raises:
            UserError: there is no such checkpoint.
        """
        step = self._existing(step)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(metrics=ocp.args.JsonRestore())
        )
        return restored.metrics

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

    def _existing(self, step: int | None) -> int:
        """Returns `step`, or the newest step for None; raises UserError if it was not saved."""
        if step is None:
            step = self.latest
        if step is None or step not in self.steps:
            missing = "No checkpoint" if step is None else f"No checkpoint of step {step}"
            remedy = f"; there are {self.steps}" if self.steps else "; train it first"
            raise UserError(f"{missing} in {self.directory}{remedy}.")
        return step

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


def saved_steps(directory: Path) -> list[int]:
    """Returns the steps with complete checkpoints, oldest first, without opening them."""
    return sorted(int(path.name) for path in directory.glob("*") if path.name.isdigit())


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
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"Failed while {doing}: {reason[0][:300]} "
            "Earlier checkpoints are intact; free disk space or correct the path, then run again."
        ) from error


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every array by its path, with names joined by '/'."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): tuple(leaf.shape) for path, leaf in flat}


def _name(path: tuple) -> str:
    parts = (getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))) for key in path)
    return "/".join(str(part) for part in parts)

"""Orbax checkpoints of any pytree: saved behind the loop, kept by policy, restored on any mesh."""

from collections.abc import Mapping
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
      directory: created when the first checkpoint is saved.
      newest: how many of the newest are kept.
      every: keep, besides, each whose step is a multiple of this; 0 for none.
      best: keep, besides, the one with the best value of this metric; "" for none.
      best_mode: "min" or "max".
      read_only: for whoever reads while another process trains: nothing is saved or cleaned up.
    """

    def __init__(
        self,
        directory: str | Path,
        newest: int = 2,
        every: int = 0,
        best: str = "",
        best_mode: str = "min",
        read_only: bool = False,
    ):
        self.directory = paths.absolute(directory)
        policies = [checkpoint_managers.LatestN(newest)]
        if every:
            policies.append(checkpoint_managers.EveryNSteps(every))
        if best:
            # Not every checkpoint has been evaluated.
            worst = float("inf") if best_mode == "min" else -float("inf")
            policies.append(
                checkpoint_managers.BestN(
                    get_metric_fn=lambda metrics: metrics.get(best, worst),
                    reverse=best_mode == "min",
                    n=1,
                )
            )
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
                # What another process is just saving would be taken for a rest.
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
        """Begins to save in the background; a step that is already there is left as it is."""
        metrics = {name: float(value) for name, value in metrics.items()}
        with _told_to_the_user(f"saving step {step} in {self.directory}"):
            self._manager.save(
                step,
                metrics=metrics,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), metrics=ocp.args.JsonSave(metrics)
                ),
            )

    def check(self) -> None:
        """Raises UserError if a background save has failed."""
        with _told_to_the_user(f"saving in {self.directory}"):
            self._manager.check_for_errors()

    def restore(self, template: Any, step: int | None = None) -> Any:
        """The state at `step` (the newest by default), shaped and sharded like `template`.

        Raises UserError when there is no checkpoint or its arrays have other shapes.
        """
        step = self._existing(step)
        saved = self._manager.item_metadata(step).state.tree
        stored = former_states.as_stored(template, saved)
        self._refuse_other_shapes(stored, saved, step)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, stored)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        )
        return former_states.as_now(template, restored.state)

    def restore_part(self, names: tuple[str, ...], step: int | None = None) -> dict[str, Any]:
        """The named top-level fields only, as nested dicts of NumPy arrays."""
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
        """The metrics saved beside the state at `step` (the newest by default)."""
        step = self._existing(step)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(metrics=ocp.args.JsonRestore())
        )
        return restored.metrics

    def wait(self) -> None:
        """Returns when everything begun is on disk; raises UserError if that failed."""
        with _told_to_the_user(f"saving in {self.directory}"):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then lets go of the directory."""
        self.wait()
        self._manager.close()

    def _existing(self, step: int | None) -> int:
        if step is None:
            step = self.latest
        if step is None or step not in self.steps:
            wanted = "No checkpoint" if step is None else f"No checkpoint of step {step}"
            there = f"; there are {self.steps}" if self.steps else "; train it first"
            raise UserError(f"{wanted} in {self.directory}{there}.")
        return step

    def _refuse_other_shapes(self, template: Any, saved: Any, step: int) -> None:
        saved, wanted = _shapes(saved), _shapes(template)
        for name in sorted(saved.keys() | wanted.keys()):
            if saved.get(name) != wanted.get(name):
                raise UserError(
                    f"The checkpoint {self.directory}/{step} is of another network: {name} has "
                    f"shape {saved.get(name, 'none')} there and {wanted.get(name, 'none')} in this "
                    f"config; use the config it was trained with, or another --workdir."
                )


def saved_steps(directory: Path) -> list[int]:
    """The steps whose checkpoints are whole, oldest first, seen without opening any."""
    return sorted(int(path.name) for path in directory.glob("*") if path.name.isdigit())


class _told_to_the_user:
    """Turns what Orbax raises on a full or unwritable disk into one sentence."""

    def __init__(self, doing: str):
        self.doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> None:
        if isinstance(error, (OSError, ValueError, RuntimeError)):
            reason = str(error).strip().splitlines() or [kind.__name__]
            raise UserError(
                f"Failed while {self.doing}: {reason[0][:300]} "
                "Earlier checkpoints are intact; free space or mend the path, then run again."
            ) from error


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Path → shape of every array; attribute and key names joined by '/'."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): tuple(leaf.shape) for path, leaf in flat}


def _name(path: tuple) -> str:
    parts = (getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))) for key in path)
    return "/".join(str(part) for part in parts)

"""Devices and processes: the one-axis ('data',) mesh, its shardings, and batches placed on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stackgan_jax.runtime.errors import UserError

SMALLEST = 4096  # numbers in an array that is worth splitting


def data_mesh(batch_size: int, described: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh of all devices of all processes, or of described ones, axis `data`.

    Raises UserError when `batch_size` can't be shared equally by the devices.
    """
    devices = jax.device_count() if described is None else len(described)
    if batch_size % devices:
        below, above = batch_size // devices * devices, -(-batch_size // devices) * devices
        choices = f"{below} or {above}" if below else f"{above}"
        raise UserError(
            f"batch_size {batch_size} can't be shared equally by {devices} devices; "
            f"set --config.batch_size to {choices}, or another multiple of {devices}."
        )
    # By process, whatever the wiring: a process's part of a batch is one slice of it.
    ordered = sorted(described or jax.devices(), key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(ordered), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The leading axis, or another, is split over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))


def over_devices(mesh: Mesh, shapes: Any) -> Any:
    """A sharding for each array of a tree (or its shape): split over the devices.

    Each array is split along its longest axis that the devices divide (as in ZeRO-3 or FSDP), so
    that a device keeps, and an optimiser updates, 1 / devices of it; XLA gathers it where it is
    used. Arrays of under `SMALLEST` numbers stay whole.
    """

    def choose(leaf: Any) -> NamedSharding:
        axes = [axis for axis, length in enumerate(leaf.shape) if length % mesh.size == 0]
        if not axes or leaf.size < SMALLEST:
            return replicated(mesh)
        axis = max(axes, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))

    return jax.tree.map(choose, shapes)


def gathered(mesh: Mesh, tree: Any) -> Any:
    """The same arrays, whole on every device; to be called by every process."""
    return jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(tree)


def place_batch(mesh: Mesh, batch: Mapping[str, np.ndarray], axis: int = 0) -> dict[str, jax.Array]:
    """This process's part of a batch, `[b / processes, …]` each, as global arrays `[b, …]`.

    `axis` is the one that runs over the batch: 1 for batches that are stacked.
    """
    sharding = over_batch(mesh, axis)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }


def own_rows(count: int) -> np.ndarray:
    """Which of `count` rows this process works on: as many in each, the last one repeated."""
    share = -(-count // jax.process_count())
    first = jax.process_index() * share
    return np.minimum(np.arange(first, first + share), count - 1)


def gather_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """Every process's `own_rows` → `[count, …]`, on every process."""
    if jax.process_count() == 1:
        return rows
    from jax.experimental import multihost_utils

    if rows.dtype.kind == "U":  # strings travel as numbers
        numbers = np.ascontiguousarray(rows.astype("U64")).view(np.uint32).reshape(-1, 64)
        return gather_rows(numbers, count).view("U64")[:, 0]
    return multihost_utils.process_allgather(rows, tiled=True)[:count]


def on_host(tree: Any) -> Any:
    """Arrays of a mesh, wherever their parts lie, as whole NumPy arrays of this process."""
    if all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in jax.tree.leaves(tree)):
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)


def place_everywhere(mesh: Mesh, arrays: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Arrays that every process has, as global arrays that every device holds whole."""
    sharding = replicated(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, np.asarray(value), value.shape)
        for name, value in arrays.items()
    }


def wait_for_all_processes(name: str) -> None:
    """Returns when every process has come here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def process_0_first(make: Callable[[], object], name: str) -> None:
    """Returns when `make` has run in process 0 and then in all others.

    What the first has made the others find, or, on disks of their own, make for themselves; so
    `make` sees for itself whether there is something to do, and bears being run by several at once.
    """
    if jax.process_index() == 0:
        make()
    wait_for_all_processes(f"{name} by process 0")
    if jax.process_index():
        make()
    wait_for_all_processes(f"{name} by all")

"""The mesh of all devices with the one axis `data`: shardings, placement and synchronisation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stackgan_jax.runtime.errors import UserError

Made = TypeVar("Made")
SMALLEST = 4096  # Arrays with fewer numbers are not split over the devices.


def data_mesh(batch_size: int, described: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns the mesh of all devices of all processes.

    Args:
        batch_size: the global batch size.
        described: the devices to use instead, for example descriptions of absent devices.

    Raises:
        UserError: the number of devices does not divide `batch_size`.
    """
    devices = jax.device_count() if described is None else len(described)
    if batch_size % devices:
        below, above = batch_size // devices * devices, -(-batch_size // devices) * devices
        choices = f"{below} or {above}" if below else f"{above}"
        raise UserError(
            f"batch_size {batch_size} can't be shared equally by {devices} devices; "
            f"set --config.batch_size to {choices}, or another multiple of {devices}."
        )
    # Sorted by process, not by wiring, so that a process's part of a batch is one slice of it.
    ordered = sorted(described or jax.devices(), key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(ordered), ("data",), axis_types=(AxisType.Auto,))


def local_mesh() -> Mesh:
    """Returns the mesh of this process's devices, for work that is divided among processes."""
    return Mesh(np.array(jax.local_devices()), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding in which every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Returns the sharding that splits the leading axis, or another one, over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))


def over_devices(mesh: Mesh, shapes: Any) -> Any:
    """Returns shardings that split each array of a tree over the devices.

    Each array is split along its longest axis that the number of devices divides, as in ZeRO-3 or
    FSDP: a device keeps 1 / devices of the array, and the optimiser updates only this part. XLA
    gathers the array where it is used. Arrays with fewer than `SMALLEST` numbers stay whole.

    Args:
        mesh: the devices.
        shapes: a tree of arrays or of `jax.ShapeDtypeStruct`s.

    Returns:
        A tree of the same structure with a sharding for each array.
    """

    def choose(leaf: Any) -> NamedSharding:
        axes = [axis for axis, length in enumerate(leaf.shape) if length % mesh.size == 0]
        if not axes or leaf.size < SMALLEST:
            return replicated(mesh)
        axis = max(axes, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))

    return jax.tree.map(choose, shapes)


def gathered(mesh: Mesh, tree: Any) -> Any:
    """Returns the arrays whole on every device; every process must call it."""
    return jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(tree)


def place_batch(mesh: Mesh, batch: Mapping[str, np.ndarray], axis: int = 0) -> dict[str, jax.Array]:
    """Puts this process's part of a batch on its devices.

    Args:
        mesh: the devices.
        batch: this process's arrays, `[b / processes, …]` each.
        axis: the axis of the images: 1 for stacked batches `[steps, b / processes, …]`.

    Returns:
        Global arrays `[b, …]`, split over the devices.
    """
    sharding = over_batch(mesh, axis)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }


def own_rows(count: int) -> np.ndarray:
    """Returns the indices of the rows, out of `count`, that this process works on.

    Every process gets the same number; the last index is repeated where rows run out.
    """
    share = -(-count // jax.process_count())
    first = jax.process_index() * share
    return np.minimum(np.arange(first, first + share), count - 1)


def gather_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """Joins the results for every process's `own_rows` to `[count, …]`, on every process."""
    if jax.process_count() == 1:
        return rows
    from jax.experimental import multihost_utils

    if rows.dtype.kind == "U":  # Strings are sent as numbers.
        numbers = np.ascontiguousarray(rows.astype("U64")).view(np.uint32).reshape(-1, 64)
        return gather_rows(numbers, count).view("U64")[:, 0]
    return multihost_utils.process_allgather(rows, tiled=True)[:count]


def on_host(tree: Any) -> Any:
    """Returns the arrays of a tree as whole NumPy arrays, also where other processes hold parts."""
    if all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in jax.tree.leaves(tree)):
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)


def place_everywhere(mesh: Mesh, arrays: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Puts arrays that every process has whole on every device, as global arrays."""
    sharding = replicated(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, np.asarray(value), value.shape)
        for name, value in arrays.items()
    }


def wait_for_all_processes(name: str) -> None:
    """Returns when every process has called it with this name."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def process_0_first(make: Callable[[], Made], name: str) -> Made:
    """Runs `make` in process 0 first, then in all other processes.

    On a shared disk the others find what process 0 made; on disks of their own they make it
    themselves. `make` therefore checks whether there is something to do, and several processes
    may run it at once.

    Args:
        make: the function to run.
        name: a name for the barriers.

    Returns:
        What `make` returned in this process.
    """
    if jax.process_index() == 0:
        made = make()
    wait_for_all_processes(f"{name} by process 0")
    if jax.process_index():
        made = make()
    wait_for_all_processes(f"{name} by all")
    return made

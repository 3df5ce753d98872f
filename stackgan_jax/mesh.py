"""Devices and processes: the one-axis ('data',) mesh, its shardings, and batches placed on it."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stackgan_jax.errors import UserError


def data_mesh(batch_size: int) -> Mesh:
    """The mesh of all devices of all processes, axis `data`.

    Raises UserError when `batch_size` can't be shared equally by the devices.
    """
    devices = jax.device_count()
    if batch_size % devices:
        below, above = batch_size // devices * devices, -(-batch_size // devices) * devices
        choices = f"{below} or {above}" if below else f"{above}"
        raise UserError(
            f"batch_size {batch_size} can't be shared equally by {devices} devices; "
            f"set --config.batch_size to {choices}, or another multiple of {devices}."
        )
    return jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """The leading axis is split over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def place_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process's part of a batch, `[b / processes, …]` each, as global arrays `[b, …]`."""
    sharding = over_batch(mesh)
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


def wait_for_all_processes(name: str) -> None:
    """Returns when every process has come here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)

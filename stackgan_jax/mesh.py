"""Devices and processes: the one-axis ('data',) mesh, its shardings, and batches placed on it."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stackgan_jax.errors import UserError


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
    return jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=described)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The leading axis, or another, is split over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))


def place_batch(mesh: Mesh, batch: Mapping[str, np.ndarray], axis: int = 0) -> dict[str, jax.Array]:
    """This process's part of a batch, `[b / processes, …]` each, as global arrays `[b, …]`.

    `axis` is the one that runs over the batch: 1 for batches that are stacked.
    """
    sharding = over_batch(mesh, axis)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }


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

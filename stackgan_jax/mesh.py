"""Devices and processes: the one-axis ('data',) mesh, its shardings, and batches placed on it."""

from collections.abc import Mapping

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


def wait_for_all_processes(name: str) -> None:
    """Returns when every process has come here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)

"""The mesh: batches and states are split over the devices."""

import jax
import numpy as np
import pytest

from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError


def test_a_batch_is_split_over_all_devices_in_order():
    batch = {"image": np.arange(16 * 4, dtype=np.uint8).reshape(16, 4), "label": np.arange(16)}
    placed = mesh.place_batch(mesh.data_mesh(16), batch)
    assert len(placed["image"].addressable_shards) == jax.device_count() == 8
    assert placed["image"].addressable_shards[0].data.shape == (2, 4)
    np.testing.assert_array_equal(placed["image"], batch["image"])


@pytest.mark.parametrize(("size", "choices"), [(12, "8 or 16"), (3, "to 8")])
def test_a_batch_size_that_the_devices_do_not_divide_is_rejected(size, choices):
    with pytest.raises(UserError, match=choices):
        mesh.data_mesh(size)


def test_the_parts_of_a_batch_are_in_the_order_of_the_processes_not_of_the_wiring(monkeypatch):
    """On a TPU slice the fastest ring can visit a host twice; its images stay together."""
    wired = sorted(jax.devices(), key=lambda device: device.id * 5 % 8)
    monkeypatch.setattr(jax, "devices", lambda: wired)
    assert list(mesh.data_mesh(8).devices) == jax.local_devices()


def test_a_state_is_split_along_the_longest_axis_that_the_devices_divide():
    devices = mesh.data_mesh(8)
    tree = {
        "kernel": np.zeros((3, 3, 64, 24)),
        "odd": np.zeros((3, 3, 999, 7)),
        "bias": np.zeros(64),
    }
    placed = jax.device_put(tree, mesh.over_devices(devices, tree))
    shapes = {name: array.addressable_shards[0].data.shape for name, array in placed.items()}
    assert shapes == {"kernel": (3, 3, 8, 24), "odd": (3, 3, 999, 7), "bias": (64,)}
    whole = mesh.gathered(devices, placed)
    assert whole["kernel"].addressable_shards[0].data.shape == (3, 3, 64, 24)

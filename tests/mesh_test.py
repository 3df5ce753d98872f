"""The mesh: batches over devices."""

import jax
import numpy as np
import pytest

from stackgan_jax import mesh
from stackgan_jax.errors import UserError


def test_a_batch_is_split_over_all_devices_in_order():
    batch = {"image": np.arange(16 * 4, dtype=np.uint8).reshape(16, 4), "label": np.arange(16)}
    placed = mesh.place_batch(mesh.data_mesh(16), batch)
    assert len(placed["image"].addressable_shards) == jax.device_count() == 8
    assert placed["image"].addressable_shards[0].data.shape == (2, 4)
    np.testing.assert_array_equal(placed["image"], batch["image"])


@pytest.mark.parametrize(("size", "choices"), [(12, "8 or 16"), (3, "to 8")])
def test_a_batch_that_the_devices_dont_divide_is_refused(size, choices):
    with pytest.raises(UserError, match=choices):
        mesh.data_mesh(size)

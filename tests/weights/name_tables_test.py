"""The name tables: every weight is converted, in both directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorflow_names import to_tensorflow

from stackgan_jax.models import stage1, stage2
from stackgan_jax.models.discriminator import Discriminator
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.weights import name_tables

SMALL = {"features": 4, "condition": 8}
COCO = {
    "": stage2.Generator(residual_blocks=1, **SMALL),
    "STAGE1_G.": stage1.Generator(
        residual=False, noise_first=True, dense_bias=False, image_upsamples=False, **SMALL
    ),
}
BIRDS = {"g_net": stage1.Generator(**SMALL), "d_net": Discriminator(**SMALL)}


def numbered(network):
    """Returns variables whose numbers all differ, for embeddings of 16 and noise of 4 numbers."""
    inputs = {
        stage1.Generator: lambda: (jnp.zeros((2, 16)), jnp.zeros((2, 4)), jnp.zeros((2, 8))),
        stage2.Generator: lambda: (
            jnp.zeros((2, 64, 64, 3)),
            jnp.zeros((2, 16)),
            jnp.zeros((2, 8)),
        ),
        Discriminator: lambda: (jnp.zeros((2, 64, 64, 3)), jnp.zeros((2, 16))),
    }[type(network)]()
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), *inputs, True))
    leaves, tree = jax.tree.flatten(shapes)
    starts = np.cumsum([0, *(leaf.size for leaf in leaves)])
    arrays = [
        np.arange(start, start + leaf.size).reshape(leaf.shape)
        for start, leaf in zip(starts, leaves, strict=False)
    ]
    return jax.tree.unflatten(tree, arrays)


def pytorch():
    return name_tables.to_pytorch({part: numbered(network) for part, network in COCO.items()}, COCO)


def test_pytorch_round_trip_moves_every_number_to_its_place():
    again = name_tables.from_pytorch(pytorch(), COCO)
    for part, network in COCO.items():
        jax.tree.map(np.testing.assert_array_equal, again[part], numbered(network))


def test_tensorflow_round_trip_moves_every_number_to_its_place():
    variables = {scope: numbered(network) for scope, network in BIRDS.items()}
    again = name_tables.from_tensorflow(to_tensorflow(variables, BIRDS), BIRDS)
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_pytorch_layouts_are_the_published_ones():
    ours, theirs = numbered(COCO["STAGE1_G."])["params"], pytorch()
    conv = theirs["STAGE1_G.upsample1.1.weight"]
    assert conv.shape == (16, 32, 3, 3)
    assert conv[5, 7, 0, 2] == ours["up8"]["conv"]["kernel"][0, 2, 7, 5]
    # The flattened 4x4 start is [32, 4, 4] in PyTorch and [4, 4, 32] here.
    dense = theirs["STAGE1_G.fc.0.weight"].reshape(32, 4, 4, 12)
    assert dense[9, 1, 3, 6] == ours["dense"]["kernel"].reshape(12, 4, 4, 32)[6, 1, 3, 9]
    norm = theirs["STAGE1_G.fc.1.bias"].reshape(32, 4, 4)
    assert norm[9, 1, 3] == ours["norm"]["bias"].reshape(4, 4, 32)[1, 3, 9]


def test_missing_unknown_and_misshapen_arrays_are_named():
    arrays = pytorch()
    arrays["mystery.weight"] = arrays.pop("hr_joint.0.weight")
    with pytest.raises(UserError) as error:
        name_tables.from_pytorch(arrays, COCO)
    assert "hr_joint.0.weight is missing" in str(error.value)
    assert "mystery.weight is not known" in str(error.value)

    arrays = pytorch()
    arrays["upsample1.1.weight"] = arrays["upsample1.1.weight"][:5]
    arrays["STAGE1_G.fc.1.bias"] = np.zeros(7)
    with pytest.raises(UserError) as error:
        name_tables.from_pytorch(arrays, COCO)
    assert "upsample1.1.weight gives shape (3, 3, 16, 5) where (3, 3, 16, 8)" in str(error.value)
    assert "STAGE1_G.fc.1.bias gives shape (7,) where (512,)" in str(error.value)


def test_bookkeeping_of_optimisers_is_ignored():
    arrays = pytorch()
    arrays["encoder.3.num_batches_tracked"] = np.array(7)
    name_tables.from_pytorch(arrays, COCO)
    variables = {scope: numbered(network) for scope, network in BIRDS.items()}
    arrays = to_tensorflow(variables, BIRDS)
    name = "g_net/custom_conv2d/custom_conv2d/w"
    for extra in (f"{name}/Adam", f"{name}/Adam_3", "beta1_power_2", "global_step"):
        arrays[extra] = np.zeros(1)
    name_tables.from_tensorflow(arrays, BIRDS)
    arrays["g_net/other/w"] = np.zeros(1)
    with pytest.raises(UserError, match="g_net/other/w is not known"):
        name_tables.from_tensorflow(arrays, BIRDS)


def test_a_network_that_pytorch_does_not_have_is_rejected():
    network = BIRDS["g_net"]
    with pytest.raises(UserError, match="has no such network"):
        name_tables.to_pytorch({"": numbered(network)}, {"": network})

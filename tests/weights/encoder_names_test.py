"""Names and layouts of char-CNN-RNN weights: round trip, sizes inferred, problems named."""

import numpy as np
import pytest
from lua_torch import draw

from stackgan_jax.models.char_cnn_rnn import PUBLISHED, CharCnnRnn
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.weights import encoder_names


@pytest.mark.parametrize("cell", ["plain", "gated"])
def test_a_round_trip_is_exact_and_infers_the_sizes(cell):
    module = CharCnnRnn(width=7, features=(8, 6, 5), cell=cell, final_pooling=cell == "plain")
    shapes = encoder_names.shapes(module)
    rng = np.random.default_rng(0)
    weights = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    inferred, params = encoder_names.from_state_dict(weights)
    assert inferred == module
    back = encoder_names.to_state_dict(inferred, params)
    assert back.keys() == weights.keys()
    assert all(np.array_equal(back[key], weights[key]) for key in weights)


def test_every_missing_extra_and_misshapen_weight_is_named():
    shapes = encoder_names.shapes(CharCnnRnn(**PUBLISHED["birds_cvpr"]))
    weights = {key: draw(key, shape) for key, shape in shapes.items()}
    weights["conv9.weight"] = weights.pop("rnn.h2h.bias")
    weights["emb_proj.weight"] = weights["emb_proj.weight"][:, :3]
    with pytest.raises(UserError) as error:
        encoder_names.from_state_dict(weights, "birds_cvpr")
    assert "rnn.h2h.bias is missing" in str(error.value)
    assert "conv9.weight is extra" in str(error.value)
    assert "emb_proj.weight has shape (1024, 3) instead of (1024, 256)" in str(error.value)


def test_weights_of_another_network_and_unknown_variants_are_rejected():
    with pytest.raises(UserError, match=r"no char-CNN-RNN weights: conv1\.bias"):
        encoder_names.from_state_dict({"main.0.weight": np.zeros(3)})
    with pytest.raises(UserError, match="choose from birds_cvpr"):
        encoder_names.from_state_dict({}, "cats_cvpr")

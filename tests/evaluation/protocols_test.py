"""Protocols: presets, changes to them, and settings that are rejected."""

import pytest

from stackgan_jax.evaluation import protocols
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"protocol": "fast"}, "'fast'; choose from stackgan, dfgan, quick"),
        ({"resize": "nearest"}, "resize 'nearest'; choose from tensorflow, pytorch, clean"),
        ({"dtype": "float16"}, "dtype 'float16'"),
        ({"images": -1}, "images is -1, but must be a whole number from 0"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_settings_are_rejected_in_one_sentence(changes, sentence):
    settings = configuration.evaluation()
    settings.update(changes)
    with pytest.raises(UserError, match=sentence):
        protocols.resolve(settings)


def test_the_name_of_a_protocol_lists_its_changes():
    settings = configuration.evaluation()
    settings.update(protocol="dfgan", images=500, seed=3)
    protocol = protocols.resolve(settings)
    assert protocol.name == "dfgan, changed: images 500, seed 3"
    assert (protocol.images, protocol.resize, protocol.truncation) == (500, "pytorch", 0.88)

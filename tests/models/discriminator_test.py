"""The discriminator: its outputs and its number of parameters, for every published setting."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.models import convolution, presets, registry
from stackgan_jax.models.discriminator import Discriminator

KEY = jax.random.key(0)
# Compiles in half the time.
compiled = functools.partial(jax.jit, compiler_options=convolution.compiler_options(once=True))
PROGRAMS = ["tensorflow", "pytorch"]
STAGES = ["stage1", "stage2"]


def build(program, stage, **fields):
    preset = presets.discriminator(program, stage)
    fields = {"network": "matching_aware", "dtype": "float32", **preset, **fields}
    return registry.discriminator_of(fields)


@pytest.mark.parametrize(
    ("program", "stage", "text", "parameters"),
    [
        ("tensorflow", "stage1", 1024, 4_029_824),
        ("pytorch", "stage1", 128, 12_407_425),
        ("tensorflow", "stage2", 1024, 48_603_520),
        ("pytorch", "stage2", 128, 159_889_538),
    ],
)
def test_parameters_at_published_widths(program, stage, text, parameters):
    size = {"stage1": 64, "stage2": 256}[stage]
    module = build(program, stage, size=size, features=presets.FEATURES[program]["discriminator"])
    inputs = jnp.zeros((2, size, size, 3)), jnp.zeros((2, text))
    variables = jax.eval_shape(lambda: module.init(KEY, *inputs, True))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_features_and_condition_give_logits(program, stage, size):
    module = build(program, stage, size=size, features=8, condition=8)
    image, condition = jnp.zeros((2, size, size, 3)), jnp.zeros((2, 8))
    variables = jax.eval_shape(lambda: module.init(KEY, image, condition, True))
    run = lambda method, *arguments: jax.eval_shape(
        lambda v: module.apply(v, *arguments, False, method=method), variables
    )
    features = run("encode", image)
    assert features.shape == (2, 4, 4, size if stage == "stage1" else size // 4)
    assert run("logits", jnp.zeros(features.shape), condition).shape == (2,)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_only_the_published_coco_stage2_scores_images_alone(program, stage):
    module = build(program, stage, size=64, features=4, condition=8)
    image, condition = jnp.zeros((2, 64, 64, 3)), jnp.zeros((2, 8))
    variables = jax.eval_shape(lambda: module.init(KEY, image, condition, True))
    assert module.unconditional_head == (program == "pytorch" and stage == "stage2")
    assert ("alone" in variables["params"]) == module.unconditional_head
    pair, alone = jax.eval_shape(lambda v: module.apply(v, image, condition, False), variables)
    assert pair.shape == (2,)
    assert (alone is not None) == module.unconditional_head


def test_logits_depend_on_the_condition():
    module = Discriminator(size=16, features=4, condition=8)
    keys = jax.random.split(KEY, 3)
    image = jax.random.uniform(keys[0], (4, 16, 16, 3), minval=-1)
    texts = jax.random.normal(keys[1], (2, 4, 16))
    variables = compiled(lambda *inputs: module.init(KEY, *inputs, True))(image, texts[0])
    logits = compiled(lambda text: module.apply(variables, image, text, False))
    (first, alone), (second, _) = logits(texts[0]), logits(texts[1])
    assert alone is None
    assert first.dtype == jnp.float32
    assert np.abs(first - second).min() > 0

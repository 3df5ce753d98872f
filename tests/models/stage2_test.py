"""Stage II's networks: sizes of what they give and of what they hold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.models import convolution, stage2

KEY = jax.random.key(0)
# Compiles in half the time.
compiled = functools.partial(jax.jit, compiler_options=convolution.compiler_options(once=True))
COCO_GENERATOR = {
    "residual_blocks": 2,
    "condition_slope": 0.0,
    "log_variance": True,
    "unbiased_variance": True,
    "truncated_init": False,
}
COCO_DISCRIMINATOR = {
    "residual": False,
    "reduce_kernel": 3,
    "project": False,
    "joint_kernel": 3,
    "logit_bias": True,
    "unconditional_head": True,
    "unbiased_variance": True,
    "truncated_init": False,
}


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def generator_inputs(size=16, b=2, text=16, condition=8):
    keys = jax.random.split(KEY, 3)
    small = jax.random.uniform(keys[0], (b, size, size, 3), minval=-1)
    embedding = jax.random.normal(keys[1], (b, text))
    return small, embedding, jax.random.normal(keys[2], (b, condition))


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [({}, 26_290_080), ({**COCO_GENERATOR, "features": 192}, 37_130_480)],
    ids=["birds", "coco"],
)
def test_generator_parameters_at_published_widths(fields, parameters):
    module, inputs = stage2.Generator(**fields), generator_inputs(64, 2, 1024, 128)
    assert count(jax.eval_shape(lambda: module.init(KEY, *inputs, True))) == parameters


@pytest.mark.parametrize(
    ("fields", "text", "parameters"),
    [({}, 1024, 48_603_520), ({**COCO_DISCRIMINATOR, "features": 96}, 128, 159_889_538)],
    ids=["birds", "coco"],
)
def test_discriminator_parameters_at_published_widths(fields, text, parameters):
    module = stage2.Discriminator(**fields)
    inputs = jnp.zeros((2, 256, 256, 3)), jnp.zeros((2, text))
    assert count(jax.eval_shape(lambda: module.init(KEY, *inputs, True))) == parameters


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("fields", [{}, COCO_GENERATOR], ids=["birds", "coco"])
def test_generator_draws_four_times_as_large(size, fields, dtype):
    module = stage2.Generator(features=8, condition=8, dtype=dtype, **fields)
    image, mu, log_sigma = jax.eval_shape(
        lambda *inputs: module.init_with_output(KEY, *inputs, True)[0], *generator_inputs(size)
    )
    assert image.shape == (2, 4 * size, 4 * size, 3)
    assert mu.shape == log_sigma.shape == (2, 8)
    assert {x.dtype for x in (image, mu, log_sigma)} == {np.dtype("float32")}


def test_generator_depends_on_picture_text_and_noise():
    inputs = generator_inputs(b=4)
    module = stage2.Generator(features=4, condition=8, residual_blocks=1)
    variables = compiled(lambda *inputs: module.init(KEY, *inputs, True))(*inputs)
    apply = compiled(lambda *inputs: module.apply(variables, *inputs, False)[0])
    image = apply(*inputs)
    assert image.dtype == jnp.float32
    assert 0 < np.abs(image).max() <= 1
    for i in range(3):
        changed = [x[::-1] if i == j else x for j, x in enumerate(inputs)]
        assert np.abs(image - apply(*changed)).max() > 0


@pytest.mark.parametrize("fields", [{}, COCO_DISCRIMINATOR], ids=["birds", "coco"])
def test_discriminator_has_the_heads_it_is_given(fields):
    module = stage2.Discriminator(size=64, features=4, condition=8, **fields)
    image, condition = jnp.zeros((2, 64, 64, 3)), jnp.zeros((2, 8))
    variables = jax.eval_shape(lambda: module.init(KEY, image, condition, True))
    assert variables["params"].keys() >= {"pair"}
    assert ("alone" in variables["params"]) == module.unconditional_head
    features = jax.eval_shape(lambda v: module.apply(v, image, False, method="encode"), variables)
    assert features.shape == (2, 4, 4, 8)
    pair, alone = jax.eval_shape(lambda v: module.apply(v, image, condition, False), variables)
    assert pair.shape == (2,)
    assert (alone is not None) == module.unconditional_head

"""Stage I's networks: sizes of what they give and of what they hold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.models import convolution, stage1

KEY = jax.random.key(0)
# Compiles in half the time.
compiled = functools.partial(jax.jit, compiler_options=convolution.compiler_options(once=True))
COCO_GENERATOR = {
    "residual": False,
    "noise_first": True,
    "dense_bias": False,
    "image_upsamples": False,
    "condition_slope": 0.0,
    "log_variance": True,
    "unbiased_variance": True,
    "truncated_init": False,
}
COCO_DISCRIMINATOR = {
    "residual": False,
    "linear_before_last": False,
    "project": False,
    "joint_kernel": 3,
    "logit_bias": True,
    "unbiased_variance": True,
    "truncated_init": False,
}


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def generator_inputs(b=2, text=16, z=4, condition=8):
    keys = jax.random.split(KEY, 3)
    return [jax.random.normal(k, (b, n)) for k, n in zip(keys, (text, z, condition), strict=True)]


def generate(module, *inputs):
    variables = compiled(lambda *inputs: module.init(KEY, *inputs, True))(*inputs)
    apply = compiled(lambda v, *inputs: module.apply(v, *inputs, True, mutable=["batch_stats"])[0])
    return variables, apply


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [({}, 14_264_192), ({**COCO_GENERATOR, "features": 192}, 20_020_832)],
    ids=["birds", "coco"],
)
def test_generator_parameters_at_published_widths(fields, parameters):
    module, inputs = stage1.Generator(**fields), generator_inputs(2, 1024, 100, 128)
    assert count(jax.eval_shape(lambda: module.init(KEY, *inputs, True))) == parameters


@pytest.mark.parametrize(
    ("fields", "text", "parameters"),
    [({}, 1024, 4_029_824), ({**COCO_DISCRIMINATOR, "features": 96}, 128, 12_407_425)],
    ids=["birds", "coco"],
)
def test_discriminator_parameters_at_published_widths(fields, text, parameters):
    module = stage1.Discriminator(**fields)
    inputs = jnp.zeros((2, 64, 64, 3)), jnp.zeros((2, text))
    assert count(jax.eval_shape(lambda: module.init(KEY, *inputs, True))) == parameters


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("fields", [{}, COCO_GENERATOR], ids=["birds", "coco"])
def test_generator_draws_any_power_of_two(size, fields, dtype):
    module = stage1.Generator(size=size, features=4, condition=8, dtype=dtype, **fields)
    image, mu, log_sigma = jax.eval_shape(
        lambda *inputs: module.init_with_output(KEY, *inputs, True)[0], *generator_inputs()
    )
    assert image.shape == (2, size, size, 3)
    assert mu.shape == log_sigma.shape == (2, 8)
    assert {x.dtype for x in (image, mu, log_sigma)} == {np.dtype("float32")}


def test_generator_is_a_function_of_its_noise():
    embedding, z, epsilon = generator_inputs(b=4)
    module = stage1.Generator(size=16, features=4, condition=8)
    variables, apply = generate(module, embedding, z, epsilon)
    image, mu, log_sigma = apply(variables, embedding, z, epsilon)
    assert image.dtype == mu.dtype == jnp.float32
    assert 0 < np.abs(image).max() <= 1
    np.testing.assert_array_equal(image, apply(variables, embedding, z, epsilon)[0])
    assert np.abs(image - apply(variables, embedding, z[::-1], epsilon)[0]).max() > 1e-3
    other, same_mu, same_log_sigma = apply(variables, embedding, z, epsilon[::-1])
    assert np.abs(image - other).max() > 1e-3
    np.testing.assert_array_equal(mu, same_mu)
    np.testing.assert_array_equal(log_sigma, same_log_sigma)


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("fields", [{}, COCO_DISCRIMINATOR], ids=["birds", "coco"])
def test_discriminator_judges_features_and_condition(size, fields):
    module = stage1.Discriminator(size=size, features=4, condition=8, **fields)
    image, condition = jnp.zeros((2, size, size, 3)), jnp.zeros((2, 8))
    variables = jax.eval_shape(lambda: module.init(KEY, image, condition, True))
    run = lambda method, *arguments: jax.eval_shape(
        lambda v: module.apply(v, *arguments, False, method=method), variables
    )
    features = run("encode", image)
    assert features.shape == (2, 4, 4, size // 2)
    assert run("judge", jnp.zeros(features.shape), condition).shape == (2,)


def test_discriminator_sees_the_condition():
    module = stage1.Discriminator(size=16, features=4, condition=8)
    keys = jax.random.split(KEY, 3)
    image = jax.random.uniform(keys[0], (4, 16, 16, 3), minval=-1)
    texts = jax.random.normal(keys[1], (2, 4, 16))
    variables = compiled(lambda *inputs: module.init(KEY, *inputs, True))(image, texts[0])
    judge = compiled(lambda text: module.apply(variables, image, text, False))
    (first, alone), (second, _) = judge(texts[0]), judge(texts[1])
    assert alone is None
    assert first.dtype == jnp.float32
    assert np.abs(first - second).min() > 0

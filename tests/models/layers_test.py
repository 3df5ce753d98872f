"""The layers: normalisation and its statistics, conditioning augmentation, initialisers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from stackgan_jax.models import batch_norm, layers
from stackgan_jax.runtime import mesh

KEY = jax.random.key(0)


def run_norm(x, train, **fields):
    module = batch_norm.BatchNorm(**fields)
    variables = jax.jit(lambda x: module.init(KEY, x, True))(x)
    apply = jax.jit(lambda v, x: module.apply(v, x, train, mutable=["batch_stats"]))
    output, updates = apply(variables, x)
    return output, variables, updates["batch_stats"]


def test_batch_norm_agrees_with_flax_in_value_gradient_and_statistics():
    x = 3 + 2 * jax.random.normal(KEY, (4, 5, 6, 8))
    weight = jax.random.normal(jax.random.key(1), x.shape)
    ours = batch_norm.BatchNorm()
    theirs = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5)
    variables = jax.jit(lambda x: ours.init(KEY, x, True))(x)

    def loss(params, x, module, *train):
        given = {"params": params, "batch_stats": variables["batch_stats"]}
        y, updates = module.apply(given, x, *train, mutable=["batch_stats"])
        return jnp.sum(weight * y**2), (y, updates["batch_stats"])

    run = jax.jit(
        jax.value_and_grad(loss, (0, 1), has_aux=True),
        static_argnums=(2, 3),
    )
    ours, theirs = run(variables["params"], x, ours, True), run(variables["params"], x, theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, theirs)


def test_batch_norm_running_statistics_follow_by_a_tenth():
    x = jnp.array([[1.0], [3.0], [8.0]])
    _, _, biased = run_norm(x, True)
    _, _, unbiased = run_norm(x, True, unbiased_variance=True)
    np.testing.assert_allclose(biased["mean"], 0.1 * 4)
    np.testing.assert_allclose(biased["var"], 0.9 + 0.1 * 26 / 3, rtol=1e-6)
    np.testing.assert_allclose(unbiased["var"], 0.9 + 0.1 * 26 / 2, rtol=1e-6)


def test_batch_norm_normalises_by_the_biased_variance_either_way():
    x = jnp.array([[1.0], [3.0], [8.0]])
    biased, variables, _ = run_norm(x, True)
    unbiased, _, _ = run_norm(x, True, unbiased_variance=True)
    expected = (x - 4) / np.sqrt(26 / 3 + 1e-5) * variables["params"]["scale"]
    np.testing.assert_allclose(biased, expected, rtol=1e-6)
    np.testing.assert_array_equal(biased, unbiased)


@pytest.mark.parametrize(
    ("shape", "unbiased"), [((8, 2, 2, 3), False), ((7, 2, 2, 3), True), ((7, 3), True)]
)
def test_batch_norm_groups_are_normalised_each_by_itself(shape, unbiased):
    """7 in four parts are 2, 2, 2 and 1, as torch.chunk cuts them."""
    x = 3 + 2 * jax.random.normal(KEY, shape)
    whole, _, stats = run_norm(x, True, unbiased_variance=unbiased, groups=4)
    parts = [run_norm(x[i : i + 2], True, unbiased_variance=unbiased) for i in range(0, len(x), 2)]
    expected = jnp.concatenate([output for output, _, _ in parts])
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)
    for name in ("mean", "var"):
        mean = np.mean([updates[name] for _, _, updates in parts], axis=0)
        np.testing.assert_allclose(stats[name], mean, rtol=1e-4)


def test_batch_norm_gradient_stays_in_its_group():
    x = jax.random.normal(KEY, (6, 2, 2, 3))
    module = batch_norm.BatchNorm(groups=3)
    variables = module.init(KEY, x, True)

    def first_group(x):
        y, _ = module.apply(variables, x, True, mutable=["batch_stats"])
        return jnp.sum(y[:2] ** 3)

    gradient = jax.grad(first_group)(x)
    assert np.all(gradient[:2] != 0)
    np.testing.assert_array_equal(gradient[2:], 0)


def test_a_group_on_one_device_asks_no_other():
    """The outputs' program has no collective; with one group it has."""
    devices = mesh.data_mesh(16)
    split = mesh.over_batch(devices)

    def collectives(groups):
        module = batch_norm.BatchNorm(groups=groups)
        x = jnp.zeros((16, 4, 4, 8))
        variables = module.init(KEY, x, True)
        run = jax.jit(
            lambda x: module.apply(variables, x, True, mutable=["batch_stats"])[0],
            in_shardings=split,
            out_shardings=split,
        )
        text = run.lower(x).compile().as_text()
        return sum(text.count(f" {name}(") for name in ("all-reduce", "all-gather", "all-to-all"))

    assert collectives(1) > 0
    assert collectives(8) == collectives(16) == 0


def test_batch_norm_uses_running_statistics_when_not_training():
    x = jax.random.normal(KEY, (4, 8))
    output, variables, stats = run_norm(x, False)
    expected = x / np.sqrt(1 + 1e-5) * variables["params"]["scale"]
    np.testing.assert_allclose(output, expected, rtol=1e-6)
    np.testing.assert_array_equal(stats["mean"], np.zeros(8))


def test_batch_norm_of_two_close_values_keeps_their_difference():
    """E[x²] - E[x]² would be rounding alone: 1000² has no room for 0.01² in float32."""
    output, variables, _ = run_norm(jnp.array([[1000.0], [1000.015625]]), True)
    half = 0.015625 / 2
    expected = half / np.sqrt(half**2 + 1e-5) * variables["params"]["scale"][0]
    np.testing.assert_allclose(output[:, 0], [-expected, expected], rtol=1e-4)


def test_batch_norm_in_bfloat16_keeps_float32_statistics():
    x = (100 + jax.random.normal(KEY, (8, 4, 4, 8))).astype(jnp.bfloat16)
    output, variables, stats = run_norm(x, True)
    assert output.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, stats))} == {np.dtype("float32")}
    np.testing.assert_allclose(
        stats["mean"], 0.1 * x.astype(jnp.float32).mean((0, 1, 2)), rtol=1e-5
    )


def test_conditioning_augmentation():
    embedding, epsilon = jnp.ones((3, 7)), jax.random.normal(KEY, (3, 5))
    module = layers.ConditioningAugmentation(5)
    variables = module.init(KEY, embedding, epsilon)
    c, mu, log_sigma = module.apply(variables, embedding, epsilon)
    np.testing.assert_allclose(c, mu + jnp.exp(log_sigma) * epsilon, rtol=1e-6)
    halved = layers.ConditioningAugmentation(5, log_variance=True)
    _, same_mu, half = halved.apply(variables, embedding, epsilon)
    np.testing.assert_array_equal(mu, same_mu)
    np.testing.assert_allclose(half, log_sigma / 2)


@pytest.mark.parametrize(("slope", "expected"), [(None, -2.0), (0.0, 0.0), (0.2, -0.4)])
def test_activate(slope, expected):
    np.testing.assert_allclose(layers.activate(jnp.array([-2.0, 3.0]), slope), [expected, 3.0])


@pytest.mark.parametrize(("truncated", "deviation"), [(True, 0.0176), (False, 0.02)])
def test_kernels_start_from_a_normal_distribution(truncated, deviation):
    kernel = layers.kernel_init(truncated)(KEY, (3, 3, 64, 64), jnp.float32)
    np.testing.assert_allclose(kernel.std(), deviation, rtol=0.02)
    assert (np.abs(kernel).max() <= 0.04) == truncated


def test_join_repeats_the_condition_everywhere():
    joined = layers.join(jnp.zeros((2, 3, 3, 4)), jnp.arange(10.0).reshape(2, 5))
    assert joined.shape == (2, 3, 3, 9)
    np.testing.assert_array_equal(joined[1, 2, 0, 4:], np.arange(5, 10))


@pytest.mark.parametrize("size", [0, 8, 48, 100])
def test_only_powers_of_two_from_16_are_sizes(size):
    with pytest.raises(ValueError, match=f"not {size}"):
        layers.doublings(size)
    assert [layers.doublings(4 << n) for n in (2, 4, 6)] == [2, 4, 6]


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 2, 5)])
def test_normalisations_gradients_are_the_formulas(shape):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
    arguments = draw(*shape), draw(5), draw(5), draw(5)
    cotangent = draw(*shape)
    plain = lambda x, mean, scale, bias: (x - mean) * scale + bias
    expected, theirs = jax.vjp(plain, *arguments)
    got, ours = jax.vjp(batch_norm._standardise, *arguments)
    np.testing.assert_array_equal(got, expected)
    for one, other in zip(ours(cotangent), theirs(cotangent), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)

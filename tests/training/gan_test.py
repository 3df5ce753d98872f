"""A step of training: what it changes, on one device and on eight, and its randomness."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from stackgan_jax.models import convolution, stage1, stage2
from stackgan_jax.models.discriminator import Discriminator
from stackgan_jax.models.layers import LayerOptions
from stackgan_jax.training import gan, objectives
from stackgan_jax.training.optimisation import Optimisation

KEY = jax.random.key(0)
TEXT = 12
SMALL = {"features": 8, "condition": 8}
STAGE1 = gan.Gan(
    stage1.Generator(size=16, **SMALL),
    Discriminator(size=16, **SMALL),
    z_features=4,
    optimisation=Optimisation(discriminator_learning_rate=1e-3, halve_every=3),
)
STAGE2 = gan.Gan(
    stage2.Generator(residual_blocks=1, **SMALL),
    Discriminator(size=64, linear_before_last=False, reduce_kernel=1, **SMALL),
    priors=(STAGE1.generator,),
    z_features=4,
)
COCO = {"options": LayerOptions(unbiased_variance=True, truncated_init=False), **SMALL}
STAGE1_COCO = gan.Gan(
    stage1.Generator(size=16, residual=False, noise_first=True, log_variance=True, **COCO),
    Discriminator(size=16, residual=False, project=False, unconditional_head=True, **COCO),
    z_features=4,
    mismatch=gan.SHIFTED_TEXT,
    truncated_epsilon=False,
)
DIVERSE = dataclasses.replace(STAGE1, weights=FrozenDict({"kl": 2.0, "diversity": 3.0}))
GAMES = {"stage1": STAGE1, "stage2": STAGE2, "coco": STAGE1_COCO, "diverse": DIVERSE}
METRICS = {
    *("d_loss", "d_loss_real", "d_loss_wrong", "d_loss_fake", "g_loss", "kl"),
    *("g_gradient_norm", "d_gradient_norm", "learning_rate"),
}
# Compiles in half the time.
compiled = functools.partial(jax.jit, compiler_options=convolution.compiler_options(once=True))


def batch(size=16, b=8):
    random = np.random.RandomState(0)
    return {
        "image": random.randint(0, 256, (b, size + 3, size + 3, 3)).astype(np.uint8),
        "embedding": random.randn(b, TEXT).astype(np.float32),
        "partner": np.roll(np.arange(b, dtype=np.int32), 2),
    }


@functools.cache
def initial(name):
    return compiled(GAMES[name].init, static_argnums=1)(KEY, TEXT)


@functools.cache
def step(name):
    """One compiled step of a game on its batch: (state, key) → (state, metrics)."""
    run = compiled(GAMES[name].step)
    return lambda state, key: run(state, batch(GAMES[name].discriminator.size), key)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(leaves(a), leaves(b), strict=True))


def moved(a, b):
    """Whether every array has changed."""
    return not any(np.array_equal(x, y) for x, y in zip(leaves(a), leaves(b), strict=True))


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", ["stage1", "coco", pytest.param("stage2", marks=pytest.mark.slow)])
def test_a_step_trains_both_networks(name):
    before = initial(name)
    after, metrics = step(name)(before, KEY)
    assert after.step == 1
    for net in ("generator", "discriminator"):
        old, new = getattr(before, net), getattr(after, net)
        assert moved(old.params, new.params)
        assert moved(old.batch_stats, new.batch_stats)
    assert moved(before.ema, after.ema)
    assert metrics.keys() == METRICS
    for value in metrics.values():
        assert value.shape == ()
        assert value.dtype == jnp.float32
        assert np.isfinite(value)


@pytest.mark.slow
def test_stage2_leaves_the_weights_of_stage1_alone_and_moves_its_statistics():
    before = initial("stage2")
    after, _ = step("stage2")(before, KEY)
    assert same(before.priors[0]["params"], after.priors[0]["params"])
    assert moved(before.priors[0]["batch_stats"], after.priors[0]["batch_stats"])


def test_a_step_is_a_function_of_key_and_step():
    run, state = step("stage1"), initial("stage1")
    first, _ = run(state, KEY)
    again, _ = run(state, KEY)
    assert same(first, again)
    other, _ = run(state, jax.random.key(1))
    later, _ = run(state.replace(step=jnp.int32(7)), KEY)
    assert not same(first.generator.params, other.generator.params)
    assert not same(first.generator.params, later.generator.params)


@pytest.mark.slow
def test_consistency_draws_stage2_to_stage1():
    with pytest.raises(ValueError, match="consistency_weight needs an earlier stage"):
        dataclasses.replace(STAGE1, weights=FrozenDict({"consistency": 1.0}))
    game = dataclasses.replace(STAGE2, weights=FrozenDict({"kl": 2.0, "consistency": 1e4}))
    run, state, history = compiled(game.step), initial("stage2"), []
    for _ in range(8):
        state, metrics = run(state, batch(64), KEY)
        history.append(float(metrics["consistency"]))
    assert history[-1] < history[0]


@pytest.mark.slow
def test_diversity_moves_pictures_of_one_sentence_apart():
    game = dataclasses.replace(STAGE1, weights=FrozenDict({"kl": 2.0, "diversity": 1e4}))
    run, state, history = compiled(game.step), initial("stage1"), []
    for _ in range(8):
        state, metrics = run(state, batch(), KEY)
        history.append(float(metrics["diversity"]))
    assert 0 < history[-1] < history[0] < 1


@pytest.mark.slow
def test_restoration_teaches_stage2_to_enlarge_real_pictures():
    with pytest.raises(ValueError, match="which Stage I has not; set"):
        dataclasses.replace(STAGE1, weights=FrozenDict({"restoration": 1.0}))
    game = dataclasses.replace(
        STAGE2,
        weights=FrozenDict({"kl": 2.0, "restoration": 1e4}),
        optimisation=Optimisation(generator_learning_rate=5e-3),
    )
    run, state, history = compiled(game.step), initial("stage2"), []
    plain = np.linspace(0, 255, 8, dtype=np.uint8).reshape(8, 1, 1, 1)
    data = batch(64) | {"image": np.broadcast_to(plain, (8, 67, 67, 3))}
    for _ in range(8):
        state, metrics = run(state, data, KEY)
        history.append(float(metrics["restoration"]))
    assert history[-1] < 0.9 * history[0]


def test_the_blur_fades_by_the_number_of_real_pictures():
    game = dataclasses.replace(STAGE1, blur_images=80)
    deviations = [float(game._blur(jnp.int32(step), 8)) for step in (0, 5, 10, 11)]
    assert deviations == [0.5, 0.25, 0, 0]  # 16 pixels a side
    run, state = compiled(game.update), initial("stage1")
    blurred, sharp = state, state.replace(step=jnp.int32(10))
    data, noise = batch(), STAGE1.cascade.noise(KEY, 8)
    data = gan.Batch(
        jnp.float32(data["image"])[:, :16, :16] / 255, data["embedding"], data["partner"]
    )
    plain = compiled(STAGE1.update)
    for start, same in ((blurred, False), (sharp, True)):
        with_blur, without = (
            each(start, data, noise, KEY)[1]["d_loss_real"] for each in (run, plain)
        )
        assert np.isclose(with_blur, without, rtol=1e-6) == same


@pytest.mark.slow
def test_a_matcher_moves_the_generator_alone():
    darkness = lambda image, embedding, key: jnp.mean(image)
    # A weight beside which the discriminator's gradient is nothing.
    game = dataclasses.replace(
        STAGE1, matcher=darkness, weights=FrozenDict({"kl": 2.0, "matching": 1e6})
    )
    before, key = initial("stage1"), jax.random.key(5)
    plain, metrics = step("stage1")(before, KEY)
    after, matched = compiled(game.step)(before, batch(), KEY)
    assert_close(plain.discriminator.params, after.discriminator.params)
    assert matched.keys() - metrics.keys() == {"matching"}
    draw = compiled(lambda state: game.generate(state, *inputs, use_ema=False)["stage1"].mean())
    inputs = (batch()["embedding"], STAGE1.cascade.noise(key, 8))
    assert draw(after) < draw(before)


@pytest.mark.parametrize(
    "name",
    [*(pytest.param(name, marks=pytest.mark.slow) for name in ("stage1", "diverse")), "coco"],
)
def test_eight_devices_make_the_same_step_as_one(name):
    game, key = GAMES[name], jax.random.key(3)
    alone, alone_metrics = step(name)(initial(name), key)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("data"))
    run = compiled(
        game.step,
        in_shardings=(everywhere, split, everywhere),
        out_shardings=everywhere,
        donate_argnums=0,
    )
    state = jax.device_put(jax.tree.map(jnp.copy, initial(name)), everywhere)
    shared, metrics = run(state, jax.device_put(batch(game.discriminator.size), split), key)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert_close(alone_metrics, metrics)
    for net in ("generator", "discriminator"):
        one, eight = getattr(alone, net), getattr(shared, net)
        assert_close(one.batch_stats, eight.batch_stats)
        # Adam makes whole steps out of the rounding of a gradient of zero: compare gradients.
        norm = metrics[f"{net[0]}_gradient_norm"]
        assert_close(one.opt_state[0].mu, eight.opt_state[0].mu, atol=1e-5 * norm)


def update_inputs(b=8):
    keys = jax.random.split(KEY, 3)
    image = jax.random.uniform(keys[0], (b, 16, 16, 3), minval=-1)
    return image, jax.random.normal(keys[1], (b, TEXT)), STAGE1.cascade.noise(keys[2], b)


@functools.cache
def update(game):
    return compiled(game.update)


@pytest.mark.slow
def test_a_permutation_of_the_batch_equals_the_images_themselves():
    """The wrong images' features and running statistics without encoding them."""
    image, embedding, noise = update_inputs()
    partner = jnp.array([3, 5, 0, 7, 6, 1, 2, 4])
    given = gan.Batch(image, embedding)
    run = lambda batch: update(STAGE1)(initial("stage1"), batch, noise)
    permuted, metrics = run(given._replace(partner=partner))
    encoded, expected = run(given._replace(wrong_image=image[jnp.argsort(partner)]))
    assert_close(metrics, expected)
    assert_close(permuted.discriminator.batch_stats, encoded.discriminator.batch_stats)
    gradients = (n.discriminator.opt_state[0].mu for n in (permuted, encoded))
    assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stage1", "coco"])
def test_activations_computed_again_change_nothing(name):
    image, embedding, noise = update_inputs(32)
    game = GAMES[name]
    partner = jnp.roll(jnp.arange(32), 3) if name == "stage1" else None
    arguments = (initial(name), gan.Batch(image, embedding, partner), noise)
    programs = [
        compiled(dataclasses.replace(game, rematerialise=lean).update).lower(*arguments).compile()
        for lean in (False, True)
    ]
    (one, expected), (other, metrics) = (program(*arguments) for program in programs)
    assert_close(metrics, expected)
    assert_close(one.generator.opt_state[0].mu, other.generator.opt_state[0].mu, atol=1e-5)
    assert_close(one.discriminator.batch_stats, other.discriminator.batch_stats)


def test_the_average_follows_the_generator():
    before = initial("stage1")
    after, _ = step("stage1")(before, KEY)
    expected = jax.tree.map(
        lambda old, new: 0.1 * old + 0.9 * new, before.generator.params, after.generator.params
    )
    assert_close(after.ema["params"], expected)
    late, _ = step("stage1")(before.replace(step=jnp.int32(100_000)), KEY)
    expected = jax.tree.map(
        lambda old, new: 0.999 * old + 0.001 * new, before.generator.params, late.generator.params
    )
    assert_close(late.ema["params"], expected)


def test_learning_rates_halve():
    state = initial("stage1")
    rates, steps = [], []
    for _ in range(7):
        old = state.discriminator.params
        state, metrics = step("stage1")(state, KEY)
        rates.append(float(metrics["learning_rate"]))
        # Adam's step is its rate times m / (sqrt(v) + eps).
        adam = state.discriminator.opt_state[0]
        count = int(adam.count)
        m, v, p, q = (
            leaves(tree["pair"]["joint"]["conv"])[0]
            for tree in (adam.mu, adam.nu, old, state.discriminator.params)
        )
        direction = m / (1 - 0.5**count) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8)
        steps.append(np.median((p - q) / direction))
    np.testing.assert_allclose(rates, [2e-4] * 3 + [1e-4] * 3 + [5e-5], rtol=1e-6)
    np.testing.assert_allclose(steps, [1e-3] * 3 + [5e-4] * 3 + [2.5e-4], rtol=1e-2)


@pytest.mark.slow
def test_bfloat16_trains_with_float32_weights_and_statistics():
    half = dataclasses.replace(
        STAGE1,
        generator=STAGE1.generator.clone(options=LayerOptions(dtype=jnp.bfloat16)),
        discriminator=STAGE1.discriminator.clone(options=LayerOptions(dtype=jnp.bfloat16)),
    )
    image, embedding, noise = update_inputs()
    partner = jnp.roll(jnp.arange(8), 2)
    exact, rough = (
        update(game)(initial("stage1"), gan.Batch(image, embedding, partner), noise)
        for game in (STAGE1, half)
    )
    for leaf in jax.tree.leaves(rough[0].replace(step=0.0)):
        assert jnp.asarray(leaf).dtype in (jnp.float32, jnp.int32)
    for name in METRICS - {"g_gradient_norm", "d_gradient_norm"}:
        np.testing.assert_allclose(exact[1][name], rough[1][name], rtol=0.05)
    assert exact[1]["d_loss"] != rough[1]["d_loss"]


@pytest.mark.parametrize("name", ["stage1", pytest.param("stage2", marks=pytest.mark.slow)])
def test_generate_draws_by_running_statistics(name):
    game, (state, _) = GAMES[name], step(name)(initial(name), KEY)
    embedding = batch()["embedding"]
    run = compiled(game.generate, static_argnames="use_ema")
    drawn = run(state, embedding, game.cascade.noise(KEY, 8))
    sizes = {"stage1": 16, "stage2": 64}
    assert {k: v.shape[1] for k, v in drawn.items()} == {
        k: sizes[k] for k in (["stage1"] if name == "stage1" else ["stage1", "stage2"])
    }
    assert max(np.abs(image).max() for image in drawn.values()) <= 1
    turned = run(
        state, embedding[::-1], jax.tree.map(lambda n: n[::-1], game.cascade.noise(KEY, 8))
    )
    assert_close(turned, {k: v[::-1] for k, v in drawn.items()}, atol=1e-5)
    raw = run(state, embedding, game.cascade.noise(KEY, 8), use_ema=False)
    assert np.abs(raw[name] - drawn[name]).max() > 0


def test_noise_is_truncated_where_the_original_truncates():
    birds, coco = STAGE1.cascade.noise(KEY, 4096), STAGE1_COCO.cascade.noise(KEY, 4096)
    assert birds.z.shape == (4096, 4)
    assert birds.epsilons[0].shape == (4096, 8)
    assert np.abs(birds.z).max() > 2
    assert 1.9 < np.abs(birds.epsilons[0]).max() <= 2
    assert np.abs(coco.epsilons[0]).max() > 3
    assert len(birds.epsilons) == 1
    first, second = STAGE2.cascade.noise(KEY, 8).epsilons
    assert np.abs(second - first).min() > 0


@pytest.mark.slow
def test_stage2_starts_from_a_given_stage1():
    priors = (initial("stage1").ema,)
    state = compiled(functools.partial(STAGE2.init, embedding_features=TEXT))(KEY, priors=priors)
    assert same(state.priors, priors)


@pytest.mark.parametrize(
    ("field", "name", "choices"),
    [
        ("mismatch", "shuffled", "other_class_image"),
        ("adversarial", "wasserstein", "published, hinge"),
        ("penalty", "r9", "r1, matching_aware"),
        ("weights", FrozenDict({"sharpness": 1.0}), "kl, matching"),
    ],
)
def test_unknown_names_are_rejected_with_the_choices(field, name, choices):
    with pytest.raises(ValueError, match=f"Unknown .*; choose from {choices}"):
        dataclasses.replace(STAGE1, **{field: name})


@pytest.mark.slow
def test_a_term_and_a_loss_from_outside_the_package_are_used(monkeypatch):
    monkeypatch.setitem(objectives.TERMS, "darkness", lambda drawing: drawing.image.mean())
    square = lambda logits: jnp.mean(logits**2)
    least = objectives.AdversarialLoss(real=square, fake=square, generator=square)
    monkeypatch.setitem(objectives.ADVERSARIAL_LOSSES, "square", least)
    weights = FrozenDict({"kl": 2.0, "darkness": 1e6})
    game = dataclasses.replace(STAGE1, adversarial="square", weights=weights)
    after, metrics = compiled(game.step)(initial("stage1"), batch(), KEY)
    assert metrics.keys() == METRICS | {"darkness"}
    noise = STAGE1.cascade.noise(jax.random.key(5), 8)
    draw = compiled(lambda state: game.generate(state, batch()["embedding"], noise, use_ema=False))
    assert draw(after)["stage1"].mean() < draw(initial("stage1"))["stage1"].mean()


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="draws 64 pixels, the discriminator takes 16"):
        dataclasses.replace(STAGE2, discriminator=STAGE1.discriminator)

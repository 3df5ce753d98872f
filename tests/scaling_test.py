"""The scaling page: its table equals its calculation, and its numbers fit the networks."""

import contextlib
import io
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from stackgan_jax.runtime import configuration
from stackgan_jax.training.game import build

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/scaling.md").read_text()
(PROGRAM,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(TABLE,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def run():
    printed, names = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        exec(PROGRAM, names)
    return printed.getvalue(), names


def test_the_table_equals_the_calculation():
    assert run()[0] == TABLE


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["birds", "coco"])
def test_parameters_and_sums_fit_the_networks(dataset):
    _, names = run()
    priors = []
    for stage, kind in enumerate(("stage1", "stage2"), 1):
        config = configuration.load(ROOT / "configs" / f"{kind}.py", dataset)
        game = build(config, priors)
        state = jax.eval_shape(lambda key, game=game: game.init(key, 1024), jax.random.key(0))
        nets = (state.generator, state.discriminator)
        counts = [sum(math.prod(x.shape) for x in jax.tree.leaves(net.params)) for net in nets]
        layers = [len(jax.tree.leaves(net.batch_stats)) // 2 for net in nets]
        # Sums over the batch, forward and backward. The generator's layers run once. The
        # discriminator's run twice: for its own step (real, wrong and fake together) and for the
        # generator's. The prior runs forward only.
        sums = 2 * layers[0] + 4 * layers[1]
        for prior in state.priors:
            sums += len(jax.tree.leaves(prior["batch_stats"])) // 2
        name = f"{'COCO' if dataset == 'coco' else dataset} {'I' * stage}"
        _, _, *parameters, stated_sums = names["STEPS"][name]
        assert stated_sums == sums
        assert parameters == pytest.approx(counts, rel=0.005)
        priors.append(config)


@pytest.mark.slow
def test_parameters_and_sums_fit_the_modern_networks():
    _, names = run()
    priors = []
    for stage, kind in enumerate(("stage1", "stage2"), 1):
        config = configuration.load(ROOT / "configs" / f"{kind}.py", "birds,modern")
        game = build(config, priors)
        state = jax.eval_shape(lambda key, game=game: game.init(key, 1024), jax.random.key(0))
        nets = (state.generator, state.discriminator)
        counts = [sum(math.prod(x.shape) for x in jax.tree.leaves(net.params)) for net in nets]
        _, _, *parameters, sums = names["STEPS"][f"modern {'I' * stage}"]
        assert parameters == pytest.approx(counts, rel=0.005)
        image = jnp.zeros((2, game.size, game.size, 3))
        see = lambda key, image=image, game=game: game.discriminator.apply(
            {}, image, key, method="see"
        )
        maps = jax.tree.leaves(jax.eval_shape(see, jax.random.key(0)))
        assert sums == 2 * len(maps)  # each is scaled by the batch, real and drawn
        assert not jax.tree.leaves(state.generator.batch_stats)
        priors.append(config)

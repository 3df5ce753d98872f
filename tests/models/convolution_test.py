"""Every rewriting of a convolution gives the numbers of the convolution it replaces."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from stackgan_jax.models import convolution
from stackgan_jax.models.convolution import conv, cpu, upsample_conv
from stackgan_jax.models.convolution.cpu import HALVING, double, halve, plain

TOLERANCE = {"float64": 1e-13, "float32": 1e-5, "bfloat16": 4e-2}
NAIVE = partial(upsample_conv, form="naive")
FUSED = [partial(upsample_conv, form=form) for form in (None, "phases", "transposed")]
# Input [b, h, w, c] and features: small enough for the matrix product, too large, thin, odd.
UPSAMPLED = [((2, 8, 12, 8), 6), ((2, 20, 18, 6), 5), ((3, 20, 20, 8), 3), ((1, 5, 3, 2), 7)]
CONVOLVED = {
    "halving": ((2, 12, 8, 8), (4, 4, 8, 6), 2, "SAME"),
    "halving a large image": ((2, 36, 40, 6), (4, 4, 6, 5), 2, HALVING),
    "halving pictures": ((2, 40, 36, 3), (4, 4, 3, 8), 2, HALVING),
    "halving an odd image": ((2, 9, 7, 5), (4, 4, 5, 6), 2, HALVING),
    "to pictures": ((2, 10, 8, 6), (3, 3, 6, 3), 1, "SAME"),
    "from pictures": ((2, 7, 12, 3), (3, 3, 3, 5), 1, "SAME"),
    "from narrow pictures": ((2, 7, 6, 3), (3, 3, 3, 5), 1, "SAME"),
    "3x3": ((2, 6, 5, 7), (3, 3, 7, 8), 1, "SAME"),
    "3x3 of stride 2": ((2, 8, 8, 3), (3, 3, 3, 5), 2, ((1, 1), (1, 1))),
    "pointwise": ((2, 5, 4, 7), (1, 1, 7, 3), 1, "SAME"),
    "pointwise of stride 2": ((2, 6, 4, 7), (1, 1, 7, 3), 2, "VALID"),
    "the whole image": ((3, 4, 4, 6), (4, 4, 6, 1), 1, "VALID"),
}


def normal(shape, dtype="float64", seed=0):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), dtype)


def with_gradients(function, x, kernel):
    """The output, dx and dkernel for a fixed random cotangent."""
    y, pull_back = jax.vjp(function, x, kernel)
    return y, *pull_back(normal(y.shape, y.dtype, seed=1))


def assert_same(functions, reference, x_shape, kernel_shape, dtype):
    """Each function's output and gradients are the reference's in float64."""

    def everything(x, kernel):
        given = x.astype(dtype), kernel.astype(dtype)
        return with_gradients(reference, x, kernel), [with_gradients(f, *given) for f in functions]

    with jax.enable_x64(True):
        # As training compiles, only quicker.
        options = convolution.compiler_options(once=True)
        compiled = jax.jit(everything, compiler_options=options)
        expected, results = compiled(normal(x_shape), normal(kernel_shape, seed=2))
    for result in results:
        for a, b in zip(result, map(np.asarray, expected), strict=True):
            assert a.dtype == dtype
            error = np.max(np.abs(np.asarray(a, "float64") - b)) / np.max(np.abs(b))
            assert error < TOLERANCE[dtype]


def test_naive_upsampling_repeats_and_convolves():
    x, kernel = normal((1, 2, 3, 2), "float32"), normal((3, 3, 2, 1), "float32", seed=2)
    large = np.pad(np.kron(np.asarray(x[0]), np.ones((2, 2, 1))), ((1, 1), (1, 1), (0, 0)))
    expected = [
        [np.sum(large[i : i + 3, j : j + 3] * kernel[..., 0]) for j in range(6)] for i in range(4)
    ]
    np.testing.assert_allclose(
        upsample_conv(x, kernel, "naive")[0, :, :, 0], expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("shape", "features"), UPSAMPLED)
def test_fused_upsampling_is_exact(shape, features):
    assert_same(FUSED, NAIVE, shape, (3, 3, shape[-1], features), "float64")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fused_upsampling_in_less_precision(dtype):
    assert_same(FUSED, NAIVE, (2, 18, 20, 6), (3, 3, 6, 5), dtype)


@pytest.mark.parametrize("case", CONVOLVED.values(), ids=CONVOLVED)
def test_convolution_is_exact(case):
    x_shape, kernel_shape, stride, padding = case
    given = {"stride": stride, "padding": padding}
    assert_same([partial(conv, **given)], partial(plain, **given), x_shape, kernel_shape, "float64")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["halving pictures", "to pictures"])
def test_convolution_in_less_precision(name, dtype):
    x_shape, kernel_shape, stride, padding = CONVOLVED[name]
    given = {"stride": stride, "padding": padding}
    assert_same([partial(conv, **given)], partial(plain, **given), x_shape, kernel_shape, dtype)


@pytest.mark.parametrize("small", [0, 64], ids=["by windows", "by product"])
def test_double_is_the_transpose_of_halve(monkeypatch, small):
    monkeypatch.setattr(cpu, "SMALL", small)
    with jax.enable_x64(True):
        x, y, kernel = normal((2, 8, 6, 5)), normal((2, 4, 3, 7), seed=1), normal((4, 4, 5, 7))
        halved = jnp.vdot(halve(x, kernel), y)
        np.testing.assert_allclose(halved, jnp.vdot(x, double(y, kernel)), rtol=1e-12)


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_a_batch_over_eight_devices(down):
    """Same numbers; what is communicated is the kernel's gradient alone."""
    x, kernel = normal((8, 8, 8, 6), "float32"), normal((3 + down, 3 + down, 6, 5), "float32", 2)
    function = partial(conv, stride=2) if down else upsample_conv

    def loss(x, kernel):
        return jnp.sum(jnp.sin(function(x, kernel)))

    expected = jax.grad(loss, (0, 1))(x, kernel)
    axis_types = (jax.sharding.AxisType.Auto,)
    devices = jax.make_mesh((8,), ("data",), axis_types=axis_types)
    split = NamedSharding(devices, PartitionSpec("data"))
    whole = NamedSharding(devices, PartitionSpec())
    step = jax.jit(
        jax.grad(loss, (0, 1)), in_shardings=(split, whole), out_shardings=(split, whole)
    )
    text = step.lower(x, kernel).compile().as_text()
    assert "all-reduce" in text
    assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))
    for a, b in zip(step(x, kernel), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_the_form_follows_the_platform_compiled_for():
    traced = jax.jit(upsample_conv).trace(
        normal((1, 4, 4, 5), "float32"), normal((3, 3, 5, 6), "float32")
    )
    assert "lhs_dilate = [2, 2]" in traced.lower(lowering_platforms=("tpu",)).as_text()
    assert "lhs_dilate = [2, 2]" in traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "lhs_dilate = [2, 2]" not in traced.lower(lowering_platforms=("cpu",)).as_text()


@pytest.mark.parametrize("size, kernel, stride", [(8, 4, 2), (16, 4, 2), (3, 3, 1), (6, 1, 1)])
def test_cudnns_weight_gradient_is_exact(size, kernel, stride):
    x, k = normal((2, size, size, 3), "float32"), normal((kernel, kernel, 3, 5), "float32")
    padding = ((kernel // 2 - (stride - 1), (kernel - 1) // 2),) * 2
    cotangent = normal(plain(x, k, stride, padding).shape, "float32", seed=1)
    arguments = x, k, cotangent, stride, padding
    expected = cpu.kernel_gradient(*arguments)
    np.testing.assert_allclose(convolution.kernel_gradient_cudnn(*arguments), expected, atol=1e-5)


def test_bad_arguments_are_told():
    x = normal((1, 4, 4, 2), "float32")
    with pytest.raises(ValueError, match="choose from naive, phases, transposed"):
        upsample_conv(x, normal((3, 3, 2, 2), "float32"), form="fast")
    with pytest.raises(ValueError, match="3x3"):
        upsample_conv(x, normal((4, 4, 2, 2), "float32"))


def test_options_unknown_to_the_compiler_are_left_out(monkeypatch):
    known = convolution.compiler_options(once=True)
    assert "xla_backend_optimization_level" in known
    unknown = {"xla_no_such_option": True}
    monkeypatch.setattr(convolution, "_CPU_OPTIONS", convolution._CPU_OPTIONS | unknown)
    assert convolution.compiler_options(once=True) == known
    monkeypatch.setattr(convolution, "_UNOPTIMISED", unknown)
    assert convolution.compiler_options(once=True) == convolution.compiler_options()


def test_off_the_cpu_there_are_no_options(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert convolution.compiler_options() == {}

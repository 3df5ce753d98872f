"""The Inception-v3 of FID: TensorFlow's network of 2015-12-05, not torchvision's.

Network: Szegedy et al., CVPR 2016; FID: Heusel et al., NeurIPS 2017. Modules are named like the
published weights.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

SIZE = 299  # pixels a side
LAYERS = ("64", "192", "768", "2048", "logits", "logits_unbiased")
CLASSES = 1008


class Unit(nn.Module):
    """Convolution, batch normalisation by moving averages, ReLU.

    Attributes:
        features: output channels.
        kernel: height and width.
        strides: 1 or 2.
        padding: "SAME" or "VALID". SAME with stride 1 pads like PyTorch's `kernel // 2`.
        dtype: of the computation.
    """

    features: int
    kernel: tuple[int, int] = (1, 1)
    strides: int = 1
    padding: str = "SAME"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layers, `[b, h, w, c]` → `[b, h', w', features]`."""
        x = nn.Conv(
            self.features,
            self.kernel,
            self.strides,
            self.padding,
            use_bias=False,
            dtype=self.dtype,
            # By default accelerators round float32 factors to bfloat16 or TensorFloat-32.
            precision=jax.lax.Precision.HIGHEST,
            name="conv",
        )(x)
        norm = nn.BatchNorm(True, epsilon=1e-3, dtype=self.dtype, name="bn")
        return nn.relu(norm(x))


def _average(x: jax.Array) -> jax.Array:
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _half(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (2, 2))


class Mixed(nn.Module):
    """Parallel branches, whose outputs are concatenated.

    Attributes:
        units: (name, features, kernel) of every unit.
        chains: the branches, each a chain of unit names. A chain may end in a pair of units that
            both read the output of the unit before.
        pooled: features of the unit after the pooling branch, 0 for the pooling alone.
        pool: "average" or "max". With `halving` it is "max", without padding and with stride 2.
        halving: names of the units with stride 2 and no padding.
        dtype: of the computation.
    """

    units: tuple[tuple[str, int, tuple[int, int]], ...]
    chains: tuple[tuple[str | tuple[str, str], ...], ...]
    pooled: int = 0
    pool: str = "average"
    halving: tuple[str, ...] = ()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the branches, `[b, h, w, c]` → `[b, h', w', c']`."""
        known = {name: (features, kernel) for name, features, kernel in self.units}

        def unit(name: str, x: jax.Array) -> jax.Array:
            stride, padding = (2, "VALID") if name in self.halving else (1, "SAME")
            return Unit(*known[name], stride, padding, self.dtype, name=name)(x)

        made = []
        for chain in self.chains:
            branch = [x]
            for names in chain:
                names = names if isinstance(names, tuple) else (names,)
                branch = [unit(name, branch[0]) for name in names]
            made += branch
        return jnp.concatenate([*made, self._pooled(x)], axis=-1)

    def _pooled(self, x: jax.Array) -> jax.Array:
        if self.halving:
            return _half(x)
        x = _average(x) if self.pool == "average" else nn.max_pool(x, (3, 3), padding="SAME")
        return Unit(self.pooled, dtype=self.dtype, name="branch_pool")(x)


_3x3, _5x5, _1x7, _7x1, _1x3, _3x1 = (3, 3), (5, 5), (1, 7), (7, 1), (1, 3), (3, 1)
_DOUBLE = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")


def _chain(name: str, *steps: tuple[int, tuple[int, int]], first: int = 1) -> Sequence[tuple]:
    """Units `name_1`, `name_2`, …, each of the given features and kernel."""
    return [(f"{name}_{i}", *step) for i, step in enumerate(steps, first)]


def _35(pooled: int) -> dict[str, Any]:
    """Mixed_5b, 5c and 5d, at 35 pixels."""
    return {
        "units": (
            ("branch1x1", 64, (1, 1)),
            *_chain("branch5x5", (48, (1, 1)), (64, _5x5)),
            *_chain("branch3x3dbl", (64, (1, 1)), (96, _3x3), (96, _3x3)),
        ),
        "chains": (("branch1x1",), ("branch5x5_1", "branch5x5_2"), _DOUBLE),
        "pooled": pooled,
    }


def _to_17() -> dict[str, Any]:
    """Mixed_6a."""
    double = _chain("branch3x3dbl", (64, (1, 1)), (96, _3x3), (96, _3x3))
    return {
        "units": (("branch3x3", 384, _3x3), *double),
        "chains": (("branch3x3",), _DOUBLE),
        "halving": ("branch3x3", "branch3x3dbl_3"),
    }


def _17(width: int) -> dict[str, Any]:
    """Mixed_6b to 6e, at 17 pixels."""
    single = _chain("branch7x7", (width, (1, 1)), (width, _1x7), (192, _7x1))
    double = _chain(
        "branch7x7dbl", (width, (1, 1)), (width, _7x1), (width, _1x7), (width, _7x1), (192, _1x7)
    )
    return {
        "units": (("branch1x1", 192, (1, 1)), *single, *double),
        "chains": (("branch1x1",), *(tuple(u[0] for u in chain) for chain in (single, double))),
        "pooled": 192,
    }


def _to_8() -> dict[str, Any]:
    """Mixed_7a."""
    small = _chain("branch3x3", (192, (1, 1)), (320, _3x3))
    large = _chain("branch7x7x3", (192, (1, 1)), (192, _1x7), (192, _7x1), (192, _3x3))
    return {
        "units": (*small, *large),
        "chains": tuple(tuple(u[0] for u in chain) for chain in (small, large)),
        "halving": ("branch3x3_2", "branch7x7x3_4"),
    }


def _8(pool: str) -> dict[str, Any]:
    """Mixed_7b and 7c, at 8 pixels. Mixed_7c pools by the maximum; torchvision's does not."""
    fork = ("branch3x3_2a", "branch3x3_2b")
    double_fork = ("branch3x3dbl_3a", "branch3x3dbl_3b")
    return {
        "units": (
            ("branch1x1", 320, (1, 1)),
            ("branch3x3_1", 384, (1, 1)),
            *((name, 384, kernel) for name, kernel in zip(fork, (_1x3, _3x1), strict=True)),
            *_chain("branch3x3dbl", (448, (1, 1)), (384, _3x3)),
            *((name, 384, kernel) for name, kernel in zip(double_fork, (_1x3, _3x1), strict=True)),
        ),
        "chains": (
            ("branch1x1",),
            ("branch3x3_1", fork),
            ("branch3x3dbl_1", "branch3x3dbl_2", double_fork),
        ),
        "pooled": 192,
        "pool": pool,
    }


class InceptionV3(nn.Module):
    """Inception-v3.

    Attributes:
        dtype: of the computation.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """Reads pictures `[b, 299, 299, 3]` in [-1, 1].

        Returns:
            Layer → features `[b, d]` float32 for each of LAYERS. "64", "192", "768" and "2048" are
            averages over the picture.
        """

        def unit(name: str, *fields: Any) -> Unit:
            return Unit(*fields, dtype=self.dtype, name=name)

        def mixed(name: str, fields: dict[str, Any]) -> Mixed:
            return Mixed(**fields, dtype=self.dtype, name=name)

        found = {}
        x = unit("Conv2d_1a_3x3", 32, _3x3, 2, "VALID")(x.astype(self.dtype))
        x = unit("Conv2d_2a_3x3", 32, _3x3, 1, "VALID")(x)
        x = _half(unit("Conv2d_2b_3x3", 64, _3x3)(x))
        found["64"] = _mean(x)
        x = unit("Conv2d_3b_1x1", 80)(x)
        x = _half(unit("Conv2d_4a_3x3", 192, _3x3, 1, "VALID")(x))
        found["192"] = _mean(x)
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = mixed(name, _35(pooled))(x)
        x = mixed("Mixed_6a", _to_17())(x)
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            x = mixed(f"Mixed_{name}", _17(width))(x)
        found["768"] = _mean(x)
        x = mixed("Mixed_7a", _to_8())(x)
        x = mixed("Mixed_7b", _8("average"))(x)
        x = mixed("Mixed_7c", _8("max"))(x)
        found["2048"] = _mean(x)
        precision = jax.lax.Precision.HIGHEST
        fc = nn.Dense(CLASSES, use_bias=False, precision=precision, name="fc")
        found["logits_unbiased"] = fc(found["2048"])
        bias = self.param("fc_bias", nn.initializers.zeros, (CLASSES,))
        found["logits"] = found["logits_unbiased"] + bias
        return {layer: found[layer] for layer in LAYERS}


def _mean(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32).mean(axis=(1, 2))

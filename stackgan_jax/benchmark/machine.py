"""The machine that the benchmark runs on, and its measured peaks of computing and copying."""

import datetime
import importlib.metadata
import os
import platform
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from stackgan_jax.benchmark import timing
from stackgan_jax.models import convolution
from stackgan_jax.runtime import cores

CHAIN = 8  # operations in one dispatch
PACKAGES = ("jax", "jaxlib", "flax", "optax", "libtpu")


def description() -> dict[str, Any]:
    """Returns the date, the device, the load of the machine and the versions of the libraries."""
    device = jax.devices()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "platform": device.platform,
        "device": _processor() if device.platform == "cpu" else device.device_kind,
        "devices": jax.device_count(),
        "cores": cores.usable(),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """The version of each of PACKAGES that is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def peaks(dtype: str, seconds: float) -> dict[str, float]:
    """Measures what the device can do at most.

    Args:
        dtype: the element type of the matrices.
        seconds: how long to repeat each of the two measurements.

    Returns:
        Operations per second of a square matrix product, and bytes per second of a copy.
    """
    accelerated = jax.default_backend() != "cpu"
    size = 8192 if accelerated else 2048
    matrix = jnp.full((size, size), 1 / size, dtype)
    long = jnp.zeros(2**26 if accelerated else 2**25, jnp.float32)

    def products(x: jax.Array) -> jax.Array:
        for _ in range(CHAIN):
            x = x @ matrix
        return x

    def copies(x: jax.Array) -> jax.Array:
        for _ in range(CHAIN):
            x = jax.lax.optimization_barrier(x + 1)
        return x

    flops = 2 * size**3 * CHAIN / _fastest(products, matrix, seconds)
    copied = 2 * long.nbytes * CHAIN / _fastest(copies, long, seconds)
    return {"operations_per_second": flops, "bytes_per_second": copied}


def _fastest(function: Callable, argument: jax.Array, seconds: float) -> float:
    """The shortest time, in seconds, of the compiled function."""
    compiled = jax.jit(function, compiler_options=convolution.compiler_options())

    def run(n: int) -> float:
        def work() -> None:
            for _ in range(n):
                result = compiled(argument)
            jax.block_until_ready(result)

        return timing.seconds_of(work)

    samples, _ = timing.interleaved([run], seconds)
    return float(samples.min())


def peak_memory() -> int:
    """Returns the most bytes that were in use on a device or, on a CPU, by this process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return int(stats["peak_bytes_in_use"])
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

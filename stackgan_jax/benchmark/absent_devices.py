"""Compiles the training step for a TPU or GPU that this machine does not have.

The packages `libtpu` and `jax-cuda13-plugin` compile on any x86-64 Linux machine. Nothing runs: a
TPU's cycles come from the compiler's cost model, and a GPU's time is the least that its kernels can
take.
"""

import math
import os
import re
from collections.abc import Mapping
from typing import Any

import jax

from stackgan_jax.benchmark import collectives, gpus, kernels
from stackgan_jax.benchmark.subject import Subject
from stackgan_jax.runtime import compilation, mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import fused_steps

GIBI = 2**30
# Generation → GiB of memory and clock in GHz of one JAX device, which is a chip, and on v4 a core
# of a chip (peak operations over what one cycle of the matrix units does; Google's published
# figures).
TPUS = {"v5e": (16, 1.5), "v6e": (32, 1.75), "v5p": (95, 1.75), "v4": (16, 1.05)}
EXTRAS = {"tpu": "tpu", "cuda": "cuda13"}  # of the package jax, by platform
EXAMPLES = "v5e:1x1, v5e:2x2, v5e:4x4, v4:2x2x1, v5p:2x2x1, h100:1 or h100:8"


def measure(subject: Subject, target: str) -> dict[str, Any]:
    """Compiles the training step and returns what the compiled program needs.

    On GPUs the step is part of a dispatch of several, as in training with the data on the device.

    Args:
        subject: what to compile; the batch size of its config is for all devices together.
        target: for a TPU the generation and the grid, "v5e:2x2" or "v4:2x2x1"; for GPUs the model
            and the number, "h100:8".

    Returns:
        Memory, operations and bytes of one device's part, the collectives and the estimated time.

    Raises:
        UserError: the compiler's package is missing, there is no such device, or the step doesn't
            fit its memory.
    """
    config, described = subject.config, topology(target)
    devices = mesh.data_mesh(config.batch_size, described)
    state, batch = shapes(subject, devices)
    model = target.partition(":")[0]
    gpu = gpus.GPUS.get(model)
    memory = (gpu.memory if gpu else TPUS[model][0]) * GIBI
    with compilation.readable_out_of_memory(config):
        compiled = _compile(subject, devices, state, batch, several=gpu is not None)
        account = compilation.costs(compiled)
        if account["memory_bytes"] > memory:  # a TPU's compiler raises this error itself
            needed = account["memory_bytes"] / GIBI
            raise MemoryError(f"{needed:.0f} GiB needed, {memory / GIBI:.0f} there")
    text = compiled.as_text()
    seconds, estimate, counted = _gpu_estimate(gpu, text) if gpu else _tpu_estimate(model, text)
    return {
        "config": config.name,
        "batch_size": config.batch_size,
        "dtype": subject.dtype,
        "target": target,
        "chips": len(described),
        "kind": described[0].device_kind,
        "chip_memory_bytes": memory,
        "compiled": account | counted,
        **estimate,
        "estimated_milliseconds": round(seconds * 1e3, 3),
        "estimated_images_per_second": round(config.batch_size / seconds, 1) if seconds else None,
        "collectives": collectives.read(
            text, {leaf.shape for leaf in jax.tree.leaves(state)}, config.batch_size
        ),
    }


def _compile(
    subject: Subject,
    devices: jax.sharding.Mesh,
    state: Any,
    batch: Mapping[str, Any],
    several: bool,
) -> jax.stages.Compiled:
    """Compiles one step, or a dispatch of several, for shapes on the mesh."""
    single, many = fused_steps.programs(devices, subject.step)
    if several:
        return many.compile(state, {}, _stacked(devices, batch))
    return single.compile(state, {}, batch)


def _gpu_estimate(gpu: gpus.Gpu, text: str) -> tuple[float, dict[str, int], dict[str, int]]:
    """Least seconds of a step, the number of its kernels, and its operations and bytes."""
    step = kernels.of_a_step(text)
    counted = {
        "operations": sum(kernel.operations for kernel in step),
        "bytes": sum(kernel.bytes for kernel in step),
    }
    return gpu.least_seconds(step), {"kernels": len(step)}, counted


def _tpu_estimate(generation: str, text: str) -> tuple[float, dict[str, int], dict[str, int]]:
    """Seconds and cycles of a step by the compiler's cost model; it counts operations itself."""
    cycles = sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text)))
    return cycles / (TPUS[generation][1] * 1e9), {"estimated_cycles": cycles}, {}


def topology(target: str) -> list[jax.Device]:
    """Returns the devices of a TPU or of GPUs, as descriptions to compile for.

    Raises:
        UserError: there are no such devices, or the compiler's package is missing.
    """
    model, _, grid = target.partition(":")
    if model in gpus.GPUS and re.fullmatch(r"[1-9]\d*", grid):
        return _gpu_devices(target, gpus.GPUS[model], int(grid))
    if model in TPUS and re.fullmatch(r"\d+(x\d+){1,2}", grid):
        return _tpu_devices(target, [int(side) for side in grid.split("x")])
    raise UserError(f"Unknown --target={target!r}; give for example {EXAMPLES}.")


def _tpu_devices(target: str, grid: list[int]) -> list[jax.Device]:
    # Without these libtpu searches for a TPU, or for a server that knows of one, for minutes.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # nothing runs, so nothing collides
    options = {"chips_per_host_bounds": (*grid, 1)[:3]} if math.prod(grid) < 4 else {}
    return _described(target, "tpu", "libtpu", **options)


def _gpu_devices(target: str, gpu: gpus.Gpu, count: int) -> list[jax.Device]:
    hosts = -(-count // gpu.per_host)
    if hosts > 1 and count % gpu.per_host:
        raise UserError(
            f"--target={target} doesn't exist: a machine holds {gpu.per_host}, so give up to "
            f"{gpu.per_host} or a multiple of it."
        )
    options = {"target_config": gpu.description, "topology": f"1x{hosts}x{count // hosts}"}
    return _described(target, "cuda", "jax-cuda13-plugin", **options)


def _described(target: str, platform: str, package: str, **options: Any) -> list[jax.Device]:
    from jax.experimental import topologies

    try:
        return topologies.get_topology_desc(target, platform=platform, **options).devices
    except (jax.errors.JaxRuntimeError, RuntimeError, ValueError) as error:
        reason, remedy = str(error).strip().splitlines()[0], "choose another grid"
        if "not installed" in reason or "not implemented for" in reason:
            reason = f"{package} is not installed"
            extra = f"jax[{EXTRAS[platform]}]=={jax.__version__}"
            remedy = f"pip install {package} in the version that {extra} requires"
        raise UserError(
            f"--target={target} can't be compiled for: {reason.rstrip('.')}; {remedy}."
        ) from error


def _stacked(devices: jax.sharding.Mesh, batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """The stacked batches of a dispatch of several steps, as shapes."""
    sharding = mesh.over_batch(devices, 1)
    return {
        name: jax.ShapeDtypeStruct(
            (fused_steps.STEPS_TOGETHER, *a.shape), a.dtype, sharding=sharding
        )
        for name, a in batch.items()
    }


def shapes(subject: Subject, devices: jax.sharding.Mesh) -> tuple[Any, Mapping[str, Any]]:
    """Returns the state and the batch as ShapeDtypeStructs on the mesh."""
    source = subject.source()
    batch = source.gather(source.held, source.choose(0))
    state = jax.eval_shape(subject.init, jax.random.key(0))

    def on(sharding: jax.sharding.Sharding) -> Any:
        return lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)

    return (
        jax.tree.map(on(mesh.replicated(devices)), state),
        jax.tree.map(on(mesh.over_batch(devices)), dict(batch)),
    )

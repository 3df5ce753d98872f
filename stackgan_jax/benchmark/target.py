"""Compiles the step for a described TPU or GPU, and reads what the compiler made of it.

The packages `libtpu` and `jax-cuda13-plugin` compile on any x86-64 Linux machine. A TPU's cycles
are a cost model's, a GPU's time is the least that its kernels can take; neither is a run.
"""

import collections
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from stackgan_jax.benchmark import cards, kernels, work
from stackgan_jax.runtime import compilation, mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import fused_steps
from stackgan_jax.training.gan import MISMATCH

# Generation → GiB of memory and clock in GHz of what JAX calls a device: a chip, on v4 a core of it
# (peak operations over what one cycle of the matrix units does; Google's published figures).
CHIPS = {"v5e": (16, 1.5), "v6e": (32, 1.75), "v5p": (95, 1.75), "v4": (16, 1.05)}
EXTRAS = {"tpu": "tpu", "cuda": "cuda13"}  # of the package jax, by platform
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
SEVERAL = "several"  # the origin of sums that the compiler joined


def measure(subject: work.Subject, target: str) -> dict[str, Any]:
    """Memory, operations, bytes, collectives and estimated time of the training step on `target`.

    On GPUs of a step inside a dispatch of several, as a data set on the device is trained on.

    Args:
      target: of a TPU, generation and grid: "v5e:2x2", "v4:2x2x1"; of GPUs, card and number:
        "h100:8". `config.batch_size` is for all of them.
    Raises:
      UserError: the compiler's package is missing, there is no such topology, or the step doesn't
        fit the chip.
    """
    config, described = subject.config, topology(target)
    devices = mesh.data_mesh(config.batch_size, described)
    state, batch = shapes(subject, devices)
    one, several = fused_steps.programs(devices, subject.step)
    generation = target.partition(":")[0]
    card = cards.CARDS.get(generation)
    memory = (card.memory if card else CHIPS[generation][0]) * 2**30
    with compilation.readable_out_of_memory(config.batch_size):
        if card:
            compiled = several.compile(state, {}, _stacked(devices, batch))
        else:
            compiled = one.compile(state, {}, batch)
        account = compilation.costs(compiled)
        if account["memory_bytes"] > memory:  # a TPU's compiler says so itself
            needed, there = account["memory_bytes"] / 2**30, memory / 2**30
            raise MemoryError(f"{needed:.0f} GiB needed, {there:.0f} there")
    text = compiled.as_text()
    if card:
        step = kernels.of_a_step(text)
        account["operations"] = sum(kernel.operations for kernel in step)
        account["bytes"] = sum(kernel.bytes for kernel in step)
        seconds, made = card.least_seconds(step), {"kernels": len(step)}
    else:
        cycles = sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text)))
        seconds, made = cycles / (CHIPS[generation][1] * 1e9), {"estimated_cycles": cycles}
    return {
        "config": config.name,
        "batch_size": config.batch_size,
        "dtype": subject.dtype,
        "target": target,
        "chips": len(described),
        "kind": described[0].device_kind,
        "chip_memory_bytes": memory,
        "compiled": account,
        **made,
        "estimated_milliseconds": round(seconds * 1e3, 3),
        "estimated_images_per_second": round(config.batch_size / seconds, 1) if seconds else None,
        "collectives": collectives(
            text, {leaf.shape for leaf in jax.tree.leaves(state)}, config.batch_size
        ),
    }


def topology(target: str) -> list[jax.Device]:
    """The devices of a described TPU or of described GPUs.

    Raises UserError where they don't exist or the compiler's package is missing.
    """
    generation, _, grid = target.partition(":")
    if generation in cards.CARDS and re.fullmatch(r"[1-9]\d*", grid):
        return _gpus(target, cards.CARDS[generation], int(grid))
    if generation in CHIPS and re.fullmatch(r"\d+(x\d+){1,2}", grid):
        return _tpu(target, [int(side) for side in grid.split("x")])
    examples = "v5e:1x1, v5e:2x2, v5e:4x4, v4:2x2x1, v5p:2x2x1, h100:1 or h100:8"
    raise UserError(f"Unknown --target={target!r}; give for example {examples}.")


def _tpu(target: str, chips: list[int]) -> list[jax.Device]:
    # Without these libtpu looks for a TPU, or for somebody to ask about it, for minutes.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # nothing runs, so nothing collides
    options = {"chips_per_host_bounds": (*chips, 1)[:3]} if math.prod(chips) < 4 else {}
    return _described(target, "tpu", "libtpu", **options)


def _gpus(target: str, card: cards.Card, count: int) -> list[jax.Device]:
    hosts = -(-count // card.per_host)
    if hosts > 1 and count % card.per_host:
        raise UserError(
            f"--target={target} doesn't exist: a machine holds {card.per_host}, so give up to "
            f"{card.per_host} or a multiple of it."
        )
    grid = f"1x{hosts}x{count // hosts}"
    described = {"target_config": card.description, "topology": grid}
    return _described(target, "cuda", "jax-cuda13-plugin", **described)


def _described(target: str, platform: str, package: str, **options: Any) -> list[jax.Device]:
    from jax.experimental import topologies

    try:
        return topologies.get_topology_desc(target, platform=platform, **options).devices
    except (jax.errors.JaxRuntimeError, RuntimeError, ValueError) as error:
        reason, remedy = str(error).strip().splitlines()[0], "choose another grid"
        if "not installed" in reason or "not implemented for" in reason:
            reason = f"{package} is not installed"
            remedy = f"pip install the version that jax[{EXTRAS[platform]}] {jax.__version__} names"
        raise UserError(
            f"--target={target} can't be compiled for: {reason.rstrip('.')}; {remedy}."
        ) from error


def _stacked(devices: jax.sharding.Mesh, batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """The batches of a dispatch of several steps, as shapes."""
    sharding = mesh.over_batch(devices, 1)
    return {
        name: jax.ShapeDtypeStruct(
            (fused_steps.STEPS_TOGETHER, *a.shape), a.dtype, sharding=sharding
        )
        for name, a in batch.items()
    }


def shapes(subject: work.Subject, devices: jax.sharding.Mesh) -> tuple[Any, Mapping[str, Any]]:
    """State and batch as ShapeDtypeStructs on the mesh."""
    source = subject.source(subject.pictures())
    batch = source.gather(source.held, source.choose(0))
    state = jax.eval_shape(subject.init, jax.random.key(0))

    def on(sharding):
        return lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)

    return (
        jax.tree.map(on(mesh.replicated(devices)), state),
        jax.tree.map(on(mesh.over_batch(devices)), dict(batch)),
    )


def collectives(
    text: str, parameters: Iterable[tuple[int, ...]], images: int
) -> dict[str, dict[str, int]]:
    """What chips tell each other in a compiled program: by kind and origin, count and bytes.

    The origin is "gradients" (of `parameters`, given by their shapes), "normalisation" (batch
    statistics and their gradients), "mismatch" (which text goes with which image), "scalars"
    (losses and norms, also one for each of `images`), "several" (what a GPU's compiler joined into
    one), or else the operation's name. What the compiler cut up to run beside other work keeps its
    channel, and counts once.
    """
    known = {tuple(shape) for shape in parameters}
    found: dict[str, collections.Counter] = {}
    told = set()
    pattern = re.compile(rf"= (.+?) ({'|'.join(COLLECTIVES)})(?:-start)?\(")
    for line in text.splitlines():
        match, channel = pattern.search(line), re.search(r"channel_id=\d+", line)
        identity = channel[0] if channel else line
        if match and identity not in told:
            told.add(identity)
            arrays = [
                (kind, tuple(int(n) for n in sizes.split(",") if n))
                for kind, sizes in re.findall(r"(\w+)\[([\d,]*)\]", match[1])
            ]
            name = re.search(r'op_name="([^"]*)"', line)
            shapes = [shape for _, shape in arrays if shape in known or shape != (images,)]
            origin = _origin(name[1] if name else "", shapes, known)
            size = sum(kernels.BYTES.get(kind, 4) * math.prod(shape) for kind, shape in arrays)
            counter = found.setdefault(f"{match[2]} of {origin}", collections.Counter())
            counter.update(count=1, bytes=size)
    return {kind: dict(counts) for kind, counts in sorted(found.items())}


def _origin(operation: str, shapes: list[tuple[int, ...]], known: set[tuple[int, ...]]) -> str:
    if "/norm/" in operation:
        return "normalisation"
    if f"{MISMATCH}/" in operation or f"{MISMATCH})/" in operation:
        return "mismatch"
    if all(math.prod(shape) == 1 for shape in shapes):
        return "scalars"
    if all(shape in known for shape in shapes) or "transpose(jvp(" in operation:
        return "gradients"
    return operation or SEVERAL

"""Compiles the step for a TPU that is only described, and reads what the compiler says of it.

The `libtpu` package compiles on any x86-64 Linux machine. Its cycles are a cost model's, not a run.
"""

import collections
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from stackgan_jax import compilation, dispatch, mesh
from stackgan_jax.benchmark import work
from stackgan_jax.errors import UserError
from stackgan_jax.gan import MISMATCH

# Generation → GiB of memory and clock in GHz of what JAX calls a device: a chip, on v4 a core of it
# (peak operations over what one cycle of the matrix units does; Google's published figures).
CHIPS = {"v5e": (16, 1.5), "v6e": (32, 1.75), "v5p": (95, 1.75), "v4": (16, 1.05)}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}


def measure(subject: work.Subject, target: str) -> dict[str, Any]:
    """Memory, operations, bytes, cycles and collectives of the training step on `target`.

    Args:
      target: generation and grid: "v5e:2x2", "v4:2x2x1". `config.batch_size` is for all its chips.
    Raises:
      UserError: libtpu is missing, there is no such topology, or the step doesn't fit the chip.
    """
    config, described = subject.config, topology(target)
    devices = mesh.data_mesh(config.batch_size, described)
    state, batch = shapes(subject, devices)
    program, _ = dispatch.programs(devices, subject.step)
    with compilation.memory_in_words(config.batch_size):
        compiled = program.compile(state, {}, batch)
    generation = target.partition(":")[0]
    memory, clock = CHIPS[generation]
    text = compiled.as_text()
    cycles = sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text)))
    seconds = cycles / (clock * 1e9)
    return {
        "config": config.name,
        "batch_size": config.batch_size,
        "dtype": subject.dtype,
        "target": target,
        "chips": len(described),
        "kind": described[0].device_kind,
        "chip_memory_bytes": memory * 2**30,
        "compiled": compilation.account(compiled),
        "estimated_cycles": cycles,
        "estimated_milliseconds": round(seconds * 1e3, 3),
        "estimated_images_per_second": round(config.batch_size / seconds, 1) if cycles else None,
        "collectives": collectives(
            text, {leaf.shape for leaf in jax.tree.leaves(state)}, config.batch_size
        ),
    }


def topology(target: str) -> list[jax.Device]:
    """The devices of a described TPU; UserError where it doesn't exist or libtpu is missing."""
    generation, _, grid = target.partition(":")
    if generation not in CHIPS or not re.fullmatch(r"\d+(x\d+){1,2}", grid):
        examples = "v5e:1x1, v5e:2x2, v5e:4x4, v4:2x2x1 or v5p:2x2x1"
        raise UserError(f"Unknown --target={target!r}; give for example {examples}.")
    # Without these libtpu looks for a TPU, or for somebody to ask about it, for minutes.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # nothing runs, so nothing collides
    from jax.experimental import topologies

    chips = [int(side) for side in grid.split("x")]
    options = {}
    if math.prod(chips) < 4:
        options["chips_per_host_bounds"] = (*chips, 1)[:3]
    try:
        described = topologies.get_topology_desc(target, platform="tpu", **options)
    except (jax.errors.JaxRuntimeError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        if "not installed" in reason:
            reason, remedy = (
                "libtpu is not installed",
                "pip install the version that jax[tpu] names",
            )
        else:
            remedy = "choose another grid"
        raise UserError(
            f"--target={target} can't be compiled for: {reason.rstrip('.')}; {remedy}."
        ) from error
    return described.devices


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
    (losses and norms, also one for each of `images`), or else the operation's name. What the
    compiler cut up to run beside other work keeps its channel, and counts once.
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
            size = sum(BYTES.get(kind, 4) * math.prod(shape) for kind, shape in arrays)
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
    return operation or str(shapes)

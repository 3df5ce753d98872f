"""Compiled training steps: one or several in a dispatch, on batches sent or held on the devices."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from stackgan_jax.data import batches
from stackgan_jax.data.shards.stream import Stream
from stackgan_jax.models import convolution
from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.compilation import Program
from stackgan_jax.runtime.errors import UserError

STEPS_TOGETHER = 10  # In one dispatch to an accelerator: some milliseconds of work.


@dataclasses.dataclass(frozen=True)
class Step:
    """A training step, or several in one dispatch.

    Attributes:
        program: (state, held, batch) → (state, scalars).
        held: arrays of the data set that stay on the devices; empty if batches are sent.
    """

    program: Program
    held: Mapping[str, jax.Array]

    def __call__(self, state: Any, batch: Mapping[str, jax.Array]) -> tuple[Any, Any]:
        """Does the step; `state` is donated."""
        return self.program(state, self.held, batch)


def compiled(
    config: ConfigDict,
    devices: jax.sharding.Mesh,
    source: batches.Source | Stream,
    init: Callable,
    step: Callable,
    *given: Any,
) -> dict[str, Any]:
    """Compiles a learner's functions for a mesh.

    States are replicated; with `config.shard_state` they are split over the devices.

    Args:
        config: of the training.
        devices: that share the batch.
        source: of the batches.
        init: (key, …) → state.
        step: (state, batch) → (state, scalars).
        *given: what `init` takes.

    Returns:
        `init`, `step`, `steps`, `batches` and `together` of a `Learner`.
    """
    states = mesh.replicated(devices)
    if config.get("shard_state", False):
        states = mesh.over_devices(devices, jax.eval_shape(init, *given))
    resident = batches.on_device(source, config.data.get("residency", "auto"), devices)
    held = mesh.place_everywhere(devices, source.held) if resident else {}
    single, many = programs(devices, step, source.gather if resident else None, states)
    options = convolution.compiler_options(devices.devices.flat[0].platform, once=True)
    return {
        "init": jax.jit(init, out_shardings=states, compiler_options=options),
        "step": Step(single, held),
        "steps": Step(many, held),
        "together": steps_together(config, devices, resident),
        "batches": source.choices if resident else source.batches,
    }


def programs(
    devices: jax.sharding.Mesh, step: Callable, gather: Callable | None = None, states: Any = None
) -> tuple[Program, Program]:
    """Programs (state, held, batch) → (state, scalars): for one step, and for stacked batches.

    Args:
        devices: the mesh; batches are split over it.
        step: (state, batch) → (state, scalars).
        gather: (held, choice) → batch. With it a batch is only the choice of a step, and the images
            are gathered on the devices.
        states: the shardings of the state, replicated by default. The state is donated.
    """
    everywhere = mesh.replicated(devices)
    states = states or everywhere

    def one(state: Any, held: Any, batch: Any) -> tuple[Any, Any]:
        return step(state, gather(held, batch) if gather else batch)

    def several(state: Any, held: Any, batches: Any) -> tuple[Any, Any]:
        return jax.lax.scan(lambda state, batch: one(state, held, batch), state, batches)

    def program(name: str, function: Callable, axis: int) -> Program:
        return Program(
            name,
            function,
            in_shardings=(states, everywhere, mesh.over_batch(devices, axis)),
            out_shardings=(states, everywhere),
            donate_argnums=0,
            compiler_options=convolution.compiler_options(devices.devices.flat[0].platform),
        )

    return program("training step", one, 0), program("dispatch of several steps", several, 1)


def steps_together(config: ConfigDict, devices: jax.sharding.Mesh, resident: bool) -> int:
    """How many steps go into one dispatch: `config.steps_per_dispatch`, or the best number for 0.

    On a CPU the best number is 1, because gradients of convolutions inside a loop miss XLA's fast
    layout there.
    """
    wanted = config.get("steps_per_dispatch", 0)
    if wanted < 0:
        raise UserError(f"config.steps_per_dispatch is {wanted}; give a number from 1, or 0.")
    accelerated = devices.devices.flat[0].platform != "cpu"
    return wanted or (STEPS_TOGETHER if accelerated and resident else 1)


def groups(
    start: int, stop: int, together: int, ends: Sequence[int], marks: Sequence[int] = ()
) -> Iterator[tuple[int, int]]:
    """Yields (first step, how many steps) of each dispatch.

    A dispatch has `together` steps. Where that would pass a multiple of one of `ends`, or one of
    `marks`, single steps go up to it, so that only two programs are ever compiled.
    """
    step = start
    while step < stop:
        multiples = ((step // every + 1) * every for every in ends)
        end = min(stop, *multiples, *(mark for mark in marks if mark > step))
        count = together if step + together <= end else 1
        yield step, count
        step += count

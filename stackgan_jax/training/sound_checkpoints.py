"""Which checkpoint can be used: verified while it is read, damaged ones are left out."""

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax

from stackgan_jax.runtime import disk, mesh, processes, seals
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.run_files import saved_steps

DAMAGED = "damaged_checkpoints"  # Where training sets damaged checkpoints aside, in the run.


class Saved(NamedTuple):
    """What was restored.

    Attributes:
        step: of the checkpoint.
        state: the whole state, or the fields that were asked for.
    """

    step: int
    state: Any


def first_sound(
    directory: Path, candidates: Sequence[int], read: Callable[[int], Any], read_only: bool
) -> Saved:
    """Reads the first sound one of some checkpoints.

    Args:
        directory: of the checkpoints.
        candidates: their steps, in the order of preference.
        read: step → the state.
        read_only: leave the damaged ones before it where they are, instead of setting them aside.

    Returns:
        The step, and what `read` returned for it.

    Raises:
        UserError: none of them is sound, or `read` raised one for a sound checkpoint.
    """
    damaged: dict[int, str] = {}
    for step in candidates:
        damage, state = _verified(directory / str(step), lambda step=step: read(step))
        if not damage:
            for each, reason in damaged.items():
                _leave_out(directory, each, reason, read_only)
                _say(f"Step {step:,} is used instead.")
            if not seals.is_sealed(directory / str(step)):
                _say(f"Step {step:,} of {directory} has no seal to verify it by.")
            return Saved(step, state)
        damaged[step] = damage
    listed = "; ".join(f"step {step}: {reason}" for step, reason in damaged.items())
    others = [step for step in saved_steps(directory) if step not in damaged]
    remedy = f"use one of {others}, or restore" if others else "restore"
    raise UserError(
        f"No checkpoint in {directory} can be used ({listed}). Nothing was changed there; "
        f"{remedy} the folder from a copy, or train again in another --workdir."
    )


def set_aside(directory: Path, step: int, reason: str) -> None:
    """Moves a damaged checkpoint out of the way of training, and says so.

    Args:
        directory: of the checkpoints, in the run's folder.
        step: of the damaged one.
        reason: what is damaged.
    """
    place = directory.parent / DAMAGED
    if jax.process_index() == 0:
        place.mkdir(exist_ok=True)
        number = sum(path.name.split(".")[0] == str(step) for path in place.iterdir())
        target = place / (f"{step}.{number}" if number else str(step))
        (directory / str(step)).rename(target)
    _say(f"Step {step:,} of {directory} is damaged: {reason}. It is now in {place}.")
    mesh.wait_for_all_processes(f"set {step} aside")


def reason_of(error: Exception) -> str:
    """An error of Orbax or of the disk, in one line."""
    if disk.is_full(error):
        return f"{disk.REASON}."
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _leave_out(directory: Path, step: int, reason: str, read_only: bool) -> None:
    if read_only:
        _say(f"Step {step:,} in {directory} is damaged: {reason}.")
    else:
        set_aside(directory, step, reason)


def _verified(folder: Path, read: Callable[[], Any]) -> tuple[str, Any]:
    """(what is damaged or "", what `read` returns): verified while it is read."""
    with ThreadPoolExecutor(1) as beside:
        found = beside.submit(lambda: "" if jax.process_index() else seals.damage(folder))
        if jax.process_count() > 1:  # They read together or not at all.
            if damage := "".join(processes.gather(found.result())):
                return damage, None
            return "", read()
        with _silent_libraries():
            try:
                state, error = read(), None
            except Exception as raised:
                state, error = None, raised
                gc.collect()  # Readings that failed beside it are logged when collected.
        damage = found.result()
    if isinstance(error, UserError) and not damage:
        raise error
    if error and not damage:
        damage = f"it can't be read ({reason_of(error)})"
    return damage, state


def _say(sentence: str) -> None:
    if jax.process_index() == 0:
        print(sentence, flush=True)


@contextlib.contextmanager
def _silent_libraries() -> Iterator[None]:
    """Nothing is logged in this block: what is damaged is said in one sentence after it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)

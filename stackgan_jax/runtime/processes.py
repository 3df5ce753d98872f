"""Several processes as one run: joining, agreeing at the start, stopping at the same step."""

import itertools
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError

AUTO = "auto"
GRACE = 3.0  # seconds that process 0, which holds the connections, leaves to the others' last words
_steps = itertools.count()  # asked about so far, in all trainings of this process


def join(coordinator: str, num_processes: int, process_id: int, peer_timeout: int) -> None:
    """Makes this process one of several; the devices of all are one mesh from here on.

    Args:
      coordinator: HOST:PORT of process 0, or "auto" where Slurm, MPI, Kubernetes or a Cloud TPU
        know it; they know the other two as well.
      peer_timeout: seconds without a sign of life after which a process is given up.
    Raises:
      UserError: the others can't be reached, or are not of the same number.
    """
    explicit = (
        {}
        if coordinator == AUTO
        else {
            "coordinator_address": coordinator,
            "num_processes": num_processes,
            "process_id": process_id,
        }
    )
    if process_id and coordinator != AUTO:
        _wait_for(coordinator, 5 * peer_timeout)
    try:
        jax.distributed.initialize(
            **explicit,
            initialization_timeout=5 * peer_timeout,
            heartbeat_timeout_seconds=peer_timeout,
            shutdown_timeout_seconds=peer_timeout,
        )
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise UserError(_why_not(coordinator, num_processes, process_id, error)) from error
    counts = [0] * jax.process_count()
    for device in jax.devices():
        counts[device.process_index] += 1
    if len(set(counts)) > 1:
        raise UserError(f"The processes have {counts} devices; give every process as many.")
    _connect()


def _connect() -> None:
    """Opens the connections between all devices while the processes are together.

    Later one may still be compiling when another calls, for which Gloo waits 30 s only.
    """
    devices = mesh.data_mesh(jax.device_count())
    ones = mesh.place_batch(devices, {"ones": np.ones(jax.local_device_count(), np.float32)})
    total = jax.jit(jnp.sum, out_shardings=mesh.replicated(devices))(ones["ones"])
    total.block_until_ready()


def _wait_for(coordinator: str, seconds: int) -> None:
    """Returns when process 0 listens; JAX would give up with abort(), not with an exception."""
    host, port = coordinator.rsplit(":", 1)
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"No process 0 answered at --coordinator={coordinator} for {seconds} s "
                    f"({error.strerror or error}); start it with the same flags and "
                    "--process_id=0, or mend the address."
                ) from error
            time.sleep(0.2)


def _why_not(coordinator: str, num_processes: int, process_id: int, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if coordinator == AUTO:
        return (
            f"--coordinator=auto found no cluster that it knows ({reason}); give --coordinator="
            "HOST:PORT of process 0, --num_processes and --process_id."
        )
    return (
        f"Process {process_id} of {num_processes} could not join the others at {coordinator} "
        f"({reason}); start all of them with the same --coordinator and --num_processes, each with "
        "a --process_id of its own."
    )


def gather(text: str) -> list[str]:
    """Every process's text, in the order of the processes."""
    if jax.process_count() == 1:
        return [text]
    from jax.experimental.multihost_utils import process_allgather

    data = np.frombuffer(text.encode(), np.uint8)
    lengths = np.ravel(process_allgather(np.array([len(data)])))
    padded = np.zeros(max(lengths.max(), 1), np.uint8)
    padded[: len(data)] = data
    rows = process_allgather(padded)
    return [bytes(row[:length]).decode() for row, length in zip(rows, lengths, strict=True)]


def agree(facts: Mapping[str, Any]) -> None:
    """Raises UserError, in every process, when the facts (JSON values) are not the same in all."""
    gathered = [json.loads(text) for text in gather(json.dumps(dict(facts), sort_keys=True))]
    different = [
        name
        for name in sorted(set().union(*gathered))
        if any(process.get(name) != gathered[0].get(name) for process in gathered)
    ]
    if different:
        told = "; ".join(_who_has_what(name, gathered) for name in different[:3])
        more = f"; and {len(different) - 3} more differ" if len(different) > 3 else ""
        raise UserError(
            f"The processes disagree: {told}{more}. Start all of them with the same command."
        )


def _who_has_what(name: str, gathered: Sequence[Mapping[str, Any]]) -> str:
    """`batch_size is 8 in process 0, 16 in processes 1, 3`."""
    owners: dict[str, list[int]] = {}
    for process, facts in enumerate(gathered):
        owners.setdefault(repr(facts.get(name, "absent")), []).append(process)
    parts = (
        f"{value} in process{'es' * (len(which) > 1)} {', '.join(map(str, which))}"
        for value, which in owners.items()
    )
    return f"{name} is {', '.join(parts)}"


def refuse_if_any(problem: str) -> None:
    """Raises UserError, in every process, when one has a problem; "" is none."""
    for process, sentence in enumerate(gather(problem)):
        if sentence:
            where = f"Process {process}: " if jax.process_count() > 1 else ""
            raise UserError(where + sentence)


class StopRequests:
    """Notes Ctrl-C and SIGTERM while active; a second Ctrl-C ends the process at once.

    Of several processes each may be told: JAX listens to SIGTERM then, and chooses a step that
    none has passed yet.
    """

    def __init__(self):
        self._requested: int = 0
        self._previous = {}
        self._alone = jax.process_count() == 1

    def __enter__(self) -> "StopRequests":
        for number in (signal.SIGINT, signal.SIGTERM) if self._alone else (signal.SIGINT,):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def agreed(self) -> int:
        """The signal to stop for after this step, or 0; every process asks once a step."""
        if self._alone:
            return self._requested
        from jax.experimental.multihost_utils import reached_preemption_sync_point

        return signal.SIGTERM if reached_preemption_sync_point(next(_steps)) else 0

    def asked(self) -> bool:
        """Whether this process alone was told to stop; of several none may decide for itself."""
        return self._alone and self._requested != 0

    def _note(self, number: int, frame) -> None:
        print(f"\n{signal.Signals(number).name}: saving, then stopping …", flush=True)
        self._requested = number
        signal.signal(signal.SIGINT, self._previous[signal.SIGINT])
        if not self._alone:
            os.kill(os.getpid(), signal.SIGTERM)


def leave(status: int) -> NoReturn:
    """Ends this process of several without waiting for the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_index() == 0:
        time.sleep(GRACE)
    os._exit(status)

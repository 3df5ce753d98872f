"""Several processes as one run: they join, compare settings and stop at the same step."""

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
# Seconds that process 0, which holds the connections, waits for the others to print their errors.
GRACE = 3.0
# Numbers the calls of `StopRequests.agreed`, in all trainings of this process.
_steps = itertools.count()


def join(coordinator: str, num_processes: int, process_id: int, peer_timeout: int) -> None:
    """Makes this process one of several; from then on `jax.devices()` lists the devices of all.

    Args:
        coordinator: HOST:PORT of process 0, or "auto" to ask Slurm, MPI, Kubernetes or a Cloud TPU,
            which also know the next two arguments.
        num_processes: the number of processes.
        process_id: the number of this process, from 0.
        peer_timeout: seconds without a heartbeat after which a process counts as lost.

    Raises:
        UserError: the other processes cannot be reached, or their numbers of devices differ.
    """
    explicit: dict[str, Any] = {}
    if coordinator != AUTO:
        explicit = {
            "coordinator_address": coordinator,
            "num_processes": num_processes,
            "process_id": process_id,
        }
        if process_id:
            _wait_for(coordinator, 5 * peer_timeout)
    try:
        jax.distributed.initialize(
            **explicit,
            initialization_timeout=5 * peer_timeout,
            heartbeat_timeout_seconds=peer_timeout,
            shutdown_timeout_seconds=peer_timeout,
        )
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise UserError(_join_failure(coordinator, num_processes, process_id, error)) from error
    _require_equal_shares()
    _connect()


def _require_equal_shares() -> None:
    """Raises UserError if the processes have different numbers of devices."""
    counts = [0] * jax.process_count()
    for device in jax.devices():
        counts[device.process_index] += 1
    if len(set(counts)) > 1:
        raise UserError(
            f"The processes have {counts} devices; give every process the same number of devices."
        )


def _connect() -> None:
    """Opens the connections between all devices while all processes are here.

    Later, one process may still be compiling when another one connects; Gloo waits for 30 s only.
    """
    devices = mesh.data_mesh(jax.device_count())
    ones = mesh.place_batch(devices, {"ones": np.ones(jax.local_device_count(), np.float32)})
    total = jax.jit(jnp.sum, out_shardings=mesh.replicated(devices))(ones["ones"])
    total.block_until_ready()


def _wait_for(coordinator: str, seconds: int) -> None:
    """Returns when process 0 listens. JAX itself would end the process with abort().

    Raises:
        UserError: process 0 does not listen within `seconds`.
    """
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
                    "--process_id=0, or correct the address."
                ) from error
            time.sleep(0.2)


def _join_failure(coordinator: str, num_processes: int, process_id: int, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if coordinator == AUTO:
        return (
            f"--coordinator=auto found no supported cluster ({reason}); give --coordinator="
            "HOST:PORT of process 0, --num_processes and --process_id."
        )
    return (
        f"Process {process_id} of {num_processes} could not join the others at {coordinator} "
        f"({reason}); start all of them with the same --coordinator and --num_processes, each with "
        "a --process_id of its own."
    )


def gather(text: str) -> list[str]:
    """Returns the texts of all processes, in the order of the processes."""
    if jax.process_count() == 1:
        return [text]
    from jax.experimental.multihost_utils import process_allgather

    data = np.frombuffer(text.encode(), np.uint8)
    lengths = np.ravel(process_allgather(np.array([len(data)])))
    padded = np.zeros(max(lengths.max(), 1), np.uint8)
    padded[: len(data)] = data
    rows = process_allgather(padded)
    return [bytes(row[:length]).decode() for row, length in zip(rows, lengths, strict=True)]


def agree(settings: Mapping[str, Any]) -> None:
    """Checks that all processes have the same settings.

    Args:
        settings: this process's settings by name; JSON values.

    Raises:
        UserError: in every process, when a setting differs.
    """
    gathered = [json.loads(text) for text in gather(json.dumps(dict(settings), sort_keys=True))]
    different = [
        name
        for name in sorted(set().union(*gathered))
        if any(process.get(name) != gathered[0].get(name) for process in gathered)
    ]
    if different:
        listed = "; ".join(_values_by_process(name, gathered) for name in different[:3])
        more = f"; and {len(different) - 3} more differ" if len(different) > 3 else ""
        raise UserError(
            f"The processes disagree: {listed}{more}. Start all of them with the same command."
        )


def _values_by_process(name: str, gathered: Sequence[Mapping[str, Any]]) -> str:
    """Returns for example `batch_size is 8 in process 0, 16 in processes 1, 3`."""
    owners: dict[str, list[int]] = {}
    for process, settings in enumerate(gathered):
        owners.setdefault(repr(settings.get(name, "absent")), []).append(process)
    parts = (
        f"{value} in process{'es' * (len(which) > 1)} {', '.join(map(str, which))}"
        for value, which in owners.items()
    )
    return f"{name} is {', '.join(parts)}"


def raise_in_all(problem: str) -> None:
    """Raises the problem of one process in all of them.

    Args:
        problem: this process's problem as a sentence, or "".

    Raises:
        UserError: in every process, with the first problem.
    """
    for process, sentence in enumerate(gather(problem)):
        if sentence:
            where = f"Process {process}: " if jax.process_count() > 1 else ""
            raise UserError(where + sentence)


class StopRequests:
    """Records Ctrl-C and SIGTERM while active; a second Ctrl-C ends the process at once.

    In a run of several processes, any of them may get the signal. JAX handles SIGTERM then and
    chooses a step that no process has passed yet.
    """

    def __init__(self) -> None:
        self._requested: int = 0
        self._previous: dict[int, Any] = {}
        self._alone = jax.process_count() == 1

    def __enter__(self) -> "StopRequests":
        """Installs the signal handlers."""
        for number in (signal.SIGINT, signal.SIGTERM) if self._alone else (signal.SIGINT,):
            self._previous[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, *error: object) -> None:
        """Restores the previous signal handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def agreed(self) -> int:
        """Returns the signal that stops training after this step, or 0; call it once a step."""
        if self._alone:
            return self._requested
        from jax.experimental.multihost_utils import reached_preemption_sync_point

        return signal.SIGTERM if reached_preemption_sync_point(next(_steps)) else 0

    def asked(self) -> bool:
        """Returns whether a run of one process got a signal.

        In a run of several it returns False: a process must not stop on its own.
        """
        return self._alone and self._requested != 0

    def _record(self, number: int, frame: object) -> None:
        print(f"\n{signal.Signals(number).name}: saving, then stopping …", flush=True)
        self._requested = number
        signal.signal(signal.SIGINT, self._previous[signal.SIGINT])
        if not self._alone:
            os.kill(os.getpid(), signal.SIGTERM)


def leave(status: int) -> NoReturn:
    """Ends this process of a run of several, with exit status `status`, without the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_index() == 0:
        time.sleep(GRACE)
    os._exit(status)

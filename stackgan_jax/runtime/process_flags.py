"""Decides whether the command line or the cluster starts this process as one of several."""

import os
import re

from stackgan_jax.runtime.errors import UserError

# The number of processes in a Slurm step, and in Open MPI's world.
CLUSTER_SIZES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")


def is_one_of_several(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> bool:
    """Returns whether the flags say that this process has peers; without flags asks the cluster.

    Args:
        coordinator: `--coordinator`: HOST:PORT of process 0, "auto", or None if not given.
        num_processes: `--num_processes`, or None if not given.
        process_id: `--process_id`, or None if not given.

    Raises:
        UserError: a flag is missing that the others need, or a value is out of range.
    """
    if num_processes == 1:
        return False
    if coordinator is None and num_processes is None and process_id is None:
        sizes = (os.environ.get(name, "1") for name in CLUSTER_SIZES)
        return any(size.isdigit() and int(size) > 1 for size in sizes)
    if coordinator == "auto":
        return True
    _require_all(coordinator=coordinator, num_processes=num_processes, process_id=process_id)
    if process_id >= num_processes:
        raise UserError(
            f"--process_id={process_id} is none of {num_processes} processes; "
            f"give a number from 0 to {num_processes - 1}."
        )
    if not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(
            f"--coordinator={coordinator} has no port; give HOST:PORT of process 0, "
            "for example localhost:12345."
        )
    return True


def _require_all(**given: str | int | None) -> None:
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} missing: give --coordinator, --num_processes and "
            "--process_id together, or --coordinator=auto alone to ask the cluster."
        )

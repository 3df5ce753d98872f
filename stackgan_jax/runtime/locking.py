"""The lock under which one process prepares data while others wait for it."""

import contextlib
import pathlib
import sys
from collections.abc import Iterator

import filelock

from stackgan_jax.runtime.errors import UserError

LOCK_FILE = "preparing.lock"


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Holds the lock for preparing `path`; waits, and says so, while another process holds it.

    The lock is the file `preparing.lock` in the folder of `path`, which is created if it does not
    exist. The kernel releases the lock when the process ends, however it ends.

    Args:
        path: the file or folder to prepare.

    Raises:
        OSError: the folder cannot be created or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.UnixFileLock(path.parent / LOCK_FILE)
    try:
        held = lock.acquire(blocking=False)
    except filelock.Timeout:
        print(f"Waiting for the process that prepares {path}.", file=sys.stderr, flush=True)
        held = lock.acquire()
    with held:
        yield


def unwritable(path: pathlib.Path, error: OSError) -> UserError:
    """Returns the error for a data set that cannot be written to `path`."""
    reason = error.strerror or error
    return UserError(
        f"Cannot write the data set to {path}: {reason}; free disk space or choose another folder "
        "with --config.data.dir."
    )

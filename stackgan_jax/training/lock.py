"""Who trains in a workdir now: a lock that ends with the training, however that ends."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import jax

FILE = ".training"


@contextlib.contextmanager
def training(workdir: Path) -> Iterator[None]:
    """While active, other processes see that `workdir` is being trained; on a local disk.

    It may be active already, in this process too.
    """
    if jax.process_index() or not isinstance(workdir, Path):
        yield
        return
    with open(workdir / FILE, "w") as file:
        with contextlib.suppress(OSError):  # a file system without locks, or another training
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def is_training(workdir: Path) -> bool:
    """Whether a process trains in `workdir` at this moment."""
    try:
        with open(workdir / FILE) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False

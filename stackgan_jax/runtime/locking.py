"""One process prepares, the others wait for it; and the sentence for a disk that refuses."""

import contextlib
import fcntl
import pathlib
import sys
from collections.abc import Iterator

from stackgan_jax.runtime.errors import UserError


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Holds a lock beside `path` that ends with the process, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / "preparing.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for the process that prepares {path}.", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def unwritable(path: pathlib.Path, error: OSError) -> UserError:
    """The sentence for a data set that can't be written."""
    reason = error.strerror or error
    return UserError(
        f"Cannot write the data set to {path}: {reason}; free space or give another directory "
        "with --config.data.dir."
    )

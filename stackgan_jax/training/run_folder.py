"""A run's folder: whose it is, and whether it is being trained at this moment."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
from filelock import FileLock, Timeout
from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration, mesh, processes
from stackgan_jax.runtime.errors import UserError

LOCK = ".training"


@contextlib.contextmanager
def claimed(workdir: Path, config: ConfigDict) -> Iterator[None]:
    """Makes `workdir` the run of `config`, as `claim` does, and marks it as being trained."""
    claim(workdir, config)
    with training(workdir):
        yield


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes `workdir` the run of `config`.

    A folder belongs to a config once something has been saved in it; what failed before that can be
    corrected. After that its config.json stays until `note`, because the start can still fail, for
    example because the data have changed.

    Raises:
        UserError: the folder belongs to another config, cannot be written, or is not the same
            folder for every process.
    """
    path = workdir / "config.json"
    with _writable(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists() and configuration.has_begun(workdir):
            configuration.refuse_another(configuration.read(path), config, workdir)
        else:
            note(workdir, config)
    mesh.wait_for_all_processes(f"claim {workdir}")
    processes.raise_in_all(
        ""
        if path.exists()
        else f"the workdir {workdir} is not the folder that process 0 has there; give a --workdir "
        "on a file system that all hosts share, or on gs://."
    )


def note(workdir: Path, config: ConfigDict) -> None:
    """Writes `config` to the run's config.json."""
    if jax.process_index() == 0:
        configuration.write(workdir / "config.json", config)


@contextlib.contextmanager
def training(workdir: Path) -> Iterator[None]:
    """Marks a local `workdir` as being trained, by a lock that ends with this process.

    The lock may be held already, by this process too.
    """
    if jax.process_index() or not isinstance(workdir, Path):
        yield
        return
    # One lock for all callers in this process; they may nest, and be of different threads.
    lock = FileLock(workdir / LOCK, is_singleton=True, thread_local=False)
    with contextlib.ExitStack() as held:
        # The file system may have no locks, or another process may train here.
        with contextlib.suppress(OSError, NotImplementedError, Timeout):
            held.enter_context(lock.acquire(timeout=1))  # `is_training` holds it for a moment
        yield


def is_training(workdir: Path) -> bool:
    """Whether a process is training in `workdir` at this moment."""
    if not (workdir / LOCK).exists():
        return False
    try:
        with FileLock(workdir / LOCK, thread_local=False).acquire(blocking=False):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False


@contextlib.contextmanager
def _writable(workdir: Path) -> Iterator[None]:
    """Raises UserError for an error of the disk, or of the libraries that reach gs://."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(workdir, Path) and not isinstance(error, OSError):
            raise
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0][:200]
        raise UserError(
            f"The workdir {workdir} can't be written ({reason}); give another --workdir."
        ) from error

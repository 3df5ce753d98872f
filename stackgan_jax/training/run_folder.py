"""A run's folder: whose it is, and who trains in it at this moment."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
from ml_collections import ConfigDict

from stackgan_jax.runtime import buckets, configuration, lease, mesh, processes, run_files
from stackgan_jax.runtime.errors import UserError


@contextlib.contextmanager
def claimed(workdir: Path, config: ConfigDict) -> Iterator[None]:
    """Makes `workdir` the run of `config`, as `claim` does, and holds its lease.

    Raises:
        UserError: another program trains there, a package for gs:// is missing, or as `claim`.
    """
    with contextlib.ExitStack() as held:
        problem = ""
        try:
            buckets.require_library(workdir)
            with _writable(workdir):
                workdir.mkdir(parents=True, exist_ok=True)
            if jax.process_index() == 0:  # It stands for all processes of the run.
                held.enter_context(lease.hold(workdir))
        except UserError as error:
            problem = str(error)
        processes.raise_in_all(problem)
        claim(workdir, config)
        yield


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes `workdir` the run of `config`.

    The folder exists. It belongs to a config once something has been saved in it; what failed
    before that can be corrected. After that its config.json stays until `note`, because the start
    can still fail, for example because the data have changed.

    Raises:
        UserError: the folder belongs to another config, cannot be written, or is not the same
            folder for every process.
    """
    path = workdir / "config.json"
    with _writable(workdir):
        if run_files.exists(path) and configuration.has_begun(workdir):
            configuration.refuse_another(configuration.read(path), config, workdir)
        if not (path.is_file() and configuration.has_begun(workdir)):
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

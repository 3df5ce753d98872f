"""The data sets by name, and their preparation, which any number of processes may ask for at once."""

import contextlib
import fcntl
import importlib
import os
import pathlib
import shutil
import sys

from stackgan_jax.errors import UserError

# name → (module, class); a module is imported when its data set is asked for.
BUILDERS = {
    "synthetic_birds": ("stackgan_jax.datasets.synthetic_birds", "SyntheticBirds"),
}
DEFAULT_DIRECTORY = "~/.cache/stackgan_jax/datasets"


def builder(name, config=None, data_dir=None):
    """The TFDS builder of a data set, not yet prepared.

    Args:
        name: one of BUILDERS.
        config: name of one of the builder's configurations; None for its first.
        data_dir: where prepared data sets lie; None for DEFAULT_DIRECTORY.

    Raises:
        UserError: the name or the configuration is unknown, or the directory is not writable.
    """
    if name not in BUILDERS:
        raise UserError(f"Unknown dataset {name!r}; choose from {', '.join(sorted(BUILDERS))}.")
    module, class_name = BUILDERS[name]
    kind = getattr(importlib.import_module(module), class_name)
    configs = [known.name for known in kind.BUILDER_CONFIGS]
    if config is not None and config not in configs:
        raise UserError(
            f"Unknown configuration {config!r} of dataset {name!r}; choose from {', '.join(configs)}."
        )
    directory = pathlib.Path(data_dir or DEFAULT_DIRECTORY).expanduser().resolve()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Cannot keep data sets in {directory}: {error.strerror}; give another data directory."
        ) from error
    return kind(config=config, data_dir=os.fspath(directory))


def prepare(name, config=None, data_dir=None):
    """The TFDS builder of a data set, prepared: drawn or read if that has not been done yet.

    One process prepares and the others wait for it; what an interrupted preparation left behind is
    removed first. Arguments and errors as for `builder`.
    """
    made = builder(name, config, data_dir)
    if not made.is_prepared():
        with _locked(made), _without_progress_bars():
            if not made.is_prepared():
                _remove_incomplete(made)
                _download_and_prepare(made)
        # The first builder looked before the data were there.
        made = builder(name, config, data_dir)
    return made


def _download_and_prepare(made):
    import tensorflow_datasets as tfds

    # Nothing is asked of a server: the data are drawn here, or lie where the user put them.
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    made.download_and_prepare(download_config=config)


@contextlib.contextmanager
def _locked(made):
    """Holds a lock that ends with the process, however it ends."""
    path = pathlib.Path(made.data_path).parent
    path.mkdir(parents=True, exist_ok=True)
    with open(path / "preparing.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another process prepares {path}; waiting for it.", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_incomplete(made):
    """Removes what interrupted preparations left behind (the caller holds the lock)."""
    from tensorflow_datasets.core import constants

    for path in pathlib.Path(made.data_path).parent.glob(f"{constants.INCOMPLETE_PREFIX}*"):
        shutil.rmtree(path)


@contextlib.contextmanager
def _without_progress_bars():
    """Silences tfds's bars, which know no total and hence no ETA; the builders print their own."""
    from tensorflow_datasets.core.utils import tqdm_utils

    tqdm_utils.disable_progress_bar()
    try:
        yield
    finally:
        tqdm_utils.enable_progress_bar()

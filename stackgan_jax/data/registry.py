"""The data sets by name, and their preparation, which several processes may ask for at once."""

import contextlib
import importlib
import os
import pathlib
import shutil
from typing import Any

from stackgan_jax.data.records import Source
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.locking import locked, unwritable

# name → (module, class); a module, and TensorFlow with it, is imported when it is asked for.
BUILDERS = {
    "synthetic_birds": ("stackgan_jax.data.synthetic_birds.builder", "SyntheticBirds"),
    "birds": ("stackgan_jax.data.published_sets.birds", "Cub200"),
    "flowers": ("stackgan_jax.data.published_sets.flowers", "Oxford102"),
    "coco": ("stackgan_jax.data.published_sets.coco", "Coco2014"),
    "cub200": ("stackgan_jax.data.published_sets.birds", "Cub200"),
    "oxford102": ("stackgan_jax.data.published_sets.flowers", "Oxford102"),
    "coco2014": ("stackgan_jax.data.published_sets.coco", "Coco2014"),
    "stackgan_pickles": ("stackgan_jax.data.published_sets.stackgan_pickles", "StackganPickles"),
}
DEFAULT_DIRECTORY = "~/.cache/stackgan_jax/datasets"


def source(data: Any) -> Source:
    """The source of a config's records, prepared when they are asked for.

    Args:
        data: `config.data`: `name`, `builder_config` and `dir`; `path` and more for a folder.

    Raises:
        UserError: the name or the configuration is unknown, the directory cannot be made, or the
            folder with the user's pictures is not there.
    """
    # Imported here, for they import each other by way of this package.
    from stackgan_jax.data import tfds_source
    from stackgan_jax.data.folder.source import FolderSource
    from stackgan_jax.data.published_sets import coco_captions

    if data.name == "folder":
        return FolderSource(data, directory(data.dir))
    if data.name in ("coco", "coco2014") and (prepared := coco_captions.find(data.path)):
        return coco_captions.CocoCaptions(prepared, directory(data.dir))
    wanted = (data.name, data.builder_config or None, data.dir or None, data.path or None)
    return tfds_source.TfdsSource(builder(*wanted), lambda: prepare(*wanted))


def directory(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """Where prepared data sets lie, made if need be; UserError where it can't be."""
    path = pathlib.Path(data_dir or DEFAULT_DIRECTORY).expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def builder(name, config=None, data_dir=None, path=None):
    """The TFDS builder of a data set, not yet prepared.

    Args:
        name: one of BUILDERS.
        config: name of one of the builder's configurations; None for its first.
        data_dir: where prepared data sets lie; None for DEFAULT_DIRECTORY.
        path: where the user's files lie, for the data sets that are made of them.

    Raises:
        UserError: the name or the configuration is unknown, one of the user's files is missing, or
            the directory cannot be made.
    """
    if name not in BUILDERS:
        choices = ", ".join(sorted([*BUILDERS, "folder"]))
        raise UserError(f"Unknown dataset {name!r}; choose from {choices}.")
    module, class_name = BUILDERS[name]
    kind = getattr(importlib.import_module(module), class_name)
    configs = [known.name for known in kind.BUILDER_CONFIGS]
    if config is not None and config not in configs:
        choices = ", ".join(configs)
        raise UserError(
            f"Unknown configuration {config!r} of dataset {name!r}; choose from {choices}."
        )
    prepared = directory(data_dir)
    if hasattr(kind, "fingerprint"):
        prepared /= kind.fingerprint(path, config)
    return kind(config=config, data_dir=os.fspath(prepared))


def prepare(name, config=None, data_dir=None, path=None):
    """The TFDS builder of a data set, prepared: drawn or read if that has not been done yet.

    One process prepares and the others wait for it; what an interrupted preparation left behind is
    removed first. Arguments and errors as for `builder`; UserError too where the disk is full.
    """
    made = builder(name, config, data_dir, path)
    prepared = pathlib.Path(made.data_path)
    if not _is_prepared(prepared):
        try:
            with locked(prepared), _quiet():
                if not _is_prepared(prepared):
                    _prepare(made, prepared, path)
        except OSError as error:
            raise unwritable(prepared, error) from error
        # The first builder looked before the data were there.
        made = builder(name, config, data_dir, path)
    return made


def _is_prepared(path):
    # tfds renames the finished directory into place, so what is there is complete.
    return (path / "dataset_info.json").exists()


def _prepare(made, prepared, path):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import constants

    for interrupted in prepared.parent.glob(f"{constants.INCOMPLETE_PREFIX}*"):
        shutil.rmtree(interrupted)
    # Nothing is asked of a server: the data are drawn here, or lie where the user put them.
    made.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False, manual_dir=path)
    )


@contextlib.contextmanager
def _quiet():
    """Silences tfds's bars, which know no total and hence no ETA; the builders print their own."""
    from tensorflow_datasets.core.utils import tqdm_utils

    tqdm_utils.disable_progress_bar()
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        tqdm_utils.enable_progress_bar()


# TEMPORARY-MERGE
import types  # noqa: E402

from ml_collections import ConfigDict  # noqa: E402

_PLAIN = {"crop": "none", "builder_config": ""}
DATA_SETS = {
    "synthetic_birds": types.SimpleNamespace(
        program=None, images=None, fields={"builder_config": "small", "crop": "none"}
    ),
    "birds": types.SimpleNamespace(
        program="tensorflow", images=8855, fields={"builder_config": "", "crop": "bbox"}
    ),
    "flowers": types.SimpleNamespace(program="tensorflow", images=7034, fields=_PLAIN),
    "coco": types.SimpleNamespace(program="pytorch", images=82783, fields=_PLAIN),
    "stackgan_pickles": types.SimpleNamespace(
        program="tensorflow", images=8855, fields={"builder_config": "76", "crop": "none"}
    ),
    "folder": types.SimpleNamespace(
        program=None,
        images=None,
        fields={
            "builder_config": "",
            "crop": "square",
            "classes": "auto",
            "test_fraction": 0.1,
            "split_seed": 0,
        },
    ),
}


def config(name):
    if name not in DATA_SETS:
        raise UserError(f"Unknown data set {name!r}; choose from {', '.join(DATA_SETS)}.")
    where = {"path": "", "dir": "", "max_damaged": 0.01, "residency": "auto"}
    return ConfigDict({"name": name, **DATA_SETS[name].fields, **where})

"""The registry of data sets: one name for each, and how its records are read.

A data set of your own is one more entry, for example at the top of your config file:

    registry.DATA_SETS["mine"] = registry.DataSet("my_module:MyBuilder", crop="square")

Every process that reads the data needs the entry. The modes that start without a config file (for
example --mode=evaluate) need it in this file.
"""

import dataclasses
import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from ml_collections import ConfigDict

from stackgan_jax.data import tfds_source
from stackgan_jax.data.folder.source import FolderSource
from stackgan_jax.data.records import Source
from stackgan_jax.runtime import packages
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.locking import unwritable

DEFAULT_DIRECTORY = "~/.cache/stackgan_jax/datasets"
RECIPES = ("published", "modern")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One entry of the registry.

    Attributes:
        source: a callable `(config.data, directory) → records.Source`, where `directory` holds all
            prepared data sets; or a TFDS builder as "module:Class", whose examples have `image`,
            `captions`, `label` and optionally `bbox`, `filename`, `attributes`. The module, and
            TensorFlow with it, is imported at the first use.
        builder_config: default of `config.data.builder_config`, the name of one of the builder's
            configurations; "" for its first.
        crop: default of `config.data.crop`: "none", "square" or "bbox".
        settings: further fields of `config.data` with their defaults.
        images: number of training images; 0 if it depends on the user's files.
        program: the published program whose networks and schedule the configs use for this data
            set: "tensorflow", "pytorch", or None.
        former_name: `config.data.name` in older runs, and its folder below `directory`.
    """

    source: str | Callable[[ConfigDict, Path], Source]
    builder_config: str = ""
    crop: str = "none"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    images: int = 0
    program: Literal["tensorflow", "pytorch"] | None = None
    former_name: str = ""

    def steps_per_epoch(self, batch_size: int) -> int:
        """The steps of one pass over the training images; the incomplete last batch is dropped."""
        return self.images // batch_size


DATA_SETS: dict[str, DataSet] = {
    "synthetic_birds": DataSet(
        "stackgan_jax.data.synthetic_birds.builder:SyntheticBirds",
        builder_config="small",
        images=2_520,
    ),
    "birds": DataSet(
        "stackgan_jax.data.published_sets.birds:Birds",
        crop="bbox",
        images=8_855,
        program="tensorflow",
        former_name="cub200",
    ),
    "flowers": DataSet(
        "stackgan_jax.data.published_sets.flowers:Flowers",
        images=7_034,
        program="tensorflow",
        former_name="oxford102",
    ),
    "coco": DataSet(
        "stackgan_jax.data.published_sets.coco:Coco",
        images=82_783,
        program="pytorch",
        former_name="coco2014",
    ),
    "stackgan_pickles": DataSet(
        "stackgan_jax.data.published_sets.stackgan_pickles:StackganPickles",
        builder_config="76",
        images=8_855,  # of the birds; the pickles of the flowers are set up by hand
        program="tensorflow",
    ),
    # The user's own pictures. data/splitting.py explains the settings.
    "folder": DataSet(
        FolderSource,
        crop="square",
        settings={"classes": "auto", "test_fraction": 0.1, "split_seed": 0},
    ),
}


def config(name: str) -> ConfigDict:
    """`config.data` of a data set, for a config file.

    Besides the fields of its entry it holds: `path`, the folder of the user's files; `dir`, where
    prepared data are kept ("" for DEFAULT_DIRECTORY); `max_damaged`, the share of images that may
    be unusable; `residency`, where a split is held during training (see batches.on_device).

    For sets in shards it holds: `shards`, their directory ("" for this machine's cache); `stored`,
    what they hold (see shards.shard); `shard_records`, the number of records in each;
    `shuffle_buffer`, the number of records whose order is drawn together; `leave_out`, names of
    shards to do without; `beam`, options of the Apache Beam runner that prepares ("" for no Beam).

    Raises:
        UserError: the name is unknown.
    """
    data_set = _find(name)
    return ConfigDict(
        {
            "name": name,
            "builder_config": data_set.builder_config,
            "crop": data_set.crop,
            **data_set.settings,
            "path": "",
            "dir": "",
            "max_damaged": 0.01,
            "residency": "auto",
            "shards": "",
            "stored": "pixels",
            "shard_records": 2048,
            "shuffle_buffer": 4096,
            "leave_out": "",
            "beam": "",
        }
    )


def completed(data: ConfigDict) -> ConfigDict:
    """A copy of `config.data`, with defaults for fields that an older run's config lacks."""
    whole = config(current_name(data.name))
    with whole.unlocked():
        whole.update(data)
    return whole


def dataset_and_recipe(argument: str, default: str = "published") -> tuple[str, str]:
    """Splits what follows the colon of --config: "folder,modern" → ("folder", "modern").

    Args:
        argument: a data set, or a data set, a comma and a name of RECIPES.
        default: the recipe of an argument that names none.

    Raises:
        UserError: the recipe is unknown. The data set is checked by `config`.
    """
    dataset, comma, recipe = argument.partition(",")
    recipe = recipe if comma else default
    if recipe not in RECIPES:
        raise UserError(
            f"Unknown recipe {recipe!r} in {argument!r}; choose from {', '.join(RECIPES)}, "
            f"for example {dataset},modern."
        )
    return dataset, recipe


def source(data: ConfigDict) -> Source:
    """The source of a config's records. Nothing is prepared until records are requested.

    Args:
        data: `config.data`: `name`, which may be the former name in an older run's config,
            `builder_config`, `path`, `dir`, and the data set's own settings.

    Raises:
        UserError: the name or the configuration is unknown, `dir` cannot be created, or the user's
            files are not in `path`.
    """
    name = current_name(data.name)
    make = _find(name).source
    folder = directory(data.dir)
    if callable(make):
        return make(data, folder)
    prepared_elsewhere = getattr(_builder_class(name, make), "prepared_elsewhere", None)
    if prepared_elsewhere and (found := prepared_elsewhere(data.path, folder)):
        return found
    arguments = (name, data.builder_config or None, data.dir or None, data.path or None)
    return tfds_source.TfdsSource(name, builder(*arguments), lambda: prepare(*arguments))


def current_name(name: str) -> str:
    """The name of a data set in this registry, given that name or its former one."""
    current = {each.former_name: known for known, each in DATA_SETS.items() if each.former_name}
    return current.get(name, name)


def directory(data_dir: str | os.PathLike | None) -> Path:
    """The folder of all prepared data sets, created if it is missing.

    Raises:
        UserError: the folder cannot be created.
    """
    path = Path(data_dir or DEFAULT_DIRECTORY).expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def builder(
    name: str,
    config: str | None = None,
    data_dir: str | os.PathLike | None = None,
    path: str | os.PathLike | None = None,
) -> Any:
    """The TFDS builder of a data set, not yet prepared.

    A builder class may have a class method `fingerprint(path, config)`, which names the folder of
    the prepared data, so that other source files make another folder.

    Args:
        name: a data set whose `source` is a TFDS builder.
        config: the name of one of the builder's configurations; None for its first.
        data_dir: the folder of all prepared data sets; None for DEFAULT_DIRECTORY.
        path: the folder of the user's files, if the data set is made of them.

    Raises:
        UserError: the name or the configuration is unknown, one of the user's files is missing, or
            the directory cannot be created.
    """
    data_set = _find(name)
    if callable(data_set.source):
        choices = ", ".join(sorted(n for n, d in DATA_SETS.items() if not callable(d.source)))
        raise UserError(f"Dataset {name!r} has no TFDS builder; choose from {choices}.")
    kind = _builder_class(name, data_set.source)
    configs = [known.name for known in kind.BUILDER_CONFIGS]
    if config is not None and config not in configs:
        choices = ", ".join(configs) or "none: leave config.data.builder_config empty"
        raise UserError(
            f"Unknown configuration {config!r} of dataset {name!r}; choose from {choices}."
        )
    prepared = directory(data_dir)
    if hasattr(kind, "fingerprint"):
        prepared /= kind.fingerprint(path, config)
    made = kind(config=config, data_dir=os.fspath(prepared))
    if data_set.former_name:
        return tfds_source.prepared_as(data_set.former_name, made, prepared) or made
    return made


def prepare(
    name: str,
    config: str | None = None,
    data_dir: str | os.PathLike | None = None,
    path: str | os.PathLike | None = None,
) -> Any:
    """The TFDS builder of a data set, prepared now unless that has already been done.

    One process prepares and the others wait for it. Remains of an interrupted preparation are
    removed first. Arguments and errors as for `builder`; UserError also if the disk is full.
    """
    return tfds_source.prepare(lambda: builder(name, config, data_dir, path), path)


def _find(name: str) -> DataSet:
    if name not in DATA_SETS:
        raise UserError(
            f"Unknown dataset {name!r}; choose from {', '.join(DATA_SETS)}, or add an entry to "
            "DATA_SETS of stackgan_jax.data.registry."
        )
    return DATA_SETS[name]


def _builder_class(name: str, reference: str) -> Any:
    """The class that "module:Class" names, of the data set `name`."""
    with packages.needed("TensorFlow Datasets", by=f"The data set {name}"):
        import tensorflow_datasets  # noqa: F401

        if not importlib.util.find_spec("tensorflow"):  # TFDS imports it only when it reads
            raise ImportError("No module named 'tensorflow'")
    module, class_name = reference.split(":")
    return getattr(importlib.import_module(module), class_name)

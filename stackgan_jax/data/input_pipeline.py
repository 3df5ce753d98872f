"""From `config.data` to an opened split: prepared first where that is needed.

It also keeps in a run's folder which data it is trained on.
"""

import json
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from stackgan_jax.data import augment, preparation, registry
from stackgan_jax.data.shards import index, writing
from stackgan_jax.data.shards.split import ShardedSplit
from stackgan_jax.data.split import Split, open_split
from stackgan_jax.runtime import configuration, files, mesh, paths, run_files
from stackgan_jax.runtime.errors import UserError

DATA = "data.json"  # the file of a run that identifies its training data


def require_known(data: ConfigDict) -> None:
    """Raises UserError if the data of a config are unknown or not there."""
    if not data.get("shards"):
        registry.source(data)


def load(data: ConfigDict, split: str, load_size: int) -> Split | ShardedSplit:
    """Opens a split. It is prepared and decoded first unless that has already been done.

    A split in `data.shards` is only opened there: --mode=prepare prepares it.

    Args:
        data: `config.data`: `name`, `builder_config`, `path`, `crop`, `dir` ("" for the default),
            `max_damaged` (the share of images that may be unusable), `shards` ("" for none).
        split: "train" or "test".
        load_size: side of the stored pictures in pixels.

    Raises:
        UserError: the data do not exist, or too many images are damaged.
    """
    if data.get("shards"):
        return _open_shards(data, split, load_size)
    for name in ("path", "dir"):
        paths.require_local(data.get(name) or "", f"config.data.{name}")
    source = registry.source(data)
    directory = preparation.place(source, split, load_size, data.crop)
    mesh.process_0_first(
        lambda: preparation.prepare(source, split, load_size, data.crop, data.max_damaged),
        f"prepare {directory}",
    )
    return open_split(directory)


def load_for(config: ConfigDict, split: str, size: int) -> Split | ShardedSplit:
    """Opens a split for a stage's config, with pictures for crops of `size` pixels; see `load`."""
    return load(config.data, split, augment.load_size(size, config.margin))


def prepare(data: ConfigDict, split: str, load_size: int) -> Split | ShardedSplit:
    """Prepares a split, in `data.shards` or in the local cache, and opens it; errors as of `load`.

    What is whole already is left as it is.
    """
    if data.get("shards"):
        paths.require_local(data.get("path") or "", "config.data.path")
        writing.prepare(data, split, load_size)
    return load(data, split, load_size)


def _open_shards(data: ConfigDict, split: str, load_size: int) -> ShardedSplit:
    data = registry.completed(data)
    directory = index.place(data, split, load_size)
    if not index.exists(directory):
        raise UserError(
            f"There is no prepared set {directory}; prepare it with the same options and "
            "--mode=prepare, or correct --config.data.shards."
        )
    found = index.read(directory, data.leave_out)
    index.require_whole(found, found.shards[jax.process_index() :: jax.process_count()])
    return ShardedSplit(found, load_size, data.crop, data.shuffle_buffer)


def record_data(split: Split, workdir: Path) -> None:
    """Records in a run which data it is trained on, by their content, not by their location.

    Raises:
        UserError: the run has already begun with other data.
    """
    facts = preparation.facts(split.directory)
    here = {name: facts[name] for name in ("source", "images", "fingerprint")}
    there = _recorded_data(workdir) if configuration.has_begun(workdir) else None
    if there and there["fingerprint"] != here["fingerprint"]:
        raise UserError(
            f"{workdir} was trained on {there['images']:,} images of {there['source']}. The data "
            f"here are {here['images']:,} images of {here['source']} with other contents; give "
            "another --workdir, or restore the earlier pictures and captions."
        )
    if jax.process_index() == 0:
        files.write_text(workdir / DATA, json.dumps(here, indent=2) + "\n")


def warn_of_other_data(split: Split, encoder_run: Path) -> None:
    """Prints a message if a text encoder was trained on other data, which may be intended."""
    there, here = _recorded_data(encoder_run), preparation.facts(split.directory)
    if there and there["fingerprint"] != here["fingerprint"] and jax.process_index() == 0:
        print(
            f"The text encoder of {encoder_run} was trained on other data: "
            f"{there['images']:,} images of {there['source']}. "
            "Choose another with --config.text_encoder if that is not intended.",
            flush=True,
        )


def _recorded_data(workdir: Path) -> dict[str, Any] | None:
    path = workdir / DATA
    return run_files.read(path) if run_files.exists(path) else None

"""Finds a trained model by name: a run, a file, a hub's folder, or a hub."""

import json
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from stackgan_jax import sample, text
from stackgan_jax.data import augment, preparation, registry
from stackgan_jax.data.input_pipeline import DATA
from stackgan_jax.evaluation import records
from stackgan_jax.pretrained import hub, model_file
from stackgan_jax.pretrained.model import Model
from stackgan_jax.runtime import compilation, paths, run_files
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.game import prior_configs

BUILTIN = Path(__file__).parent / "builtin"  # a hub's folder: launch/builtin_model.sh makes it
EXAMPLES = 64  # captions that a model keeps


def load(source: str | os.PathLike[str] | None = None, step: int | None = None) -> Model:
    """Opens a model; see `stackgan_jax.load`."""
    compilation.keep_compiled()
    place, is_file = find(source)
    if not is_file:
        return of_run(place, step)
    if step is not None:
        raise UserError(f"{source} holds one step only; leave step out, or load a run.")
    return model_file.read(place)


def find(source: str | os.PathLike[str] | None) -> tuple[Path, bool]:
    """Returns the place of a model, and whether it is a model's file, not a run's folder.

    Args:
        source: as `stackgan_jax.load` takes it.

    Raises:
        UserError: it names nothing, or can't be downloaded.
    """
    name = os.fspath(BUILTIN if source is None else source)
    if not name.strip():
        raise UserError("There is no model to load; name a run's folder or a .safetensors file.")
    place = hub.download(name) if name.startswith(hub.PREFIX) else paths.folder(name)
    file = place / hub.WEIGHTS if (place / hub.WEIGHTS).is_file() else place
    return file, file.is_file()


def of_run(workdir: Path, step: int | None = None) -> Model:
    """Opens the run of a stage, or a quickstart's last one.

    Raises:
        UserError: as `sample.load`.
    """
    sampler = sample.load(workdir, step)
    directory, config = sampler.directory, sampler.config
    return Model(
        sampler=sampler,
        configs=(*prior_configs(config, directory), config),
        encoder=text.load_encoder(directory) if text.exists(directory) else None,
        captions=_test_captions(config, sampler.game.size),
        facts=_facts(directory, config, sampler.step),
    )


def _test_captions(config: ConfigDict, size: int) -> tuple[str, ...]:
    """Captions of the run's test set, evenly spaced; none if its data are no longer here."""
    try:
        source = registry.source(config.data)
        side = augment.load_size(size, config.margin)
        folder = preparation.place(source, "test", side, config.data.crop)
        listed = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    except (UserError, OSError, ValueError):
        return ()
    each = [captions[0] for captions in listed]
    return tuple(dict.fromkeys(each[:: len(each) // EXAMPLES + 1]))


def _facts(directory: Path, config: ConfigDict, step: int) -> dict[str, Any]:
    """Where a run's model comes from; everything can be written as JSON.

    Scores call the run by its name alone, not by its place on this machine.
    """
    data = directory / DATA
    evaluations = [
        each.as_json() for each in records.read(directory / records.FILE) if each.step == step
    ]
    place = json.dumps(f"{directory.parent}{os.sep}")[1:-1]
    return {
        "recipe": config.get("recipe", "published"),
        "steps": config.steps,
        "batch_size": config.batch_size,
        "data": run_files.read(data) if run_files.exists(data) else {},
        "evaluations": json.loads(json.dumps(evaluations).replace(place, "")),
    }

"""Folders as model hubs expect them: weights, a card, and sample pictures."""

import importlib.metadata
import os
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image

from stackgan_jax.data import images
from stackgan_jax.evaluation import records
from stackgan_jax.pretrained import model_file
from stackgan_jax.pretrained.model import Model
from stackgan_jax.runtime import files, packages
from stackgan_jax.runtime.errors import UserError

PREFIX = "hf://"
WEIGHTS = "model.safetensors"
SHEET = "samples.png"
SHOWN, NOISES = 8, 4  # captions and pictures of each on the sheet
_CARDS = jinja2.Environment(
    loader=jinja2.PackageLoader("stackgan_jax.pretrained"),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def write(model: Model, folder: Path, dtype: str = "float32", license: str = "") -> Path:
    """Writes the folder; see `Model.save_hub`."""
    folder = Path(os.path.abspath(folder))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty; choose a new folder.")
    try:
        with files.replacing_folder(folder) as partial:
            model_file.write(model, partial / WEIGHTS, dtype)
            captions = model.captions[:: len(model.captions) // SHOWN + 1]
            if captions:
                Image.fromarray(_sheet(model, captions)).save(partial / SHEET)
            card = _card(model, folder.name, license, bool(captions))
            (partial / "README.md").write_text(card, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{folder} can't be written ({error.strerror or error}); free space, or choose another."
        ) from error
    return folder


def download(name: str) -> Path:
    """Downloads "hf://owner/name", or takes it from the hub's cache on this machine.

    Returns:
        The folder.

    Raises:
        UserError: the package is missing, or the hub has no such model or can't be reached.
    """
    with packages.needed("huggingface_hub", by=f"Loading {name}", install="huggingface_hub"):
        from huggingface_hub import snapshot_download
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    try:
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=[WEIGHTS])
    except Exception as error:  # The hub's errors and the network's have no common class.
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{name} can't be downloaded ({type(error).__name__}: {reason}); check the name and "
            "the network, or give a folder or file on this machine."
        ) from error
    if not (Path(folder) / WEIGHTS).is_file():
        raise UserError(f"{name} holds no {WEIGHTS}; give a model that stackgan_jax wrote.")
    return Path(folder)


def _sheet(model: Model, captions: tuple[str, ...]) -> np.ndarray:
    """A row of pictures for each caption; nothing is chosen."""
    rows = [[np.asarray(picture) for picture in model(each, NOISES)] for each in captions]
    return images.captioned_grid(rows, captions)


def _card(model: Model, name: str, license: str, sheet: bool) -> str:
    return _CARDS.get_template("card.md").render(
        name=name,
        license=license,
        sheet=SHEET if sheet else "",
        example=model.captions[0] if model.captions else "a small red bird with black wings",
        model=model,
        info=model.info,
        evaluations=[records.Record.from_json(each) for each in model.facts["evaluations"]],
        version=importlib.metadata.version("stackgan_jax"),
    )

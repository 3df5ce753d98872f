"""The run's text encoder: chosen, kept on disk, found again (StackGAN, sec. 3.1)."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from stackgan_jax.runtime import paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders import ENCODERS, Encoder

DIRECTORY = "text_encoder"
_DESCRIPTION = "encoder.json"
_ARRAYS = "arrays.npz"


def kind(name: str, where: str | Path) -> type[Encoder]:
    """The encoder `name` of `ENCODERS`; UserError with the choices, and where it was asked for."""
    if name not in ENCODERS:
        raise UserError(
            f"Unknown text encoder {name!r} in {where}; choose from {', '.join(ENCODERS)}."
        )
    return ENCODERS[name]


def save_encoder(
    encoder: Encoder,
    directory: str | Path,
    beside: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> Path:
    """Writes the encoder so that `directory` is whole or untouched; returns it, absolute.

    encoder.json says which encoder it is, arrays.npz holds its weights and normalisation (plain
    arrays, so that one process of many can read or write them alone). `beside` names further .npz
    files and what they hold: the image tower, say.
    """

    def write(made: Path) -> None:
        description = json.dumps(encoder.description(), indent=2)
        (made / _DESCRIPTION).write_text(description + "\n", encoding="utf-8")
        for name, arrays in {_ARRAYS: encoder.arrays(), **(beside or {})}.items():
            np.savez(made / name, **arrays)

    return _write(paths.absolute(directory), write)


def copy_encoder(source: str | Path, directory: str | Path) -> Path:
    """Copies the encoder in a directory or workdir, with all that lies beside it, to `directory`.

    Raises UserError when it is missing or damaged.
    """
    load_encoder(source)

    def write(made: Path) -> None:
        for file in find(source).iterdir():
            (made / file.name).write_bytes(file.read_bytes())

    return _write(paths.absolute(directory), write)


def _write(directory: Path, write: Callable[[Path], Any]) -> Path:
    """Calls `write` with an empty folder, which then becomes `directory`."""
    if not isinstance(directory, Path):
        return _upload(directory, write)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            write(made)
            made.chmod(0o755)
            _replace(directory, made)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"The text encoder can't be written to {directory}: {error.strerror or error}; "
            "free space or choose another --workdir."
        ) from error
    return directory


def _upload(directory: Any, write: Callable[[Path], Any]) -> Any:
    """`_write` for gs://, which knows no rename: what makes it an encoder comes last."""
    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
        directory.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(made).iterdir(), key=lambda file: file.name == _DESCRIPTION):
            (directory / file.name).write_bytes(file.read_bytes())
    return directory


def _replace(directory: Path, made: Path) -> None:
    """`made` becomes `directory`; what stood there is swept away afterwards."""
    if not directory.exists():
        os.rename(made, directory)
        return
    old = made.with_name(made.name + "-old")
    os.rename(directory, old)
    os.rename(made, directory)
    shutil.rmtree(old)


def exists(path: str | Path) -> bool:
    """Whether `find` would find an encoder there; "" is nowhere."""
    return bool(str(path)) and _directory_of(path) is not None


def find(path: str | Path) -> Path:
    """The encoder's own directory, for it or for a workdir that holds one; else UserError."""
    directory = _directory_of(path)
    if Path(path).is_file():
        raise UserError(
            f"{path} is a file; embeddings become an encoder by --config=configs/text_encoder.py "
            f"--config.encoder=precomputed --config.embeddings={path}."
        )
    if directory is None:
        raise UserError(
            f"There is no text encoder in {path} ({_DESCRIPTION} is looked for there and in its "
            f"{DIRECTORY}/); train one with --config=configs/text_encoder.py, or name another path."
        )
    return directory


def _directory_of(path: str | Path) -> Path | None:
    path = paths.absolute(path)
    # Of an encoder, of the workdir of a stage, and of a quickstart's, whose first stage holds it.
    for directory in (path, path / DIRECTORY, path / DIRECTORY / DIRECTORY):
        if (directory / _DESCRIPTION).is_file():
            return directory
    return None


def load_encoder(path: str | Path) -> Encoder:
    """The encoder in a directory or workdir; raises UserError when it is missing or damaged."""
    directory = find(path)
    try:
        description = json.loads((directory / _DESCRIPTION).read_text(encoding="utf-8"))
        chosen = kind(description["encoder"], directory)
        with (
            (directory / _ARRAYS).open("rb") as file,
            np.load(file, allow_pickle=False) as archive,
        ):
            arrays = {name: archive[name] for name in archive.files}
        return chosen.restored(description, arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise UserError(
            f"The text encoder in {directory} is damaged ({error}); train or import it again."
        ) from error


def embed(workdir_or_path: str | Path, captions: str | Iterable[str]) -> np.ndarray:
    """Captions → [n, t] float32 by the encoder in a directory or workdir."""
    return load_encoder(workdir_or_path).embed(captions)


def require_width(encoder: Encoder, width: int) -> None:
    """Raises UserError unless the encoder's embeddings have the width that a network expects."""
    if encoder.width != width:
        raise UserError(
            f"The text encoder {encoder.name} gives embeddings of {encoder.width} numbers, but the "
            f"network was made for {width}; use the encoder it was trained with."
        )


def require_of_stage1(path: str | Path, stage1: str | Path, width: int) -> None:
    """Raises UserError unless the encoder in `path` is the one that a Stage I was trained with.

    Where `stage1` has no encoder of its own, as after an import, it is known by its width alone.
    """
    encoder = load_encoder(path)
    if not exists(stage1):
        require_width(encoder, width)
    elif (prior := load_encoder(stage1)).fingerprint != encoder.fingerprint:
        raise UserError(
            f"The Stage I in {stage1} was trained with another text encoder ({prior.name}, "
            f"{prior.width} numbers) than the one in {path} ({encoder.name}, {encoder.width} "
            f"numbers), and Stage II needs the same: --config.text_encoder={stage1}."
        )

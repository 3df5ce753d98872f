"""The text encoder of a run: written to disk, found and loaded again (StackGAN, sec. 3.1)."""

import json
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_jax.runtime import files, numpy_files, paths, seals
from stackgan_jax.runtime.errors import UserError, reason
from stackgan_jax.text.encoders import ENCODERS, Encoder

DIRECTORY = "text_encoder"
_DESCRIPTION = "encoder.json"
_ARRAYS = "arrays.npz"


def kind(name: str, where: str | Path) -> type[Encoder]:
    """Returns the class of the encoder `name` in `ENCODERS`.

    Args:
        name: The encoder's name.
        where: Where the name comes from, for the error message.

    Raises:
        UserError: If there is no such encoder.
    """
    if name not in ENCODERS:
        raise UserError(
            f"Unknown text encoder {name!r} in {where}; choose from {', '.join(ENCODERS)}."
        )
    return ENCODERS[name]


def save_encoder(
    encoder: Encoder,
    directory: str | Path,
    extra_files: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> Path:
    """Writes an encoder, whole or not at all.

    encoder.json says which encoder it is; arrays.npz holds its weights and its normalisation. They
    are plain arrays, so that one process of many can read or write them alone.

    Args:
        encoder: The encoder.
        directory: The folder to write. An encoder there is replaced.
        extra_files: Names of further .npz files, such as the image tower's, and their arrays.

    Returns:
        The absolute path of the folder.

    Raises:
        UserError: If the folder can't be written.
    """

    def write(folder: Path) -> None:
        description = json.dumps(encoder.description(), indent=2)
        (folder / _DESCRIPTION).write_text(description + "\n", encoding="utf-8")
        for name, arrays in {_ARRAYS: encoder.arrays(), **(extra_files or {})}.items():
            np.savez(folder / name, **arrays)

    return _write_folder(paths.absolute(directory), write)


def copy_encoder(source: str | Path, directory: str | Path) -> Path:
    """Copies an encoder and all files in its folder, whole or not at all.

    Args:
        source: The encoder's folder, or a workdir that holds one.
        directory: The folder to write.

    Returns:
        The absolute path of the new folder.

    Raises:
        UserError: If the encoder is missing or damaged, or the folder can't be written.
    """
    load_encoder(source)

    def write(folder: Path) -> None:
        for file in find(source).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())

    return _write_folder(paths.absolute(directory), write)


def repair(source: str | Path, directory: Path) -> None:
    """Copies a damaged encoder again, if its source is still what was copied, and says so.

    The damaged one is kept beside it.

    Args:
        source: as in `copy_encoder`.
        directory: the folder of the copy.
    """
    what = seals.damage(directory) if directory.exists() else ""
    if not what or not exists(source) or not seals.same(find(source), directory):
        return
    aside = directory.with_name(f"damaged_{directory.name}-{secrets.token_hex(2)}")
    directory.rename(aside)
    copy_encoder(source, directory)
    print(
        f"{directory} was damaged ({what}). It is now {aside.name}; {source} was copied again.",
        flush=True,
    )


def _write_folder(directory: Path, write: Callable[[Path], None]) -> Path:
    """Calls `write` with an empty folder, which then becomes `directory`."""
    if not isinstance(directory, Path):
        return _upload(directory, write)
    try:
        with files.replacing_folder(directory) as folder:
            write(folder)
            seals.seal(folder)
    except OSError as error:
        raise UserError(
            f"The text encoder can't be written to {directory}: {error.strerror or error}; "
            "free space or choose another --workdir."
        ) from error
    return directory


def _upload(directory: Any, write: Callable[[Path], None]) -> Any:
    """`_write_folder` for gs://, which has no rename: the file that marks an encoder comes last."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        seals.seal(Path(folder))
        directory.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == _DESCRIPTION):
            (directory / file.name).write_bytes(file.read_bytes())
    return directory


def exists(path: str | Path) -> bool:
    """Returns whether `find` finds an encoder in `path`; False for an empty path."""
    return bool(str(path)) and _directory_of(path) is not None


def find(path: str | Path) -> Path:
    """Returns the folder of the encoder in `path`.

    Args:
        path: The encoder's own folder, or a workdir that holds one.

    Raises:
        UserError: If there is no encoder.
    """
    directory = _directory_of(path)
    if Path(path).is_file():
        raise UserError(
            f"{path} is a file, not a text encoder; to make an encoder of embeddings in a file, "
            "train with --config=configs/text_encoder.py --config.encoder=precomputed "
            f"--config.embeddings={path}."
        )
    if directory is None:
        raise UserError(
            f"There is no text encoder in {path} (no {_DESCRIPTION} there or in its {DIRECTORY}/); "
            "train one with --config=configs/text_encoder.py, or name another path."
        )
    return directory


def _directory_of(path: str | Path) -> Path | None:
    path = paths.absolute(path)
    # An encoder's own folder, a stage's workdir, or a quickstart's workdir, whose first stage is
    # the text encoder.
    for directory in (path, path / DIRECTORY, path / DIRECTORY / DIRECTORY):
        if (directory / _DESCRIPTION).is_file():
            return directory
    return None


def load_encoder(path: str | Path) -> Encoder:
    """Loads the encoder in its folder or in a workdir.

    Raises:
        UserError: If it is missing or damaged.
    """
    directory = find(path)
    if what := seals.damage(directory):
        raise _damaged(directory, what)
    try:
        description = json.loads((directory / _DESCRIPTION).read_text(encoding="utf-8"))
        chosen = kind(description["encoder"], directory)
        arrays = numpy_files.read_npz(directory / _ARRAYS, lambda names: names)
        return chosen.restored(description, arrays)
    except UserError:
        raise
    except Exception as error:  # A changed description can make a network raise nearly anything.
        raise _damaged(directory, reason(error)) from error


def _damaged(directory: Any, what: object) -> UserError:
    return UserError(
        f"The text encoder in {directory} is damaged ({what}); restore it from a copy, or train or "
        "import it again."
    )


def embed(workdir_or_path: str | Path, captions: str | Iterable[str]) -> np.ndarray:
    """Embeds captions by the encoder in its folder or in a workdir.

    Args:
        workdir_or_path: The encoder's own folder, or a workdir that holds one.
        captions: One caption, or n of them.

    Returns:
        [n, t] float32.

    Raises:
        UserError: If the encoder is missing or damaged, or a caption is empty or in an alphabet
            that the encoder can't read.
    """
    encoder = load_encoder(workdir_or_path)
    captions = [captions] if isinstance(captions, str) else list(captions)
    embeddings = encoder.embed(captions)
    encoder.require_read(captions)
    return embeddings


def require_width(encoder: Encoder, width: int) -> None:
    """Raises UserError unless the encoder's embeddings have the width that a network expects."""
    if encoder.width != width:
        raise UserError(
            f"The text encoder {encoder.name} gives embeddings of {encoder.width} numbers, but the "
            f"network was made for {width}; use the encoder it was trained with."
        )


def require_of_stage1(path: str | Path, stage1: str | Path, width: int | None = None) -> None:
    """Checks that an encoder is the one that a Stage I was trained with.

    Args:
        path: The encoder's folder, or a workdir that holds one.
        stage1: The workdir of Stage I. An imported one may have no encoder; then only the width is
            compared.
        width: The width of the embeddings that Stage I reads; None if it is not known yet.

    Raises:
        UserError: If it is another encoder.
    """
    encoder = load_encoder(path)
    if not exists(stage1):
        if width is not None:
            require_width(encoder, width)
    elif (prior := load_encoder(stage1)).fingerprint != encoder.fingerprint:
        raise UserError(
            f"The Stage I in {stage1} was trained with another text encoder ({prior.name}, "
            f"{prior.width} numbers) than the one in {path} ({encoder.name}, {encoder.width} "
            f"numbers), and Stage II needs the same: --config.text_encoder={stage1}."
        )

"""The features of real pictures: read once, then kept on disk."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from stackgan_jax.evaluation.readers import Features, Reader, blocks, read_all
from stackgan_jax.runtime import files, mesh, numpy_files

_FORMAT = 1  # of the files; another number when the numbers of a reader change


def real_features(
    reader: Reader, images: np.ndarray, folder: Path, progress: Callable[[int], None]
) -> Features:
    """Reads real pictures like `readers.read_all`, or loads what was read before from `folder`.

    Each of several processes reads its share of the pictures. A file's name depends on the content
    of the pictures, the network, its weights, the resize and the precision. After a change of any
    of them the pictures are read again.

    Args:
        reader: the network.
        images: uint8 `[n, s, s, 3]`.
        folder: where the features are kept. It is created if it is missing.
        progress: called with the number of pictures read so far.
    """
    path = folder / f"features-{_key(reader, images)}.npz"
    kept = _load(path)
    here = np.array([kept is not None])
    if mesh.gather_rows(here, jax.process_count()).all():
        return kept
    rows = mesh.own_rows(len(images))
    own = read_all(reader, images[rows[0] : rows[-1] + 1], progress)
    whole = {
        name: mesh.gather_rows(features[rows - rows[0]], len(images))
        for name, features in own.items()
    }
    # Processes may share the folder or not.
    keep = lambda: None if _load(path) else _save(path, whole)
    mesh.process_0_first(keep, f"keep {path}")
    return whole


def _key(reader: Reader, images: np.ndarray) -> str:
    # The name of the weights' file doesn't matter; the content does.
    stamp = {name: value for name, value in reader.stamp.items() if name != "weights"}
    digest = hashlib.sha256(json.dumps([_FORMAT, images.shape, stamp]).encode())
    for block in blocks(images):
        digest.update(block.tobytes())
    return digest.hexdigest()[:32]


def _load(path: Path) -> Features | None:
    try:
        return numpy_files.read_npz(path, lambda names: names)
    except (OSError, ValueError):  # missing or damaged
        return None


def _save(path: Path, features: Features) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, **features)
    except OSError as error:
        print(f"The features of the real pictures can't be kept: {error}.", flush=True)

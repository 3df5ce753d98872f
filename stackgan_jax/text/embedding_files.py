"""Reads files of embeddings that any program computed: NumPy, HDF5 and StackGAN's pickles."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from stackgan_jax.data.published_sets import stackgan_files
from stackgan_jax.runtime import numpy_files, packages, pickles
from stackgan_jax.runtime.errors import UserError, reason

_KNOWN = {"embeddings", "captions"}
FORMATS = ".npz, .npy, .h5, .hdf5, or StackGAN's .pickle"


def read_embeddings(path: Path) -> tuple[np.ndarray, list[str] | None]:
    """Reads embeddings and, if the file has them, their captions.

    A .npz or HDF5 file names them `embeddings` and `captions`. A file with a single array, or a
    .npy file, holds the embeddings only. An array [images, k, t] counts as k rows for each image.
    StackGAN's pickles hold no captions. Of its folders Data/birds and Data/flowers, the pickle in
    train/ is read first, then the one in test/.

    Args:
        path: The file, or StackGAN's folder.

    Returns:
        The embeddings, [n, t] float32, and n captions, or None if the file has no captions.

    Raises:
        UserError: If the file is missing, unreadable or has other content.
    """
    if path.is_dir() and is_stackgan_pickle(path):
        split_files = [path / split / stackgan_files.EMBEDDINGS for split in ("train", "test")]
        parts = [read_embeddings(file)[0] for file in split_files]
        return np.concatenate(parts), None
    reader = _reader(path)
    try:
        arrays = reader(path)
    except (OSError, ValueError, MemoryError) as error:
        raise UserError(f"The embeddings in {path} can't be read: {reason(error)}.") from error
    if len(arrays) == 1 and "captions" not in arrays:
        arrays = {"embeddings": next(iter(arrays.values()))}
    if "embeddings" not in arrays:
        found = ", ".join(arrays) or "nothing"
        raise UserError(f"{path} holds no array named embeddings, only {found}.")
    embeddings = _checked(path, arrays["embeddings"])
    return embeddings, _as_text(path, arrays.get("captions"), len(embeddings))


def is_stackgan_pickle(path: Path) -> bool:
    """Returns whether `path` is a pickle of StackGAN, or its folder with one for each split."""
    return path.suffix == ".pickle" or (path / "train" / stackgan_files.EMBEDDINGS).is_file()


def _reader(path: Path) -> Callable[[Path], dict[str, np.ndarray]]:
    """Returns the reader for a file's format; raises UserError if the file or format is missing."""
    if not path.is_file():
        raise UserError(
            f"There is no file of embeddings {str(path)!r}; name one with --config.embeddings "
            f"in training and --embeddings in sampling ({FORMATS})."
        )
    if path.suffix.lower() not in _READERS:
        raise UserError(f"{path} has no known format of embeddings; choose {FORMATS}.")
    return _READERS[path.suffix.lower()]


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    return numpy_files.read_npz(path, lambda names: _KNOWN & set(names) or names)


def _read_npy(path: Path) -> dict[str, np.ndarray]:
    return {"embeddings": numpy_files.read_npy(path)}


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    return {"embeddings": np.asarray(pickles.read(path))}


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    with packages.needed("h5py", by=f"Reading {path}", install="h5py"):
        import h5py
    try:
        with h5py.File(path) as file:
            datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
            known = _KNOWN & datasets.keys() or datasets
            for name in known:
                most = numpy_files.MAX_RATIO * path.stat().st_size
                numpy_files.require_size(name, datasets[name].nbytes, most)
            return {name: datasets[name][()] for name in known}
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:  # of a damaged file
        raise ValueError(reason(error)) from error


_READERS = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".pickle": _read_pickle,
}


def _checked(path: Path, embeddings: np.ndarray) -> np.ndarray:
    """Returns [n, t] float32 from [n, t] or [images, k, t]; raises UserError on other arrays."""
    if embeddings.dtype.kind not in "fiu" or embeddings.ndim not in (2, 3) or not embeddings.size:
        raise UserError(
            f"The embeddings in {path} are {embeddings.dtype} of shape {list(embeddings.shape)}; "
            "they must be numbers, with a row for each caption, [captions, width]."
        )
    with np.errstate(over="ignore"):  # An infinity is refused below.
        embeddings = embeddings.reshape(-1, embeddings.shape[-1]).astype(np.float32)
    unfit = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(unfit):
        raise UserError(f"Row {unfit[0]} of the embeddings in {path} holds NaN or infinity.")
    return embeddings


def _as_text(path: Path, captions: np.ndarray | None, rows: int) -> list[str] | None:
    if captions is None:
        return None
    if captions.dtype.kind not in "USO" or captions.size != rows:
        raise UserError(
            f"The captions in {path} are {captions.dtype} of shape {list(captions.shape)}; they "
            f"must be texts, one for each of the {rows:,} embeddings."
        )
    try:
        return [c.decode("utf-8") if isinstance(c, bytes) else str(c) for c in captions.ravel()]
    except UnicodeDecodeError as error:
        raise UserError(f"The captions in {path} are not UTF-8: {error}") from error

"""Embeddings from a file, computed by any program: found by their captions."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile

import numpy as np

from stackgan_jax.data.published_sets import stackgan_files
from stackgan_jax.runtime import pickles
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders.encoder import Encoder

FORMATS = ".npz, .npy, .h5, .hdf5, or .pickle as StackGAN's"


@dataclasses.dataclass(frozen=True)
class PrecomputedEncoder(Encoder):
    """A table of captions and their embeddings; it knows no other caption.

    Attributes:
        captions: n different ones.
        embeddings: [n, t] float32, not normalised.
    """

    name: ClassVar[str] = "precomputed"
    captions: tuple[str, ...]
    embeddings: np.ndarray

    @classmethod
    def fresh(cls, choice, train, test) -> "PrecomputedEncoder":
        own = choice["data"]["path"] if choice["data"]["name"] == "stackgan_pickles" else ""
        path = Path(choice["embeddings"] or own)
        embeddings, captions = read(path)
        wanted = {name: _flat(split.captions) for name, split in _named(train, test)}
        if captions is None:
            captions = _in_order(path, embeddings, wanted, train.directory)
        if _is_stackgans(path):  # which trained on them as they are
            return cls.create(path, captions, embeddings, strict=False)
        encoder = cls.create(path, captions, embeddings)
        encoder._require(path, [*wanted["train"], *wanted["test"]])
        return encoder.normalised_by(wanted["train"])

    @classmethod
    def create(
        cls, path: Path, captions: Sequence[str], embeddings: np.ndarray, strict: bool = True
    ) -> "PrecomputedEncoder":
        """Not normalised. Raises UserError when a caption has two embeddings, unless not `strict`:
        then the first counts (captions that differed in a blank, say)."""
        first: dict[str, int] = {}
        for row, caption in enumerate(captions):
            other = first.setdefault(caption.strip(), row)
            if other == row or not strict:
                continue
            if not np.allclose(embeddings[row], embeddings[other], atol=1e-4):
                raise UserError(
                    f"{path} gives the caption {caption!r} two embeddings, rows {other} and {row}; "
                    "an embedding is found by its caption, so each caption needs one."
                )
        chosen = embeddings[list(first.values())]
        width = chosen.shape[1]
        return cls(width, np.zeros(width, np.float32), 1.0, tuple(first), chosen)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {caption: place for place, caption in enumerate(self.captions)}

    @classmethod
    def of_file(cls, path: str | Path, run: Encoder | None) -> "PrecomputedEncoder":
        """A file's embeddings, normalised as those of `run`; without captions, known by `#row`."""
        embeddings, captions = read(Path(path))
        captions = captions or [f"#{row}" for row in range(len(embeddings))]
        encoder = cls.create(Path(path), captions, embeddings)
        if run is None:
            return encoder
        if run.width != encoder.width:
            raise UserError(
                f"The embeddings in {path} have {encoder.width} numbers and those of the run "
                f"{run.width}; give embeddings of the encoder it was trained with."
            )
        return dataclasses.replace(encoder, shift=run.shift, scale=run.scale)

    def _require(self, path: Path, captions: Sequence[str]) -> None:
        missing = [caption for caption in captions if caption.strip() not in self._places]
        if missing:
            raise UserError(
                f"{path} has no embedding for {len(missing):,} of the data set's "
                f"{len(captions):,} captions, the first is {missing[0]!r}; add them."
            )

    def _raw(self, captions: list[str]) -> np.ndarray:
        return self.embeddings[[self._place(caption.strip()) for caption in captions]]

    def _place(self, caption: str) -> int:
        """Of a known caption, or of the number in `#17`, counted from 0."""
        if caption in self._places:
            return self._places[caption]
        number = caption.removeprefix("#")
        if caption.startswith("#") and number.isdecimal() and int(number) < len(self.captions):
            return int(number)
        raise UserError(
            f"{caption!r} is none of the {len(self.captions):,} captions whose embeddings are "
            f"known; take one of those, for example {self.captions[0]!r}, its number, #0 to "
            f"#{len(self.captions) - 1}, or embeddings of your own with --embeddings."
        )

    def _fields(self) -> dict[str, Any]:
        return {}

    def _arrays(self) -> dict[str, np.ndarray]:
        text = json.dumps(self.captions).encode("utf-8")
        return {"embeddings": self.embeddings, "captions": np.frombuffer(text, np.uint8)}

    @classmethod
    def _from_saved(cls, fields, arrays, *, width, shift, scale) -> "PrecomputedEncoder":
        captions = tuple(json.loads(arrays["captions"].tobytes()))
        embeddings = arrays["embeddings"]
        if embeddings.shape != (len(captions), width):
            raise ValueError("it has not an embedding for each caption")
        return cls(width, shift, scale, captions, embeddings)


def read(path: Path) -> tuple[np.ndarray, list[str] | None]:
    """A file's embeddings, [n, t] float32, and its n captions; None if it has none.

    A .npz or HDF5 file names them `embeddings` and `captions`; its only array, or a .npy file, is
    read as the embeddings. An array [images, k, t] is read as its k rows for each image. StackGAN's
    pickles hold no captions; of its Data/birds or Data/flowers, the pickle in train/ is read, then
    that in test/.

    Raises UserError when there is no such file, or it doesn't hold that.
    """
    if path.is_dir() and _is_stackgans(path):
        parts = [read(path / split / stackgan_files.EMBEDDINGS)[0] for split in ("train", "test")]
        return np.concatenate(parts), None
    if not path.is_file():
        raise UserError(
            f"There is no file of embeddings {str(path)!r}; name one with --config.embeddings "
            f"in training and --embeddings in sampling ({FORMATS})."
        )
    readers = {
        ".npz": _read_npz,
        ".npy": _read_npy,
        ".h5": _read_hdf5,
        ".hdf5": _read_hdf5,
        ".pickle": _read_pickle,
    }
    if path.suffix.lower() not in readers:
        raise UserError(f"{path} is no format that embeddings are read from: choose {FORMATS}.")
    try:
        arrays = readers[path.suffix.lower()](path)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"The embeddings in {path} can't be read: {error}") from error
    if len(arrays) == 1 and "captions" not in arrays:
        arrays = {"embeddings": next(iter(arrays.values()))}
    if "embeddings" not in arrays:
        found = ", ".join(arrays) or "nothing"
        raise UserError(f"{path} holds no array named embeddings, only {found}.")
    embeddings = _checked(path, arrays["embeddings"])
    return embeddings, _as_text(path, arrays.get("captions"), len(embeddings))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        known = {"embeddings", "captions"} & set(archive.files) or archive.files
        return {name: archive[name] for name in known}


def _read_npy(path: Path) -> dict[str, np.ndarray]:
    return {"embeddings": np.load(path, allow_pickle=False)}


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    return {"embeddings": np.asarray(pickles.read(path))}


def _is_stackgans(path: Path) -> bool:
    """Whether it is a pickle of StackGAN's, or its folder with one for each split."""
    return path.suffix == ".pickle" or (path / "train" / stackgan_files.EMBEDDINGS).is_file()


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            f"{path} is read by the library h5py; install it with pip install -e '.[hdf5]'."
        ) from error
    with h5py.File(path) as file:
        datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        known = {"embeddings", "captions"} & datasets.keys() or datasets
        return {name: datasets[name][()] for name in known}


def _checked(path: Path, embeddings: np.ndarray) -> np.ndarray:
    """[n, t] float32 from [n, t] or [images, k, t]; raises UserError on anything else."""
    if embeddings.dtype.kind not in "fiu" or embeddings.ndim not in (2, 3) or not embeddings.size:
        raise UserError(
            f"The embeddings in {path} are {embeddings.dtype} of shape {list(embeddings.shape)}; "
            "they are to be numbers, a row for each caption, [captions, width]."
        )
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
            f"The captions in {path} are {captions.dtype} of shape {list(captions.shape)}, beside "
            f"{rows:,} embeddings; they are to be as many texts."
        )
    try:
        return [c.decode("utf-8") if isinstance(c, bytes) else str(c) for c in captions.ravel()]
    except UnicodeDecodeError as error:
        raise UserError(f"The captions in {path} are not UTF-8: {error}") from error


def _named(train: Any, test: Any) -> tuple[tuple[str, Any], ...]:
    return ("train", train), ("test", test)


def _flat(captions: Sequence[Sequence[str]]) -> list[str]:
    return [caption for several in captions for caption in several]


def _in_order(
    path: Path, embeddings: np.ndarray, wanted: Mapping[str, list[str]], directory: Path
) -> list[str]:
    """The data set's captions, for a file that has none; raises UserError unless they are as many
    as its rows."""
    captions = [*wanted["train"], *wanted["test"]]
    if len(captions) != len(embeddings):
        raise UserError(
            f"{path} has {len(embeddings):,} embeddings and no captions, so they must be as many "
            f"as the data set's captions, {len(wanted['train']):,} of training and then "
            f"{len(wanted['test']):,} of test images, in the order of captions.json in "
            f"{directory} and its neighbour; or store the captions beside them."
        )
    return captions

"""Text encoders: captions → embeddings, and how an encoder is kept on disk (StackGAN, sec. 3.1)."""

import dataclasses
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile

import jax
import numpy as np
from flax import traverse_util

from stackgan_jax.errors import UserError
from stackgan_jax.models.text import CharCnnRnn, indices

DIRECTORY = "text_encoder"
_DESCRIPTION = "encoder.json"
_ARRAYS = "arrays.npz"


@dataclasses.dataclass(frozen=True)
class Encoder:
    """What every entry of `ENCODERS` is: captions in, normalised embeddings out.

    An encoder's own embeddings x leave it as (x - shift) * scale, so that whatever trained it, a
    network that reads them starts from the same range. Published encoders keep shift 0 and scale 1.

    Attributes:
        width: t, how many numbers an embedding has.
        shift: [t] float32.
        scale: one number, so that directions keep their weights.
    """

    name: ClassVar[str]
    width: int
    shift: np.ndarray
    scale: float

    def embed(self, captions: str | Iterable[str], batch_size: int = 256) -> np.ndarray:
        """Captions → [n, width] float32, n at least 1; raises UserError on an empty caption."""
        captions = [captions] if isinstance(captions, str) else list(captions)
        if not captions:
            raise UserError("There is no caption to embed; give at least one.")
        for number, caption in enumerate(captions, start=1):
            if not caption.strip():
                raise UserError(f"Caption {number} of {len(captions)} is empty; write a sentence.")
        batches = [captions[i : i + batch_size] for i in range(0, len(captions), batch_size)]
        raw = np.concatenate([self._raw(batch) for batch in batches])
        return (raw - self.shift) * np.float32(self.scale)

    def normalised_by(self, captions: Sequence[str], batch_size: int = 256) -> "Encoder":
        """This encoder, shifted and scaled so that the embeddings of these captions have mean 0 and
        a root mean square of 1 per number; a few thousand of them, evenly taken, decide."""
        plain = dataclasses.replace(self, shift=np.zeros(self.width, np.float32), scale=1.0)
        embeddings = plain.embed(captions[:: len(captions) // 4096 + 1], batch_size)
        shift = embeddings.mean(axis=0)
        spread = float(np.sqrt(np.mean(np.square(embeddings - shift))))
        return dataclasses.replace(self, shift=shift, scale=1 / max(spread, 1e-6))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when a weight or the normalisation does; names caches."""
        digest = hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode())
        for name, array in sorted(self._all_arrays().items()):
            digest.update(f"{name} {array.shape} {array.dtype} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def _raw(self, captions: list[str]) -> np.ndarray:
        """A batch of captions → [n, width] float32 before normalisation."""
        raise NotImplementedError

    def _fields(self) -> dict[str, Any]:
        """What besides arrays and normalisation makes this encoder, as JSON."""
        raise NotImplementedError

    def _arrays(self) -> dict[str, np.ndarray]:
        """Its weights under flat names."""
        raise NotImplementedError

    @classmethod
    def _from_saved(cls, fields: dict, arrays: dict[str, np.ndarray], **common) -> "Encoder":
        raise NotImplementedError

    def _description(self) -> dict[str, Any]:
        return {"encoder": self.name, "width": self.width, "scale": self.scale} | {
            "fields": self._fields()
        }

    def _all_arrays(self) -> dict[str, np.ndarray]:
        return {"shift": self.shift} | {f"weights/{k}": v for k, v in self._arrays().items()}


@functools.partial(jax.jit, static_argnums=0)
def _apply(module: CharCnnRnn, params: Any, tokens: jax.Array) -> jax.Array:
    return module.apply({"params": params}, tokens)


@dataclasses.dataclass(frozen=True)
class CharCnnRnnEncoder(Encoder):
    """The character-level encoder, trained here (`embedding.py`) or imported (`convert.py`)."""

    name: ClassVar[str] = "char_cnn_rnn"
    module: CharCnnRnn
    params: Any

    @classmethod
    def create(cls, module: CharCnnRnn, params: Any) -> "CharCnnRnnEncoder":
        """Not normalised; `normalised_by` the training captions comes next, except for imports."""
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
        return cls(module.width, np.zeros(module.width, np.float32), 1.0, module, params)

    def _raw(self, captions: list[str]) -> np.ndarray:
        # Few sizes, each compiled once: the powers of two.
        rows = 1 << (len(captions) - 1).bit_length()
        tokens = np.zeros((rows, indices(captions).shape[1]), np.uint8)
        tokens[: len(captions)] = indices(captions)
        return np.asarray(_apply(self.module, self.params, tokens))[: len(captions)]

    def _fields(self) -> dict[str, Any]:
        return {
            "features": list(self.module.features),
            "cell": self.module.cell,
            "final_pooling": self.module.final_pooling,
        }

    def _arrays(self) -> dict[str, np.ndarray]:
        return traverse_util.flatten_dict(self.params, sep="/")

    @classmethod
    def _from_saved(cls, fields, arrays, *, width, shift, scale) -> "CharCnnRnnEncoder":
        fields = fields | {"features": tuple(fields["features"])}
        module = CharCnnRnn(width=width, **fields)
        wanted = jax.eval_shape(module.init, jax.random.key(0), indices([""]))["params"]
        wanted = traverse_util.flatten_dict(wanted, sep="/")
        if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in arrays.items()}:
            raise ValueError("its weights are of another network")
        return cls(width, shift, scale, module, traverse_util.unflatten_dict(arrays, sep="/"))


ENCODERS: dict[str, type[Encoder]] = {CharCnnRnnEncoder.name: CharCnnRnnEncoder}


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
        description = json.dumps(encoder._description(), indent=2)
        (made / _DESCRIPTION).write_text(description + "\n", encoding="utf-8")
        for name, arrays in {_ARRAYS: encoder._all_arrays(), **(beside or {})}.items():
            np.savez(made / name, **arrays)

    return _write(Path(directory).absolute(), write)


def copy_encoder(source: str | Path, directory: str | Path) -> Path:
    """Copies the encoder in a directory or workdir, with all that lies beside it, to `directory`.

    Raises UserError when it is missing or damaged.
    """
    load_encoder(source)
    write = lambda made: shutil.copytree(find(source), made, dirs_exist_ok=True)
    return _write(Path(directory).absolute(), write)


def _write(directory: Path, write: Callable[[Path], Any]) -> Path:
    """Calls `write` with an empty folder, which then becomes `directory`."""
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
    if directory is None:
        raise UserError(
            f"There is no text encoder in {path} ({_DESCRIPTION} is looked for there and in its "
            f"{DIRECTORY}/); train one with --config=configs/text_encoder.py, or name another path."
        )
    return directory


def _directory_of(path: str | Path) -> Path | None:
    path = Path(path).absolute()
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
        kind = ENCODERS.get(description["encoder"])
        if kind is None:
            raise UserError(
                f"Unknown text encoder {description['encoder']!r} in {directory}; "
                f"choose from {', '.join(ENCODERS)}."
            )
        with np.load(directory / _ARRAYS, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        weights = {k.removeprefix("weights/"): v for k, v in arrays.items() if k != "shift"}
        common = {"width": description["width"], "scale": description["scale"]}
        return kind._from_saved(description["fields"], weights, shift=arrays["shift"], **common)
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

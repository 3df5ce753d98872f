"""The published weights of FID's Inception-v3: their names, other networks' weights recognised, and
the state dict put into the Flax network's order."""

import dataclasses
import functools
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from stackgan_jax.models.inception import CLASSES, SIZE, InceptionV3
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.weights import weight_files

SHA256_PREFIX = "6726825d"  # of both files, which are the same bytes under two names
PUBLISHED = {
    f"pt_inception-2015-12-05-{SHA256_PREFIX}.pth": "pytorch-fid (github.com/mseitzer/pytorch-fid)",
    f"weights-inception-2015-12-05-{SHA256_PREFIX}.pth": (
        "torch-fidelity (github.com/toshas/torch-fidelity)"
    ),
}
HOW_TO_GET = (
    "FID needs "
    + " or ".join(f"{name}, published with the releases of {by}" for name, by in PUBLISHED.items())
    + f", SHA-256 {SHA256_PREFIX}…; it isn't shipped nor fetched: download it yourself and give "
    "its path with --config.eval.inception"
)


@dataclasses.dataclass(frozen=True)
class Weights:
    """The network's variables and where they come from.

    Attributes:
      variables: of `InceptionV3`.
      file: the file's name.
      sha256: of its content, 64 hex digits.
    """

    variables: Any
    file: str
    sha256: str

    @property
    def published(self) -> bool:
        """Whether these are the weights by which papers' FIDs are measured."""
        return self.sha256.startswith(SHA256_PREFIX)


def load(path: str | Path) -> Weights:
    """Reads the published state dict.

    Raises UserError when there is no such file, or it holds the weights of another Inception.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}. {HOW_TO_GET}.")
    _refuse_other_formats(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    weight_files.import_torch()
    try:
        variables = from_state_dict(weight_files.read_pytorch(path))
    except UserError as error:  # no state dict, or a download that was cut off
        raise UserError(f"{error} {HOW_TO_GET}.") from error
    except ValueError as error:
        raise UserError(f"{path} {error}. {HOW_TO_GET}.") from error
    return Weights(variables, path.name, sha256)


def from_state_dict(arrays: Mapping[str, np.ndarray]) -> Any:
    """PyTorch's names and orders → the variables of `InceptionV3`.

    Raises ValueError, what follows a file's name, for weights of another network.
    """
    arrays = {k: v for k, v in arrays.items() if not k.endswith("num_batches_tracked")}
    wanted = _shapes()
    found = {key: array.shape for key, array in arrays.items()}
    if found != wanted:
        raise ValueError(_what_else(found, wanted))
    flat = {_place(key): _reordered(array) for key, array in arrays.items()}
    return traverse_util.unflatten_dict(flat)


def random_variables(seed: int = 0) -> Any:
    """Untrained weights, whose features mean little; for measuring speed."""
    image = jnp.zeros((1, SIZE, SIZE, 3))
    return jax.jit(InceptionV3().init)(jax.random.key(seed), image)


_ENDINGS = {
    "conv.weight": ("params", "conv", "kernel"),
    "bn.weight": ("params", "bn", "scale"),
    "bn.bias": ("params", "bn", "bias"),
    "bn.running_mean": ("batch_stats", "bn", "mean"),
    "bn.running_var": ("batch_stats", "bn", "var"),
}


def _place(key: str) -> tuple[str, ...]:
    """PyTorch's key → where Flax keeps it."""
    if key in ("fc.weight", "fc.bias"):
        return ("params", "fc", "kernel") if key == "fc.weight" else ("params", "fc_bias")
    *modules, kind, name = key.split(".")
    collection, *rest = _ENDINGS[f"{kind}.{name}"]
    return (collection, *modules, *rest)


def _reordered(array: np.ndarray) -> np.ndarray:
    """[out, in, h, w] → [h, w, in, out]; [out, in] → [in, out]."""
    array = np.asarray(array, np.float32)
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


@functools.cache
def _shapes() -> dict[str, tuple[int, ...]]:
    """PyTorch's key → shape, of every weight of the network."""
    image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    made = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)
    ending = {place: key for key, place in _ENDINGS.items()}
    shapes = {"fc.weight": (CLASSES, 2048), "fc.bias": (CLASSES,)}
    for path, leaf in traverse_util.flatten_dict(made).items():
        collection, *modules = path
        if modules[0].startswith("fc"):
            continue
        key = ".".join([*modules[:-2], ending[(collection, *modules[-2:])]])
        shape = leaf.shape
        shapes[key] = tuple(shape[i] for i in (3, 2, 0, 1)) if len(shape) == 4 else shape
    return shapes


def _what_else(found: Mapping[str, tuple], wanted: Mapping[str, tuple]) -> str:
    classes = found.get("fc.weight", (0,))[0]
    if any(key.startswith("AuxLogits.") for key in found) or (
        "Mixed_7c.branch_pool.conv.weight" in found and classes == 1000
    ):
        return (
            f"is torchvision's Inception-v3 ({classes} classes), another training of a slightly "
            "other network, whose distances can't be compared with any published FID"
        )
    if "Mixed_7c.branch_pool.conv.weight" in found and classes not in (0, CLASSES):
        return f"is an Inception-v3 fine-tuned to {classes} classes, not FID's of {CLASSES}"
    missing = sorted(wanted.keys() - found.keys())
    if len(missing) == len(wanted):
        example = next(iter(found), "nothing")
        return f"holds the weights of another network ({example}, say), not of FID's Inception-v3"
    other = sorted(key for key in wanted.keys() & found.keys() if wanted[key] != found[key])
    example = (missing + other + sorted(found.keys() - wanted.keys()))[0]
    return (
        f"doesn't fit FID's Inception-v3: {example} has shape {found.get(example, 'none')} there "
        f"and {wanted.get(example, 'none')} in the network"
    )


def _refuse_other_formats(path: Path) -> None:
    """One sentence for the other Inceptions that circulate, which aren't state dicts."""
    with path.open("rb") as file:
        begin = file.read(8)
    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    kind = ""
    if begin == b"\x89HDF\r\n\x1a\n" or "model.weights.h5" in names:
        kind = (
            "is Keras's format: Keras's Inception-v3 is another training of another network, "
            "whose distances can't be compared with any published FID"
        )
    elif any("/code/" in name or name.startswith("code/") for name in names):
        kind = (
            "is a TorchScript program (StyleGAN's inception-2015-12-05.pt is one), which would "
            "have to be run; the state dict holds the same network's weights"
        )
    elif path.suffix in (".pb", ".ckpt", ".pkl"):
        kind = f"is no state dict but a {path.suffix} file of TensorFlow or Python"
    if kind:
        raise UserError(f"{path} {kind}. {HOW_TO_GET}.")

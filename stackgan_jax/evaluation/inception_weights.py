"""The published weights of FID's Inception-v3, read from a PyTorch state dict.

The weights of other networks are recognised and named.
"""

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

SHA256_PREFIX = "6726825d"  # of both files: the same bytes under two names
PUBLISHED = {
    f"pt_inception-2015-12-05-{SHA256_PREFIX}.pth": "pytorch-fid (github.com/mseitzer/pytorch-fid)",
    f"weights-inception-2015-12-05-{SHA256_PREFIX}.pth": (
        "torch-fidelity (github.com/toshas/torch-fidelity)"
    ),
}
HOW_TO_GET = (
    "FID needs "
    + " or ".join(f"{name}, published with the releases of {by}" for name, by in PUBLISHED.items())
    + f", SHA-256 {SHA256_PREFIX}…; it is not included here: download it yourself and give its "
    "path with --config.eval.inception"
)


@dataclasses.dataclass(frozen=True)
class Weights:
    """The network's variables and the file they come from.

    Attributes:
        variables: of `InceptionV3`.
        file: the file's name.
        sha256: of the file's content, 64 hex digits.
    """

    variables: Any
    file: str
    sha256: str

    @property
    def published(self) -> bool:
        """Whether these are the weights that papers measure FID with."""
        return self.sha256.startswith(SHA256_PREFIX)


def load(path: str | Path) -> Weights:
    """Reads the published state dict.

    Raises:
        UserError: for a missing file, or the weights of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}. {HOW_TO_GET}.")
    _reject_other_formats(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        variables = from_state_dict(weight_files.read_pytorch(path))
    except UserError as error:  # not a state dict, or an incomplete download
        raise UserError(f"{error} {HOW_TO_GET}.") from error
    except ValueError as error:
        raise UserError(f"{path} {error}. {HOW_TO_GET}.") from error
    return Weights(variables, path.name, sha256)


def from_state_dict(arrays: Mapping[str, np.ndarray]) -> Any:
    """Converts a PyTorch state dict to the variables of `InceptionV3`.

    Args:
        arrays: PyTorch's key → array.

    Raises:
        ValueError: for the weights of another network. The message continues the file's name.
    """
    arrays = {k: v for k, v in arrays.items() if not k.endswith("num_batches_tracked")}
    expected = _shapes()
    found = {key: array.shape for key, array in arrays.items()}
    if found != expected:
        raise ValueError(_difference(found, expected))
    flat = {_place(key): _reordered(array) for key, array in arrays.items()}
    return traverse_util.unflatten_dict(flat)


def random_variables(seed: int = 0) -> Any:
    """Returns untrained weights for measurements of speed; their features mean little."""
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
    """PyTorch's key → the path in the Flax variables."""
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
    """PyTorch's key → shape, for every weight of the network."""
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


def _difference(found: Mapping[str, tuple], expected: Mapping[str, tuple]) -> str:
    """How the weights in a file differ from FID's; the sentence continues the file's name."""
    classes = found.get("fc.weight", (0,))[0]
    if any(key.startswith("AuxLogits.") for key in found) or (
        "Mixed_7c.branch_pool.conv.weight" in found and classes == 1000
    ):
        return (
            f"is torchvision's Inception-v3 ({classes} classes), a slightly different network with "
            "other training; its distances can't be compared with any published FID"
        )
    if "Mixed_7c.branch_pool.conv.weight" in found and classes not in (0, CLASSES):
        return f"is an Inception-v3 fine-tuned to {classes} classes, not FID's of {CLASSES}"
    missing = sorted(expected.keys() - found.keys())
    if len(missing) == len(expected):
        example = next(iter(found), "nothing")
        return f"holds the weights of another network (with {example}), not of FID's Inception-v3"
    other = sorted(key for key in expected.keys() & found.keys() if expected[key] != found[key])
    example = (missing + other + sorted(found.keys() - expected.keys()))[0]
    return (
        f"doesn't fit FID's Inception-v3: {example} has shape {found.get(example, 'none')} in the "
        f"file and {expected.get(example, 'none')} in the network"
    )


def _reject_other_formats(path: Path) -> None:
    """Raises UserError for the other Inception files that circulate and aren't state dicts."""
    with path.open("rb") as file:
        begin = file.read(8)
    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    kind = ""
    if begin == b"\x89HDF\r\n\x1a\n" or "model.weights.h5" in names:
        kind = (
            "is Keras's format: Keras's Inception-v3 is another network with other training; its "
            "distances can't be compared with any published FID"
        )
    elif any("/code/" in name or name.startswith("code/") for name in names):
        kind = (
            "is a TorchScript program (StyleGAN's inception-2015-12-05.pt is one), which this "
            "program doesn't run; the state dict holds the weights of the same network"
        )
    elif path.suffix in (".pb", ".ckpt", ".pkl"):
        kind = f"is a {path.suffix} file of TensorFlow or Python, not a state dict"
    if kind:
        raise UserError(f"{path} {kind}. {HOW_TO_GET}.")

"""Features of a split's pictures by a frozen image network: computed once, or read from a file.

Reed et al. (CVPR 2016, sec. 5) trained their text encoder against such features, of GoogLeNet.
"""

import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from stackgan_jax.data import preparation
from stackgan_jax.data.split import Split, computed_once
from stackgan_jax.models import efficientnet
from stackgan_jax.runtime import numpy_files
from stackgan_jax.runtime.errors import UserError, reason

NETWORKS = tuple(f"efficientnet_{name}" for name in efficientnet.NETWORKS)
FILE = "file"  # the network of features that a user computed
VIEWS = 2  # of a picture: as it is, and mirrored
_FORMAT = 1  # of the views; features of another format are computed again
_AT_ONCE = 256


def compute(images: np.ndarray, network: str, size: int, views: int = VIEWS) -> np.ndarray:
    """Computes features of whole pictures.

    Args:
        images: [n, l, l, 3] uint8 of any size.
        network: a name of NETWORKS.
        size: to which the pictures are scaled, in pixels.
        views: 1 for the pictures alone, 2 for the mirrored ones as well.

    Returns:
        [n, views, 1280] float16. The features are about 0 to 6, so that is precise to a thousandth.

    Raises:
        UserError: the network's package is not installed, or `size` is too small for it.
    """
    name = network.removeprefix("efficientnet_")
    found = []
    for start in range(0, len(images), _AT_ONCE):
        pictures = _scaled(np.asarray(images[start : start + _AT_ONCE]), size)
        each = [pictures, np.ascontiguousarray(pictures[:, :, ::-1])][:views]
        pooled = [efficientnet.features(view, name, ("pooled",))["pooled"] for view in each]
        found.append(np.stack(pooled, axis=1).astype(np.float16))
    return np.concatenate(found)


def _scaled(images: np.ndarray, size: int) -> np.ndarray:
    if images.shape[1] == size:
        return images
    shape = (len(images), size, size, 3)
    scaled = jax.image.resize(images.astype(np.float32), shape, "bilinear", antialias=True)
    return np.asarray(jnp.clip(jnp.round(scaled), 0, 255).astype(jnp.uint8))


def of_split(split: Split, network: str, size: int) -> np.ndarray:
    """The features of every picture of a split, computed once and stored in its folder.

    Arguments and errors as of `compute`.

    Returns:
        [n, VIEWS, 1280] float16, memory-mapped.
    """
    known = [preparation.facts(split.directory)["fingerprint"], network, size, VIEWS, _FORMAT]
    key = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]

    def write(path: Path) -> None:
        print(f"Computing {network}'s features of {len(split):,} pictures …", flush=True)
        with path.open("wb") as file:  # np.save would add a suffix to a path
            np.save(file, compute(split.images, network, size))

    return computed_once(split.directory / f"features-{network}-{key}.npy", write)


def of_file(path: str | Path, split: Split) -> np.ndarray:
    """Reads the features of a split from a user's file.

    Args:
        path: an .npz file with `names` [m], the pictures' names as in the split's names.json, and
            `features` [m, d] or [m, views, d], in any order and for any further pictures.
        split: its pictures must all be in the file.

    Returns:
        [n, views, d] float16.

    Raises:
        UserError: the file is missing, damaged or of another shape, or lacks a picture.
    """
    try:
        arrays = numpy_files.read_npz(Path(path), lambda _: ("names", "features"))
        names, features = arrays["names"], arrays["features"]
    except (OSError, ValueError) as error:
        raise UserError(
            f"config.image.features_file {str(path)!r} can't be read ({reason(error)}); give an "
            ".npz file with the arrays names and features."
        ) from error
    features = features[:, None] if features.ndim == 2 else features
    if features.ndim != 3 or len(names) != len(features) or features.dtype.kind != "f":
        raise UserError(
            f"{path} has {len(names)} names and features of shape {list(features.shape)} "
            f"{features.dtype}; they must be floats [{len(names)}, d], or [{len(names)}, views, d]."
        )
    places = {str(name): place for place, name in enumerate(names)}
    wanted = json.loads((split.directory / "names.json").read_text(encoding="utf-8"))
    missing = [name for name in wanted if name not in places]
    if missing:
        raise UserError(
            f"{path} lacks {len(missing):,} of the data set's {len(wanted):,} pictures, the first "
            f"is {missing[0]!r}; add their features."
        )
    return features[[places[name] for name in wanted]].astype(np.float16)

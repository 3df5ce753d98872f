"""Reads the published programs' weight files as arrays by name. Code in a file is never run."""

import collections
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stackgan_jax.runtime import packages, pytorch_files
from stackgan_jax.runtime.errors import UserError, reason
from stackgan_jax.weights import lua_encoder, torch7

Arrays = dict[str, np.ndarray]

# The first bytes of the files: Python's pickle (PyTorch's old format), zip (its new format), and
# the number of a table or an object (Lua Torch).
_PYTORCH_BYTES = (b"\x80", b"PK\x03\x04")
_LUA_TORCH_BYTES = (b"\x03\x00\x00\x00", b"\x04\x00\x00\x00")
# The checkpoint `model.ckpt` consists of `model.ckpt.index` and similar files.
_PART_OF_A_CHECKPOINT = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def read_pytorch(path: str | Path) -> Arrays:
    """Reads a state dict in either of PyTorch's formats.

    Returns:
        Key → array. Floating-point arrays become float32.

    Raises:
        UserError: If the file is missing or damaged, holds anything but tensors by name, or asks to
            run code (which is not run).
    """
    _first_bytes(path, _PYTORCH_BYTES, "a PyTorch checkpoint")
    return _finite(path, pytorch_files.read(path))


def write_pytorch(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict in PyTorch's old format, which even its first versions read."""
    with packages.needed("PyTorch", by="Writing PyTorch's .pth files", install="torch"):
        import torch
    tensors = {key: torch.from_numpy(np.array(array)) for key, array in arrays.items()}
    torch.save(collections.OrderedDict(tensors), path, _use_new_zipfile_serialization=False)


def read_tensorflow(path: str | Path) -> Arrays:
    """Reads a TensorFlow checkpoint of format V1 or V2.

    Args:
        path: The file (V1), or any of the files or their common prefix (V2).

    Returns:
        Variable → array.

    Raises:
        UserError: If there is no such checkpoint, or it is damaged.
    """
    prefix = _PART_OF_A_CHECKPOINT.sub("", str(path))
    if not Path(prefix).is_file() and not Path(f"{prefix}.index").is_file():
        raise UserError(f"There is no TensorFlow checkpoint {path}.")
    with packages.needed("TensorFlow", by=f"Reading the checkpoint {path}"):
        import tensorflow as tf
    try:
        reader = tf.train.load_checkpoint(prefix)
        names = reader.get_variable_to_shape_map()
        arrays = {name: np.asarray(reader.get_tensor(name)) for name in names}
    # On a damaged file, the reader raises errors of its own and others.
    except Exception as error:
        raise UserError(
            f"{path} is no TensorFlow checkpoint, or a damaged one ({reason(error)})."
        ) from error
    return _finite(path, arrays)


def read_encoder(path: str | Path) -> tuple[Arrays, bool | None]:
    """Reads a char-CNN-RNN from a file of PyTorch or Lua Torch; the content decides which.

    Returns:
        The state dict under PyTorch's names, and whether the third convolution is pooled, which is
        None if the file doesn't say.

    Raises:
        UserError: If the file is missing or damaged, or holds another model.
    """
    begin = _first_bytes(path, _PYTORCH_BYTES + _LUA_TORCH_BYTES, "a PyTorch or Lua Torch file")
    if begin not in _LUA_TORCH_BYTES:
        return read_pytorch(path), None
    try:
        weights, final_pooling = lua_encoder.state_dict(torch7.load(path))
    except ValueError as error:
        raise UserError(
            f"{path} is no char-CNN-RNN encoder of Lua Torch: {reason(error)}."
        ) from error
    # The graph of another model lacks the expected parts.
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path} is no char-CNN-RNN encoder of Lua Torch: its graph has other parts."
        ) from error
    weights = {key: value.astype(np.float32) for key, value in weights.items()}
    return _finite(path, weights), final_pooling


def _finite(path: str | Path, arrays: Arrays) -> Arrays:
    """Returns the arrays; raises UserError if one of them holds NaN or infinity."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError(
                f"{path} holds numbers that are not finite, in {name}: its training failed; give "
                "weights from before that."
            )
    return arrays


def _first_bytes(path: str | Path, known: tuple[bytes, ...], what: str) -> bytes:
    """Returns the element of `known` that a file begins with; raises UserError if none does."""
    try:
        with open(path, "rb") as file:
            first = file.read(4)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from error
    for begin in known:
        if first.startswith(begin):
            return begin
    raise UserError(f"{path} is not {what}: its first bytes are different.")

"""The published programs' weight files → arrays by name, without running what a file holds."""

import collections
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stackgan_jax.runtime.errors import UserError
from stackgan_jax.weights import lua_encoder, torch7

Arrays = dict[str, np.ndarray]

# How files begin: Python's pickle (PyTorch's old format), zip (its new one), and the number of a
# table or an object (Lua Torch).
_PYTORCH_BEGINS = (b"\x80", b"PK\x03\x04")
_LUA_TORCH_BEGINS = (b"\x03\x00\x00\x00", b"\x04\x00\x00\x00")
# `model.ckpt.index`, say, of the checkpoint `model.ckpt`.
_PART_OF_A_CHECKPOINT = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def read_pytorch(path: str | Path) -> Arrays:
    """A state dict in either of PyTorch's formats → {key: array}, floats as float32.

    Raises UserError when the file is missing, damaged, holds anything but tensors by name, or asks
    for code to be run (it isn't).
    """
    _begin(path, _PYTORCH_BEGINS, "a PyTorch checkpoint")
    torch = import_torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can make the unpickler raise anything.
    except Exception as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = "is damaged"
        if asked:
            reason = f"asks for {asked[1]}, which no weights need; nothing of it was run"
        raise UserError(f"{path} is no PyTorch checkpoint, or {reason}.") from error
    if not isinstance(loaded, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) and value.layout is torch.strided
        for key, value in loaded.items()
    ):
        raise UserError(f"{path} holds something else than weights by name (a state dict).")
    return {
        key: (value.float() if value.is_floating_point() else value).detach().numpy()
        for key, value in loaded.items()
    }


def write_pytorch(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays → a state dict in PyTorch's old format, which its first versions read as well."""
    torch = import_torch()
    tensors = {key: torch.from_numpy(np.array(array)) for key, array in arrays.items()}
    torch.save(collections.OrderedDict(tensors), path, _use_new_zipfile_serialization=False)


def import_torch():
    """The module torch, or UserError with the command that installs it."""
    try:
        import torch
    except ImportError as error:
        raise UserError(
            "PyTorch's .pth files need PyTorch; install it with `pip install torch`."
        ) from error
    return torch


def read_tensorflow(path: str | Path) -> Arrays:
    """A TensorFlow checkpoint of format V1 or V2 → {variable: array}.

    path: the file itself (V1), or what the names of its files begin with or any of them (V2).
    Raises UserError when there is no such checkpoint or it is damaged.
    """
    prefix = _PART_OF_A_CHECKPOINT.sub("", str(path))
    if not Path(prefix).is_file() and not Path(f"{prefix}.index").is_file():
        raise UserError(f"There is no TensorFlow checkpoint {path}.")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise UserError(
            "TensorFlow's checkpoints need TensorFlow; install it with `pip install tensorflow`."
        ) from error
    try:
        reader = tf.train.load_checkpoint(prefix)
        names = reader.get_variable_to_shape_map()
        return {name: np.asarray(reader.get_tensor(name)) for name in names}
    # Its reader raises its own errors, and others, on a damaged file.
    except Exception as error:
        reason = " ".join(str(error).split())[:150]
        raise UserError(
            f"{path} is no TensorFlow checkpoint, or a damaged one ({reason})."
        ) from error


def read_encoder(path: str | Path) -> tuple[Arrays, bool | None]:
    """A char-CNN-RNN, PyTorch's or Lua Torch's file by its content → its PyTorch state dict.

    The second value says whether the third convolution is pooled, None where the file doesn't.
    """
    begin = _begin(path, _PYTORCH_BEGINS + _LUA_TORCH_BEGINS, "a PyTorch or Lua Torch file")
    if begin not in _LUA_TORCH_BEGINS:
        return read_pytorch(path), None
    try:
        weights, final_pooling = lua_encoder.state_dict(torch7.load(path))
    except ValueError as error:
        raise UserError(f"{path} is no char-CNN-RNN encoder of Lua Torch: {error}.") from error
    # Another model's graph lacks what is looked for in it.
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path} is no char-CNN-RNN encoder of Lua Torch: its graph has other parts."
        ) from error
    return {key: value.astype(np.float32) for key, value in weights.items()}, final_pooling


def _begin(path: str | Path, known: tuple[bytes, ...], what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            first = file.read(4)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from error
    for begin in known:
        if first.startswith(begin):
            return begin
    raise UserError(f"{path} is not {what}, by how it begins.")

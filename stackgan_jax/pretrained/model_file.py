"""A model as one safetensors file: arrays and JSON, no code and no pickle.

The arrays are named `stage1/params/…`, `stage2/…` and `text_encoder/…`. The header holds the
configs of the stages, the encoder's description, captions, facts, and a SHA-256 digest of it all.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from flax.errors import FlaxError
from ml_collections import ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from stackgan_jax import text
from stackgan_jax.pretrained.model import Model
from stackgan_jax.runtime import config_ranges, configuration, files
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.sample import Sampler
from stackgan_jax.training import game, gan

FORMAT = "stackgan_jax"
VERSION = 1
DTYPES = {"float32": np.float32, "bfloat16": jnp.bfloat16}


def write(model: Model, path: Path, dtype: str = "float32") -> Path:
    """Writes a model; see `Model.save`."""
    if dtype not in DTYPES:
        raise UserError(f"Unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}.")
    arrays = {name: array.astype(DTYPES[dtype]) for name, array in _weights(model).items()}
    encoder = {}
    if model.encoder is not None:
        encoder = model.encoder.description()
        arrays |= {
            f"text_encoder/{n}": _stored(n, np.asarray(a), DTYPES[dtype])
            for n, a in model.encoder.arrays().items()
        }
    content = {
        "configs": [_without_folders(config) for config in model.configs],
        "step": model.sampler.step,
        "text_encoder": encoder,
        "captions": model.captions,
        "facts": dict(model.facts),
    }
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "content": json.dumps(content, ensure_ascii=False),
    }
    # NumPy makes a single number an array of one; the reshape makes it a number again.
    arrays = {n: np.ascontiguousarray(array).reshape(array.shape) for n, array in arrays.items()}
    header["sha256"] = _digest(header, arrays)
    try:
        with files.replacing(path) as partial:
            partial.write_bytes(save(arrays, header))  # `save_file` leaves files private.
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} can't be written ({error}); free space, or choose another path."
        ) from error
    return path


def read(path: Path) -> Model:
    """Reads a model that `write` wrote.

    Raises:
        UserError: the file is no such model, is damaged, or comes from a newer version.
    """
    header, arrays = _read_checked(path)
    try:
        content = json.loads(header["content"])
        configs = tuple(configuration.of_run(each, path) for each in content["configs"])
        for config in configs:
            config_ranges.require(config, str(path))
        encoder = _encoder(content["text_encoder"], arrays)
        return Model(
            sampler=_sampler(path, configs, content["step"], arrays),
            configs=configs,
            encoder=encoder,
            captions=tuple(content["captions"]),
            facts=content["facts"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, FlaxError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _stored(name: str, array: np.ndarray, dtype: Any) -> np.ndarray:
    """An array of the encoder: its weights in the file's type, the rest as it is."""
    return array.astype(dtype) if name.startswith("weights/") and _is_float(array) else array


def _is_float(array: np.ndarray) -> bool:
    return array.dtype in (np.float32, jnp.bfloat16)


def _weights(model: Model) -> dict[str, np.ndarray]:
    state = model.sampler.state
    networks = {f"stage{i}": each for i, each in enumerate((*state.priors, state.ema), 1)}
    return jax.device_get(traverse_util.flatten_dict(networks, sep="/"))


def _without_folders(config: ConfigDict) -> dict[str, Any]:
    """A config as JSON, without the folders of the machine that trained."""
    content = json.loads(config.to_json_best_effort())
    folders = {"text_encoder", configuration.previous_stage(config)}
    content |= {name: "" for name in folders & content.keys()}
    content["data"] |= {name: "" for name in ("path", "dir") if name in content["data"]}
    return content


def _digest(header: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in ("format", "version", "content"):
        digest.update(header[name].encode() + b"\0")
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.shape} {array.dtype} ".encode())
        digest.update(array.view(np.uint8) if array.ndim else array.tobytes())
    return digest.hexdigest()


def _read_checked(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The header and the arrays of a whole, undamaged file of a version that can be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise UserError(
                    f"{path} is a safetensors file of another program; give one that "
                    "stackgan_jax wrote, or import weights with `python -m stackgan_jax.convert`."
                )
            if not header.get("version", "").isdecimal() or int(header["version"]) > VERSION:
                raise UserError(
                    f"{path} has format {header.get('version')!r}, and this version reads up to "
                    f"{VERSION}; install a newer stackgan_jax."
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no model: {error}. Give a run's folder, or a whole .safetensors file that "
            "stackgan_jax wrote."
        ) from error
    if "content" not in header or header.get("sha256") != _digest(header, arrays):
        raise _damaged(path, "its digest does not match")
    return header, arrays


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is damaged or was changed ({what}); copy or download it again.")


def _sampler(
    path: Path, configs: tuple[ConfigDict, ...], step: int, arrays: Mapping[str, np.ndarray]
) -> Sampler:
    weights = {n: a.astype(np.float32) for n, a in arrays.items() if n.startswith("stage")}
    networks = traverse_util.unflatten_dict(weights, sep="/")
    stages = [networks[f"stage{i}"] for i in range(1, len(configs) + 1)]
    *priors, own = ({"batch_stats": {}} | stage for stage in stages)
    built = game.build(configs[-1], configs[:-1])
    state = gan.GanState.to_draw(own, tuple(priors))
    sampler = Sampler(configs[-1], built, state, step, path)
    sampler.require_fit()
    return sampler


def _encoder(description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    if not description:
        return None
    own = {
        name.removeprefix("text_encoder/"): array.astype(np.float32) if _is_float(array) else array
        for name, array in arrays.items()
        if name.startswith("text_encoder/")
    }
    return text.kind(description["encoder"], "this model").restored(description, own)

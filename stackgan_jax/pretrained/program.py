"""A model as one StableHLO program, which draws wherever JAX runs, without this project.

The program goes the whole way: what a sentence is read as, and noise, to the pictures of every
stage. It holds the weights, takes any number of sentences, and is compiled by whoever loads it for
a CPU, a GPU or a TPU (https://openxla.org/stablehlo, `jax.export`).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from stackgan_jax.models.char_cnn_rnn import LENGTH, indices
from stackgan_jax.pretrained.model import Model
from stackgan_jax.runtime import files
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders.trained import WORDS, BagOfWordsEncoder, CharCnnRnnEncoder
from stackgan_jax.training.gan import Noise

PLATFORMS = ("cpu", "cuda", "tpu")
SUFFIX = ".stablehlo"
FORMAT = "stackgan_jax program"
VERSION = 1
LARGEST = 2**31 - 2**24  # bytes of weights: ONNX and StableHLO files end at 2 GiB


def write(model: Model, path: Path) -> Path:
    """Writes the program, and beside it a JSON file that says how to call it.

    Args:
        model: to write.
        path: of the program; the JSON file has the same name and ends in .json.

    Returns:
        The path.

    Raises:
        UserError: the weights are too large, or a file can't be written.
    """
    require_small_enough(model)
    exporter = export.export(jax.jit(drawing(model)), platforms=PLATFORMS)
    return write_described(model, path, exporter(*inputs(model).values()).serialize())


def write_described(model: Model, path: Path, program: bytes) -> Path:
    """Writes a program of any format, and beside it the JSON file, as `write`."""
    _, *noise = inputs(model).values()
    cascade = model.sampler.game.cascade
    about = {
        "format": FORMAT,
        "version": VERSION,
        "reader": _reader(model),
        "noise": [array.shape[1] for array in noise],
        "truncated_epsilon": cascade.truncated_epsilon,
        "epsilon_scale": cascade.epsilon_scale,
        "sizes": model.sizes,
        "name": model.configs[-1].name,
        "step": model.sampler.step,
        "captions": model.captions,
    }
    described = json.dumps(about, ensure_ascii=False, indent=1)
    try:
        files.write_text(path.with_suffix(".json"), described + "\n")
        with files.replacing(path) as partial:
            partial.write_bytes(program)
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({error.strerror or error}); free space, or choose another "
            "path."
        ) from error
    return path


def require_small_enough(model: Model) -> None:
    """Raises UserError if the weights do not fit a file of ONNX or StableHLO."""
    parameters = model.encoder.params if _reads_tokens(model) else ()
    weights = jax.tree.leaves((model.sampler.state, parameters))
    if (size := sum(array.nbytes for array in weights)) > LARGEST:
        raise UserError(
            f"The weights take {size / 2**30:.1f} GiB, and a program's file holds at most "
            f"{LARGEST / 2**30:.1f}; choose --format=safetensors."
        )


def inputs(model: Model) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of text, z and every stage's ε, by name; their first size is symbolic."""
    if _reads_tokens(model):
        text = model.encoder.tokens(["a"])
    else:
        text = jax.ShapeDtypeStruct((1, model.sampler.width), jnp.float32)
    noise = jax.eval_shape(lambda: model.sampler.noise(1, 0))
    epsilons = {f"epsilon{i}": epsilon for i, epsilon in enumerate(noise.epsilons, start=1)}
    (many,) = export.symbolic_shape("pictures")
    return {
        name: jax.ShapeDtypeStruct((many, *array.shape[1:]), array.dtype)
        for name, array in {"text": text, "z": noise.z, **epsilons}.items()
    }


def drawing(model: Model) -> Callable[..., tuple[jax.Array, ...]]:
    """(text, z, ε of each stage) → every stage's pictures, `[n, s, s, 3]` uint8."""
    encoder, sampler = model.encoder, model.sampler

    def draw(text: jax.Array, z: jax.Array, *epsilons: jax.Array) -> tuple[jax.Array, ...]:
        if _reads_tokens(model):
            raw = encoder.tower.apply({"params": encoder.params}, text)
            text = (raw - encoder.shift) * jnp.float32(encoder.scale)
        drawn = sampler.game.generate(sampler.state, text, Noise(z, epsilons))
        bytes_of = lambda image: jnp.round((jnp.clip(image, -1, 1) + 1) * 127.5).astype(jnp.uint8)
        return tuple(map(bytes_of, drawn.values()))

    return draw


def _reads_tokens(model: Model) -> bool:
    """Whether the text encoder is part of the program; else it takes embeddings."""
    return isinstance(model.encoder, CharCnnRnnEncoder | BagOfWordsEncoder)


def _reader(model: Model) -> dict[str, Any]:
    """How a sentence becomes the program's first input.

    "characters": each of the first `length` letters, in lower case, is `table[code]` where its
    code is less than 128, else `table[0]`; zeros follow. "words": the numbers, from 1, in
    `vocabulary` of the different words, in order; zeros follow. "embedding": `width` numbers of
    another encoder.
    """
    if isinstance(model.encoder, CharCnnRnnEncoder):
        table = indices(map(chr, range(128)))[:, 0]
        return {"kind": "characters", "length": LENGTH, "table": np.asarray(table).tolist()}
    if isinstance(model.encoder, BagOfWordsEncoder):
        known = list(model.encoder.vocabulary)
        return {"kind": "words", "length": WORDS, "vocabulary": known}
    return {"kind": "embedding", "width": model.sampler.width}

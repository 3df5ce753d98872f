"""The encoders that the joint embedding trains: over characters, and over words as a baseline
(Reed et al., CVPR 2016, sec. 4)."""

import collections
import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from stackgan_jax.models.char_cnn_rnn import BagOfWords, CharCnnRnn, indices
from stackgan_jax.text.encoders.encoder import Encoder

WORDS = 64  # different ones of a caption that are read
_WORD = re.compile(r"[^\W_]+")


@dataclasses.dataclass(frozen=True)
class TrainedEncoder(Encoder):
    """A network of this project, with its parameters; None before it is trained."""

    trainable: ClassVar[bool] = True
    module: nn.Module
    params: Any

    @property
    def tower(self) -> nn.Module:
        return self.module

    def trained(self, params: Any) -> "TrainedEncoder":
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
        plain = np.zeros(self.width, np.float32)
        return dataclasses.replace(self, params=params, shift=plain, scale=1.0)

    def _raw(self, captions: list[str]) -> np.ndarray:
        tokens = self.tokens(captions)
        # Few sizes, each compiled once: the powers of two.
        padded = np.zeros((1 << (len(tokens) - 1).bit_length(), *tokens.shape[1:]), tokens.dtype)
        padded[: len(tokens)] = tokens
        return np.asarray(_apply(self.module, self.params, padded))[: len(tokens)]

    def _arrays(self) -> dict[str, np.ndarray]:
        return traverse_util.flatten_dict(self.params, sep="/")

    def _with_arrays(self, arrays: Mapping[str, np.ndarray]) -> "TrainedEncoder":
        """This encoder with saved weights; raises ValueError when they are another network's."""
        wanted = jax.eval_shape(self.module.init, jax.random.key(0), self.tokens(["a"]))["params"]
        wanted = traverse_util.flatten_dict(wanted, sep="/")
        if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in arrays.items()}:
            raise ValueError("its weights are of another network")
        return dataclasses.replace(self, params=traverse_util.unflatten_dict(arrays, sep="/"))


@functools.partial(jax.jit, static_argnums=0)
def _apply(module: nn.Module, params: Any, tokens: jax.Array) -> jax.Array:
    return module.apply({"params": params}, tokens)


@dataclasses.dataclass(frozen=True)
class CharCnnRnnEncoder(TrainedEncoder):
    """The character-level encoder, trained here (`embedding.py`) or imported (`convert.py`)."""

    name: ClassVar[str] = "char_cnn_rnn"

    @classmethod
    def create(cls, module: CharCnnRnn, params: Any) -> "CharCnnRnnEncoder":
        """Not normalised; `normalised_by` the training captions comes next, except for imports."""
        plain = np.zeros(module.width, np.float32)
        return cls(module.width, plain, 1.0, module, None).trained(params)

    @classmethod
    def fresh(cls, choice, train, test) -> "CharCnnRnnEncoder":
        fields = {**choice["text"], "dtype": jnp.dtype(choice["text"]["dtype"])}
        return cls.create(CharCnnRnn(**fields), None)

    def tokens(self, captions: Sequence[str]) -> np.ndarray:
        """Captions → [n, 201] uint8."""
        return indices(captions)

    def _fields(self) -> dict[str, Any]:
        return {
            "features": list(self.module.features),
            "cell": self.module.cell,
            "final_pooling": self.module.final_pooling,
        }

    @classmethod
    def _from_saved(cls, fields, arrays, *, width, shift, scale) -> "CharCnnRnnEncoder":
        fields = fields | {"features": tuple(fields["features"])}
        return cls(width, shift, scale, CharCnnRnn(width=width, **fields), None)._with_arrays(
            arrays
        )


@dataclasses.dataclass(frozen=True)
class BagOfWordsEncoder(TrainedEncoder):
    """A sum of learnt vectors, one for each different word of a caption, in any order.

    The baseline of the paper: what it scores is known without reading sentences. Words that fewer
    than two different training captions contain are not read.

    Attributes:
        vocabulary: word → its number, from 1.
    """

    name: ClassVar[str] = "bag_of_words"
    vocabulary: Mapping[str, int]

    @classmethod
    def fresh(cls, choice, train, test) -> "BagOfWordsEncoder":
        captions = {caption for captions in train.captions for caption in captions}
        counts = collections.Counter(word for caption in captions for word in set(words(caption)))
        known = sorted(word for word, count in counts.items() if count > 1)
        return cls._of(known, choice["text"]["width"])

    @classmethod
    def _of(cls, known: Iterable[str], width: int, shift=None, scale=1.0) -> "BagOfWordsEncoder":
        vocabulary = {word: number for number, word in enumerate(known, start=1)}
        shift = np.zeros(width, np.float32) if shift is None else shift
        return cls(width, shift, scale, BagOfWords(width, len(vocabulary)), None, vocabulary)

    def tokens(self, captions: Sequence[str]) -> np.ndarray:
        """Captions → [n, WORDS] int32, 0 after the last word."""
        result = np.zeros((len(captions), WORDS), np.int32)
        for row, caption in zip(result, captions, strict=True):
            known = [self.vocabulary[w] for w in words(caption) if w in self.vocabulary][:WORDS]
            row[: len(known)] = known
        return result

    def _fields(self) -> dict[str, Any]:
        return {"vocabulary": list(self.vocabulary)}

    @classmethod
    def _from_saved(cls, fields, arrays, *, width, shift, scale) -> "BagOfWordsEncoder":
        return cls._of(fields["vocabulary"], width, shift, scale)._with_arrays(arrays)


def words(caption: str) -> list[str]:
    """The different words of a caption, lower-cased, in its order."""
    return list(dict.fromkeys(_WORD.findall(caption.lower())))

"""Encoders that the joint embedding trains: characters (char-CNN-RNN) and a bag of words.

Reed et al., CVPR 2016, sec. 4.
"""

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

from stackgan_jax.data.split import Split
from stackgan_jax.models.bag_of_words import BagOfWords
from stackgan_jax.models.char_cnn_rnn import CharCnnRnn, indices, is_blank
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders.encoder import Encoder

WORDS = 64  # how many different words of a caption are read
_WORD = re.compile(r"[^\W_]+")


@dataclasses.dataclass(frozen=True)
class TrainedEncoder(Encoder):
    """A network of this project with its parameters.

    Attributes:
        module: The network.
        params: Its parameters; None before training.
    """

    trainable: ClassVar[bool] = True
    module: nn.Module
    params: Any

    @property
    def tower(self) -> nn.Module:
        """The network."""
        return self.module

    def trained(self, params: Any) -> "TrainedEncoder":
        """Returns this encoder with `params` as float32, not normalised."""
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
        plain = np.zeros(self.width, np.float32)
        return dataclasses.replace(self, params=params, shift=plain, scale=1.0)

    def raw_embeddings(self, captions: list[str]) -> np.ndarray:
        """Returns the network's output for n captions: [n, width] float32."""
        tokens = self.tokens(captions)
        # Padded to a power of two, so that only a few batch sizes are compiled.
        padded = np.zeros((1 << (len(tokens) - 1).bit_length(), *tokens.shape[1:]), tokens.dtype)
        padded[: len(tokens)] = tokens
        return np.asarray(_apply(self.module, self.params, padded))[: len(tokens)]

    def saved_arrays(self) -> dict[str, np.ndarray]:
        """Returns the parameters by path."""
        return traverse_util.flatten_dict(self.params, sep="/")

    def _with_arrays(self, arrays: Mapping[str, np.ndarray]) -> "TrainedEncoder":
        """Returns this encoder with saved weights; raises ValueError if they don't fit."""
        wanted = jax.eval_shape(self.module.init, jax.random.key(0), self.tokens(["a"]))["params"]
        wanted = traverse_util.flatten_dict(wanted, sep="/")
        if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in arrays.items()}:
            raise ValueError("its weights belong to another network")
        return dataclasses.replace(self, params=traverse_util.unflatten_dict(arrays, sep="/"))


@functools.partial(jax.jit, static_argnums=0)
def _apply(module: nn.Module, params: Any, tokens: jax.Array) -> jax.Array:
    return module.apply({"params": params}, tokens)


@dataclasses.dataclass(frozen=True)
class CharCnnRnnEncoder(TrainedEncoder):
    """The character-level encoder, trained here or imported from published weights."""

    name: ClassVar[str] = "char_cnn_rnn"
    reads: ClassVar[str] = "letters of its alphabet, a-z"

    @classmethod
    def create(cls, module: CharCnnRnn, params: Any) -> "CharCnnRnnEncoder":
        """Returns the encoder of a network, not normalised.

        Apply `normalised_by` with the training captions next, except to imported weights.
        """
        plain = np.zeros(module.width, np.float32)
        return cls(module.width, plain, 1.0, module, None).trained(params)

    @classmethod
    def fresh(cls, choice: Mapping[str, Any], train: Split, test: Split) -> "CharCnnRnnEncoder":
        """Returns the untrained network that `choice["text"]` describes."""
        fields = {**choice["text"], "dtype": jnp.dtype(choice["text"]["dtype"])}
        return cls.create(CharCnnRnn(**fields), None)

    def tokens(self, captions: Sequence[str]) -> np.ndarray:
        """Returns the character indices of n captions: [n, 201] uint8."""
        return indices(captions)

    def unread(self, captions: Sequence[str]) -> list[str]:
        """Returns the captions without a character of the alphabet."""
        return [caption for caption in captions if is_blank(caption)]

    def saved_fields(self) -> dict[str, Any]:
        """Returns the fields of the network."""
        return {
            "features": list(self.module.features),
            "cell": self.module.cell,
            "final_pooling": self.module.final_pooling,
        }

    @classmethod
    def from_saved(
        cls,
        fields: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        *,
        width: int,
        shift: np.ndarray,
        scale: float,
    ) -> "CharCnnRnnEncoder":
        """Returns the saved encoder; raises ValueError if the weights don't fit."""
        module = CharCnnRnn(width=width, **fields | {"features": tuple(fields["features"])})
        return cls(width, shift, scale, module, None)._with_arrays(arrays)


@dataclasses.dataclass(frozen=True)
class BagOfWordsEncoder(TrainedEncoder):
    """The sum of one learnt vector per different word of a caption, in any order.

    This is the paper's baseline: its score needs no knowledge of word order. Words that appear in
    fewer than two different training captions are ignored.

    Attributes:
        vocabulary: Word → its number, from 1.
    """

    name: ClassVar[str] = "bag_of_words"
    reads: ClassVar[str] = "words of the captions that it was trained with"
    vocabulary: Mapping[str, int]

    @classmethod
    def fresh(cls, choice: Mapping[str, Any], train: Split, test: Split) -> "BagOfWordsEncoder":
        """Returns the untrained encoder with the vocabulary of the training captions."""
        captions = {caption for captions in train.captions for caption in captions}
        counts = collections.Counter(word for caption in captions for word in set(words(caption)))
        known = sorted(word for word, count in counts.items() if count > 1)
        if not known:
            raise UserError(
                f"No word occurs in two of the {len(captions):,} different captions, so the text "
                "encoder bag_of_words has no words to learn; choose --config.encoder=char_cnn_rnn, "
                "sentence_transformer or precomputed."
            )
        return cls.create(known, choice["text"]["width"])

    @classmethod
    def create(
        cls,
        known: Iterable[str],
        width: int,
        shift: np.ndarray | None = None,
        scale: float = 1.0,
    ) -> "BagOfWordsEncoder":
        """Returns the untrained encoder of a list of words; the default is not normalised."""
        vocabulary = {word: number for number, word in enumerate(known, start=1)}
        shift = np.zeros(width, np.float32) if shift is None else shift
        return cls(width, shift, scale, BagOfWords(width, len(vocabulary)), None, vocabulary)

    def tokens(self, captions: Sequence[str]) -> np.ndarray:
        """Returns the word numbers of n captions: [n, WORDS] int32, 0 after the last word."""
        result = np.zeros((len(captions), WORDS), np.int32)
        for row, caption in zip(result, captions, strict=True):
            known = [self.vocabulary[w] for w in words(caption) if w in self.vocabulary][:WORDS]
            row[: len(known)] = known
        return result

    def unread(self, captions: Sequence[str]) -> list[str]:
        """Returns the captions without a known word."""
        return [
            caption for caption in captions if self.vocabulary.keys().isdisjoint(words(caption))
        ]

    def saved_fields(self) -> dict[str, Any]:
        """Returns the words in the order of their numbers."""
        return {"vocabulary": list(self.vocabulary)}

    @classmethod
    def from_saved(
        cls,
        fields: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        *,
        width: int,
        shift: np.ndarray,
        scale: float,
    ) -> "BagOfWordsEncoder":
        """Returns the saved encoder; raises ValueError if the weights don't fit."""
        return cls.create(fields["vocabulary"], width, shift, scale)._with_arrays(arrays)


def words(caption: str) -> list[str]:
    """Returns the different words of a caption in order, lower-cased."""
    return list(dict.fromkeys(_WORD.findall(caption.lower())))

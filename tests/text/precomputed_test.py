"""Embeddings from files: which formats are read, which are rejected, how captions are found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_encoders import CAPTIONS, CHOICE, FLAT, TEST, TRAIN, bag, rows

from stackgan_jax import sample, text
from stackgan_jax.data import input_pipeline
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text import embedding_files
from stackgan_jax.text.embedding_files import read_embeddings
from stackgan_jax.text.encoders import ENCODERS
from stackgan_jax.training import encoder_learner, gan_learner
from stackgan_jax.training.loop import train


def chosen(path, train=TRAIN, test=TEST):
    return ENCODERS["precomputed"].fresh(CHOICE | {"embeddings": str(path)}, train, test)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_embeddings_are_looked_up_by_the_captions_in_the_file(tmp_path, suffix):
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
def test_embeddings_without_captions_follow_the_order_of_the_data_set(tmp_path, suffix, shape):
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
        ({"embeddings": np.array(FLAT)}, "they must be numbers"),
        ({"embeddings": np.zeros((0, 5))}, "they must be numbers"),
        ({"embeddings": rows(FLAT) * [1, 1, 1, 1, 1, np.nan]}, "Row 0 .* holds NaN or infinity"),
        (
            {"embeddings": rows(FLAT), "captions": np.array(FLAT[1:])},
            "they must be texts, one for each",
        ),
        ({"embeddings": rows(FLAT), "captions": np.arange(6)}, "they must be texts, one for each"),
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
def test_unfit_embeddings_are_rejected(tmp_path, arrays, message):
    path = tmp_path / "mine.npz"
    np.savez(path, allow_pickle=True, **arrays)
    with pytest.raises(UserError, match=message):
        chosen(path)


@pytest.mark.parametrize("name", ["mine.npz", "mine.npy", "mine.h5"])
@given(content=st.binary(max_size=60))
@settings(max_examples=30)
def test_a_file_of_random_bytes_is_rejected_with_its_path(tmp_path_factory, name, content):
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        embedding_files.read_embeddings(path)


def test_missing_files_and_unknown_formats_are_reported(tmp_path):
    with pytest.raises(UserError, match=r"no file of embeddings '.*absent\.npz'"):
        chosen(tmp_path / "absent.npz")
    (tmp_path / "mine.csv").write_text("1,2")
    with pytest.raises(UserError, match=r"choose \.npz, \.npy"):
        chosen(tmp_path / "mine.csv")
    np.savez(tmp_path / "mine.npz", rows(FLAT))
    with pytest.raises(UserError, match=r"--config\.encoder=precomputed --config\.embeddings="):
        text.find(tmp_path / "mine.npz")


@pytest.mark.slow
def test_a_stage1_trains_on_embeddings_of_a_file_and_draws(small_config, tmp_path):
    """Embeddings of another program: an image tower, a Stage I, and pictures by caption."""
    config = small_config("text_encoder", encoder="precomputed", steps=2)
    splits = [
        input_pipeline.load(config.data, name, config.load_size) for name in ("train", "test")
    ]
    captions = sorted({c for s in splits for several in s.captions for c in several})
    path = tmp_path / "mine.npz"
    np.savez(path, embeddings=rows(captions, 24), captions=np.array(captions))
    config.embeddings = str(path)
    train(config, tmp_path / "encoder", encoder_learner.create)
    path.unlink()  # The run keeps its own copy.
    config = small_config("stage1", text_encoder=str(tmp_path / "encoder"), steps=2)
    train(config, tmp_path / "stage1", gan_learner.create)
    embedding = text.embed(tmp_path / "stage1", captions[:2])
    assert sample.generate(tmp_path / "stage1", embedding)["stage1"].shape == (2, 16, 16, 3)
    with pytest.raises(UserError, match=r"shape \[2, 16\], but .* takes \[2, 24\]"):
        sample.generate(tmp_path / "stage1", embedding[:, :16])
    text.save_encoder(bag(), tmp_path / "other")
    earlier = {"text_encoder": str(tmp_path / "other"), "stage1": str(tmp_path / "stage1")}
    with pytest.raises(UserError, match=r"precomputed, 24 numbers.*bag_of_words, 8 .* the same"):
        train(small_config("stage2", **earlier), tmp_path / "stage2")
    assert not (tmp_path / "stage2" / text.DIRECTORY).exists()


def test_a_damaged_hdf5_file_is_read_or_refused_in_a_line(tmp_path):
    h5py, path = pytest.importorskip("h5py"), tmp_path / "mine.h5"
    with h5py.File(path, "w") as file:
        file["embeddings"] = rows(FLAT)
        file["captions"] = FLAT
    content, refused = path.read_bytes(), 0
    for place in range(0, len(content), 2):
        path.write_bytes(content[:place] + bytes([content[place] ^ 3]) + content[place + 1 :])
        try:
            read_embeddings(path)
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50

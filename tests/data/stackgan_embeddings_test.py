"""The embeddings in StackGAN's pickles are trained on unchanged, and sampled by number."""

import shutil

import numpy as np
import pytest
import python2_pickle
import small_data_sets as made

from stackgan_jax import sample, sheets
from stackgan_jax.data import input_pipeline, registry
from stackgan_jax.data.published_sets import stackgan_files
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.stages import STAGES
from stackgan_jax.text.encoders.precomputed import PrecomputedEncoder
from stackgan_jax.training.loop import train

PICKLE = stackgan_files.EMBEDDINGS


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    return made.pickled_birds(tmp_path_factory.mktemp("birds"), images=4)


def choose(root, prepared):
    """The encoder and the training split of StackGAN's pickles in `root`."""
    data = registry.config("stackgan_pickles")
    data.update(path=str(root), dir=str(prepared))
    train, test = (input_pipeline.load(data, split, 19) for split in ("train", "test"))
    choice = {"embeddings": "", "data": data}
    return PrecomputedEncoder.fresh(choice, train, test), train


def test_every_caption_has_the_embedding_at_its_position(birds, tmp_path):
    encoder, train = choose(birds, tmp_path)
    stored = stackgan_files.read_embeddings(birds, "train")
    for image, captions in enumerate(train.captions):
        np.testing.assert_array_equal(encoder.embed(captions), stored[image])
    stored = stackgan_files.read_embeddings(birds, "test")
    np.testing.assert_array_equal(encoder.embed("#85"), stored[0][[5]])


def test_embeddings_without_captions_are_named_by_image_and_number(tmp_path):
    root = made.pickled_birds(tmp_path / "birds", texts=False)
    encoder, train = choose(root, tmp_path)
    assert train.captions[4][7] == f"{made.TRAIN[1]}/train_0004 #7"
    stored = stackgan_files.read_embeddings(root, "train")
    np.testing.assert_array_equal(encoder.embed(train.captions[4][7]), stored[4][[7]])


def test_a_repeated_caption_has_its_first_embedding(birds, tmp_path):
    root = shutil.copytree(birds, tmp_path / "birds")
    for file in (root / "text_c10").rglob("*.txt"):
        file.write_text("\n".join(["the same bird", *(f"{file.stem} {k}" for k in range(9))]))
    encoder, _ = choose(root, tmp_path)
    stored = stackgan_files.read_embeddings(root, "train")
    np.testing.assert_array_equal(encoder.embed("the same bird"), stored[0][[0]])


def test_a_file_of_embeddings_is_normalised_like_the_run(birds, tmp_path):
    stored = stackgan_files.read_embeddings(birds, "test")
    run = PrecomputedEncoder(16, np.full(16, 2, np.float32), 3.0, ("a",), np.zeros((1, 16)))
    encoder = PrecomputedEncoder.of_file(birds / "test" / PICKLE, run)
    np.testing.assert_allclose(encoder.embed("#13"), (stored[1][[3]] - 2) * 3)
    np.savez(tmp_path / "mine.npz", embeddings=stored[0], captions=[f"bird {k}" for k in range(10)])
    plain = PrecomputedEncoder.of_file(tmp_path / "mine.npz", None)
    np.testing.assert_array_equal(plain.embed(["bird 4"]), stored[0][[4]])
    for unknown in ("bird 10", "#10", "#-1", "#", "4"):
        with pytest.raises(UserError, match=r"none of the 10 captions .* #0 to #9"):
            plain.embed(unknown)


def test_wrong_files_of_embeddings_are_rejected(birds, tmp_path):
    run = PrecomputedEncoder(8, np.zeros(8, np.float32), 1.0, ("a",), np.zeros((1, 8)))
    with pytest.raises(UserError, match=r"have 16 numbers and those of the run 8"):
        PrecomputedEncoder.of_file(birds / "test" / PICKLE, run)
    for content in ([b"a"], [np.zeros(2), np.zeros(3)], 3, []):
        (tmp_path / "mine.pickle").write_bytes(python2_pickle.dumps(content))
        with pytest.raises(UserError, match=r"mine.pickle"):
            PrecomputedEncoder.of_file(tmp_path / "mine.pickle", None)
    (tmp_path / "mine.pickle").write_bytes(b"cposix\nsystem\n(S'false'\ntR.")
    with pytest.raises(UserError, match="Nothing in it was run"):
        PrecomputedEncoder.of_file(tmp_path / "mine.pickle", None)


@pytest.mark.slow
def test_training_on_the_pickles_and_sampling_from_their_embeddings(
    birds, tmp_path, small_config, monkeypatch
):
    data = registry.config("stackgan_pickles")
    data.update(path=str(birds), dir=str(tmp_path))
    for kind, changes in {
        "text_encoder": {"encoder": "precomputed"},
        "stage1": {"text_encoder": str(tmp_path / "text_encoder")},
    }.items():
        config = small_config(kind, **changes)
        config.data = data
        train(config, tmp_path / kind, STAGES[kind])
    drawn_from = []
    draw = sample.Sampler.draw

    def recorded(self, embedding, **options):
        drawn_from.append(embedding)
        return draw(self, embedding, **options)

    monkeypatch.setattr(sample.Sampler, "draw", recorded)
    run, output = tmp_path / "stage1", tmp_path / "page.png"
    caption = f"this {made.TRAIN[0]}/train_0001 is number 2 ."
    sheets.write(run, sheets.Request([caption, "#12"], num=2), output)
    assert output.exists()
    seen, unseen = birds / "train" / PICKLE, birds / "test" / PICKLE
    sheets.write(run, sheets.Request(["#12"], num=4, embeddings_file=seen), output)
    sheets.write(run, sheets.Request([], num=1, embeddings_file=unseen), output)
    stored = stackgan_files.read_embeddings(birds, "train")[1][[2, 2, 2, 2]]
    np.testing.assert_array_equal(drawn_from[0], stored)
    np.testing.assert_array_equal(drawn_from[1], stored)
    first = stackgan_files.read_embeddings(birds, "test")[0][:8]
    np.testing.assert_array_equal(drawn_from[2], first)

"""The registry of data sets: one name each, former names of older runs, and entries by users."""

import io
import shutil

import numpy as np
import pytest
import small_data_sets
import tensorflow_datasets as tfds
from PIL import Image

from stackgan_jax.data import batches, input_pipeline, registry
from stackgan_jax.data.published_sets import flowers
from stackgan_jax.data.records import Record, Source
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import encoder_learner
from stackgan_jax.training.loop import train

COMMON = {"name", "builder_config", "crop", "path", "dir", "max_damaged", "residency"}
COMMON |= {"shards", "stored", "shard_records", "shuffle_buffer", "leave_out", "beam"}


@pytest.mark.parametrize("name", registry.DATA_SETS)
def test_config_has_the_name_the_common_fields_and_the_data_sets_own_settings(name):
    data, entry = registry.config(name), registry.DATA_SETS[name]
    assert data.name == name
    assert set(data.keys()) == COMMON | set(entry.settings)
    assert (data.builder_config, data.crop) == (entry.builder_config, entry.crop)


def test_published_data_sets_have_the_epochs_of_their_programs():
    published = {name: each for name, each in registry.DATA_SETS.items() if each.program}
    assert {name: (each.program, each.steps_per_epoch(64)) for name, each in published.items()} == {
        "birds": ("tensorflow", 138),
        "flowers": ("tensorflow", 109),
        "stackgan_pickles": ("tensorflow", 138),
        "coco": ("pytorch", 1293),
    }


def test_unknown_names_and_data_sets_without_a_builder_are_rejected(tmp_path):
    with pytest.raises(UserError, match=r"'cubs'; choose from synthetic_birds, birds, .*, or add"):
        registry.config("cubs")
    with pytest.raises(UserError, match="'folder' has no TFDS builder; choose from birds, coco"):
        registry.builder("folder", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("former", "name"), [("cub200", "birds"), ("oxford102", "flowers"), ("coco2014", "coco")]
)
def test_a_run_with_a_former_name_has_the_same_source(former, name, tmp_path):
    make = {"birds": small_data_sets.cub, "flowers": small_data_sets.oxford}
    data = registry.config(name)
    data.update(path=str(make.get(name, small_data_sets.coco)(tmp_path / name)), dir=str(tmp_path))
    directory = registry.source(data).directory
    data.name = former
    assert registry.source(data).directory == directory
    assert directory.parent.name == name


@pytest.fixture
def flowers_data(tmp_path):
    data = registry.config("flowers")
    data.update(path=str(small_data_sets.oxford(tmp_path / "files")), dir=str(tmp_path / "cache"))
    return data


@pytest.fixture
def prepared_as_oxford102(flowers_data, monkeypatch):
    """The flowers as prepared when their builder was still called Oxford102."""
    with monkeypatch.context() as patched:
        former = type("Oxford102", (flowers.Flowers,), {"__doc__": "Flowers."})
        patched.setattr(flowers, "Flowers", former)
        split = input_pipeline.load(flowers_data, "train", 8)
    assert split.directory.parents[2].name == "oxford102"
    return split


def test_data_prepared_under_the_former_name_are_found(prepared_as_oxford102, flowers_data, capfd):
    found = input_pipeline.load(flowers_data, "train", 8)
    assert found.directory == prepared_as_oxford102.directory
    test = input_pipeline.load(flowers_data, "test", 8)
    assert test.directory == found.directory.with_name("test") and len(test) == 2
    assert "copied" not in capfd.readouterr().err


def test_a_run_on_data_of_the_former_name_goes_on_when_they_are_prepared_again(
    prepared_as_oxford102, flowers_data, tmp_path
):
    run = tmp_path / "run"
    (run / "checkpoints" / "4").mkdir(parents=True)
    input_pipeline.record_data(prepared_as_oxford102, run)
    shutil.rmtree(flowers_data.dir)
    flowers_data.name = "oxford102"
    again = input_pipeline.load(flowers_data, "train", 8)
    assert again.directory.parents[2].name == "flowers"
    input_pipeline.record_data(again, run)


class Squares(Source):
    """24 squares of 6 colours, each with two captions, as a user would write it."""

    def __init__(self, data, directory):
        self.name = "the squares"
        self.directory = directory / f"squares-{data.shift}"
        self.images = {"train": range(18), "test": range(18, 24)}
        self.shift = data.shift

    def count(self, split):
        return len(self.images[split])

    def records(self, split):
        for number in self.images[split]:
            captions = [f"a square of colour {number % 6}", f"square number {number}"]
            png = io.BytesIO()
            Image.new("RGB", (24, 24), (number % 6 * 40 + self.shift, 99, 0)).save(png, "PNG")
            yield Record(f"{number}", png.getvalue(), captions, label=number % 6)


class Rings(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Eight pictures in each split, as a TFDS builder."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(24, 24, 3)),
            "captions": tfds.features.Sequence(tfds.features.Text()),
            "label": tfds.features.Scalar(np.int64),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples() for split in ("train", "test")}

    def _generate_examples(self):
        for number in range(8):
            image = small_data_sets.picture(number, 24, 24)
            yield number, {"image": image, "captions": [f"ring {number}"], "label": number % 2}


def test_a_data_set_registered_from_outside_is_prepared_and_trained_on(
    small_config, tmp_path, monkeypatch
):
    monkeypatch.setitem(
        registry.DATA_SETS, "squares", registry.DataSet(Squares, settings={"shift": 3})
    )
    data = registry.config("squares")
    data.dir = str(tmp_path / "cache")
    split = input_pipeline.load(data, "train", 19)
    assert (split.images[4] == [4 * 40 + 3, 99, 0]).all()
    width = np.arange(36, dtype=np.float32)[:, None]
    embeddings = batches.CaptionEmbeddings(width, np.cumsum([0, *map(len, split.captions)]))
    source = batches.image_text(split.images, split.labels, embeddings, 6, 1, seed=0)
    for batch in source.batches(0, 3):
        labels = batch["embedding"][:, 0].astype(int) // 2 % 6
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], labels * 40 + 3)
        assert (labels[batch["partner"]] != labels).all()
    config = small_config("text_encoder", steps=2)
    with config.unlocked():
        config.data = data
    train(config, tmp_path / "run", encoder_learner.create)
    assert (tmp_path / "run" / input_pipeline.DATA).exists()


def test_a_tfds_builder_registered_from_outside_is_prepared_under_its_name(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.DATA_SETS, "mine", registry.DataSet(f"{__name__}:Rings"))
    data = registry.config("mine")
    data.dir = str(tmp_path)
    split = input_pipeline.load(data, "train", 24)
    numbers = [int(captions[0].split()[1]) for captions in split.captions]
    assert sorted(numbers) == list(range(8))
    for number, image, label in zip(numbers, split.images, split.labels, strict=True):
        np.testing.assert_array_equal(image, small_data_sets.picture(number, 24, 24))
        assert label == number % 2
    assert registry.source(data).name == "mine"
    with pytest.raises(UserError, match="'large' of dataset 'mine'; choose from none: leave"):
        registry.builder("mine", "large", tmp_path)


def test_one_word_after_the_data_set_chooses_the_recipe():
    assert registry.dataset_and_recipe("folder,modern") == ("folder", "modern")
    assert registry.dataset_and_recipe("birds") == ("birds", "published")
    assert registry.dataset_and_recipe("birds", "modern") == ("birds", "modern")
    with pytest.raises(UserError, match=r"recipe 'new' in 'birds,new'; choose from published, mod"):
        registry.dataset_and_recipe("birds,new")

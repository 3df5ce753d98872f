"""The published data sets are read from their source files; wrong files are rejected."""

import shutil

import numpy as np
import pytest
import python2_pickle
import small_data_sets as made
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stackgan_jax.data import decoding, input_pipeline, registry
from stackgan_jax.data.published_sets import birds, coco, flowers, source_files, stackgan_files
from stackgan_jax.runtime.errors import UserError

MAKERS = {
    "birds": made.cub,
    "flowers": made.oxford,
    "coco": made.coco,
    "stackgan_pickles": made.pickled_birds,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Name of a data set → the folder of its source files."""
    folder = tmp_path_factory.mktemp("published")
    return {name: make(folder / name) for name, make in MAKERS.items()}


def data_of(name, path, prepared):
    data = registry.config(name)
    data.update(path=str(path), dir=str(prepared))
    return data


@pytest.fixture(scope="module")
def split_of(files, tmp_path_factory):
    prepared = tmp_path_factory.mktemp("prepared")

    def load(name, split, size):
        return input_pipeline.load(data_of(name, files[name], prepared), split, size)

    return load


def reduced(path, size, box=None):
    crop = "none" if box is None else "bbox"
    return decoding.decode(path.read_bytes(), size, crop, box).pixels


def test_birds_are_cropped_by_their_boxes_and_split_by_class(split_of, files):
    train, test = split_of("birds", "train", 24), split_of("birds", "test", 24)
    assert list(train.labels) == [0, 0, 1, 1] and list(test.labels) == [2, 2]
    assert train.captions[0][0] == "this bird 1 is number 0 ."
    assert [len(captions) for captions in train.captions] == [10] * 4
    images = files["birds"] / "CUB_200_2011/images"
    first = images / made.TRAIN[0] / "Black_footed_Albatross_0001_1.jpg"
    # The square of half-side 0.75 x 20 around (20, 11): 15 pixels above row 11 is outside.
    with Image.open(first) as image:
        cut = np.asarray(image)[0:26, 5:35]
    assert decoding.published_crop(40, 30, (10, 5, 20, 12)) == (5, 0, 35, 26)
    expected = np.asarray(Image.fromarray(cut).resize((24, 24), Image.Resampling.BOX))
    np.testing.assert_array_equal(train.images[0], expected)


def test_flowers_are_not_cropped_and_are_split_by_class(split_of, files):
    train, test = split_of("flowers", "train", 12), split_of("flowers", "test", 12)
    assert list(train.labels) == [0, 0, 76, 76] and list(test.labels) == [1, 1]
    assert train.captions[2][8:] == ["a flower 5 with a tail", "a flower 5"]
    expected = reduced(files["flowers"] / "jpg/image_00005.jpg", 12)
    np.testing.assert_array_equal(train.images[2], expected)


def test_coco_joins_images_and_captions_by_number(split_of, files):
    train, test = split_of("coco", "train", 12), split_of("coco", "test", 12)
    assert list(train.labels) == list(test.labels) == [0, 1, 2]
    assert train.captions[1] == [f"Thing 25, {place}." for place in range(5)]
    expected = reduced(files["coco"] / "val2014/COCO_val2014_000000000041.jpg", 12)
    np.testing.assert_array_equal(test.images[2], expected)


def test_coco_prepared_by_tfds_is_read_in_place(tmp_path):
    features = (
        tfds.features.FeaturesDict(  # the features of TFDS's coco_captions 1.1.0 that are read
            {
                "captions": tfds.features.Sequence({"id": np.int64, "text": np.str_}),
                "image": tfds.features.Image(encoding_format="jpeg"),
                "image/filename": tfds.features.Text(),
            }
        )
    )
    examples = [
        {
            "captions": [{"id": 7, "text": f"Thing {number}."}, {"id": 8, "text": "A thing."}],
            "image": made.picture(number),
            "image/filename": f"COCO_{number:012d}.jpg",
        }
        for number in range(5)
    ]
    keyed = list(enumerate(examples))
    tfds.dataset_builders.store_as_tfds_dataset(
        name="coco_captions",
        config="2014",
        version="1.1.0",
        features=features,
        split_datasets={
            "train": keyed[:2],
            "val": keyed[2:3],
            "test": keyed[3:4],
            "restval": keyed[4:],
        },
        data_dir=tmp_path / "tensorflow_datasets",
        disable_shuffling=True,
    )
    data = data_of("coco", tmp_path / "tensorflow_datasets", tmp_path / "prepared")
    train = input_pipeline.load(data, "train", 12)
    assert train.captions == [["Thing 0.", "A thing."], ["Thing 1.", "A thing."]]
    test = input_pipeline.load(data, "test", 12)
    assert sorted(captions[0] for captions in test.captions) == ["Thing 2.", "Thing 3.", "Thing 4."]
    assert list(test.labels) == [0, 1, 2]
    assert (tmp_path / "prepared") in test.directory.parents


def test_pickled_images_are_read_unchanged(split_of):
    train, test = (
        split_of("stackgan_pickles", "train", 76),
        split_of("stackgan_pickles", "test", 76),
    )
    assert list(train.labels) == [1, 1, 1, 2, 2, 2] and list(test.labels) == [3, 3, 3]
    np.testing.assert_array_equal(train.images[4], made.picture(7604, 76, 76))
    assert train.captions[4][9] == "a 002.Laysan_Albatross/train_0004"


def test_pickled_images_of_both_stages_in_protocol_0_are_read(tmp_path):
    root = made.pickled_birds(tmp_path / "birds", protocol=0, images=1, sizes=(76, 304))
    for size in (76, 304):
        data = data_of("stackgan_pickles", root, tmp_path)
        data.builder_config = str(size)
        images = input_pipeline.load(data, "test", size).images
        np.testing.assert_array_equal(images[0], made.picture(100 * size, size, size))


def test_captions_without_text_are_named_by_image_and_number(tmp_path):
    root = made.pickled_birds(tmp_path, texts=False)
    names, labels = ([f"a/{i}" for i in range(6)], [1] * 6)
    assert stackgan_files.read_captions(root, "train", names, labels)[2][3] == "a/2 #3"
    for split in ("train", "test"):
        (root / split / stackgan_files.EMBEDDINGS).unlink()
    with pytest.raises(UserError, match=r"Neither train/char-CNN-RNN.* nor text_c10 is in"):
        stackgan_files.read_captions(root, "train", names, labels)


def test_captions_of_pickled_flowers_are_found_by_class(tmp_path):
    made.write(tmp_path / "text_c10/class_00077/image_06734.txt", "a flower\n")
    found = stackgan_files.read_captions(tmp_path, "train", ["jpg/image_06734"], [77])
    assert found == [["a flower"]]


MISSING = [
    ("birds", "CUB_200_2011/bounding_boxes.txt", "Caltech, www.vision.caltech.edu"),
    ("birds", "CUB_200_2011/images", "Caltech, www.vision.caltech.edu"),
    ("birds", f"CUB_200_2011/images/{made.TEST[0]}/Sooty_Albatross_0002_6.jpg", "Caltech"),
    ("birds", "cvpr2016_cub/testclasses.txt", "Reed et al., github.com/reedscot/cvpr2016"),
    ("birds", f"cvpr2016_cub/text_c10/{made.TRAIN[0]}/Black_footed_Albatross_0002_2.txt", "Reed"),
    ("flowers", "jpg", "Oxford, www.robots.ox.ac.uk"),
    ("flowers", "jpg/image_00004.jpg", "Oxford, www.robots.ox.ac.uk"),
    ("flowers", "cvpr2016_flowers/text_c10/class_00077", "Reed et al."),
    ("coco", "annotations/captions_val2014.json", "annotations_trainval2014.zip"),
    ("coco", "val2014/COCO_val2014_000000000041.jpg", "cocodataset.org"),
    ("stackgan_pickles", "test/76images.pickle", "misc/preprocess_birds.py"),
    ("stackgan_pickles", "train/filenames.pickle", "github.com/hanzhanggit/StackGAN"),
    ("stackgan_pickles", f"text_c10/{made.TEST[0]}/test_0001.txt", "github.com/hanzhanggit"),
]


@pytest.mark.parametrize(("name", "file", "origin"), MISSING)
def test_the_error_names_a_missing_file_its_folder_and_where_to_get_it(
    name, file, origin, files, tmp_path
):
    root = shutil.copytree(files[name], tmp_path / "files")
    shutil.rmtree(root / file) if (root / file).is_dir() else (root / file).unlink()
    with pytest.raises(UserError) as raised:
        input_pipeline.load(data_of(name, root, tmp_path / "prepared"), "train", 76)
    message = str(raised.value)
    assert f"{file} is missing: it was looked for in {root} (--config.data.path)" in message
    assert origin in message.split("comes from")[1]
    assert not list((tmp_path / "prepared").rglob("*.tfrecord*"))


@pytest.mark.parametrize("name", MAKERS)
def test_the_error_for_a_missing_path_names_folders_and_origins(name, tmp_path):
    with pytest.raises(UserError, match=r"set --config.data.path to the folder .* come from .*\."):
        input_pipeline.load(data_of(name, "", tmp_path), "train", 12)


def test_changed_files_are_prepared_again(files, tmp_path):
    data = data_of("flowers", shutil.copytree(files["flowers"], tmp_path / "files"), tmp_path)
    assert len(input_pipeline.load(data, "train", 8)) == 4
    made.class_lists(
        tmp_path / "files/cvpr2016_flowers", ["class_00001"], ["class_00002", "class_00077"]
    )
    assert len(input_pipeline.load(data, "train", 8)) == 2


def test_captions_that_are_added_later_are_read(tmp_path):
    root = made.pickled_birds(tmp_path / "birds", texts=False)
    data = data_of("stackgan_pickles", root, tmp_path)
    assert input_pipeline.load(data, "test", 8).captions[0][0] == f"{made.TEST[0]}/test_0000 #0"
    made.pickled_birds(root)
    captions = input_pipeline.load(data, "test", 8).captions
    assert captions[0][0] == f"this {made.TEST[0]}/test_0000 is number 0 ."


def test_a_class_in_both_splits_is_rejected(files, tmp_path):
    root = shutil.copytree(files["birds"], tmp_path / "files")
    made.class_lists(root / "cvpr2016_cub", made.TRAIN + made.TEST, made.TEST)
    with pytest.raises(UserError, match=f"{made.TEST[0]}' for training and for testing"):
        input_pipeline.load(data_of("birds", root, tmp_path), "train", 8)


def test_training_and_validation_lists_make_the_training_classes(tmp_path):
    for name, kinds in {"train": "1 2", "val": "3", "test": "4 5"}.items():
        made.write(tmp_path / "lists" / f"{name}classes.txt", "\n".join(kinds.split()))
    assert source_files.classes(tmp_path, "lists", "train", "Reed") == {"1", "2", "3"}
    assert source_files.classes(tmp_path, "lists", "test", "Reed") == {"4", "5"}


def test_a_damaged_image_is_listed_by_name(files, tmp_path):
    root = shutil.copytree(files["birds"], tmp_path / "files")
    (root / f"CUB_200_2011/images/{made.TRAIN[1]}/Laysan_Albatross_0001_3.jpg").write_bytes(b"no")
    data = data_of("birds", root, tmp_path)
    with pytest.raises(UserError, match=r"1 of 4 images .*Laysan_Albatross_0001_3.jpg"):
        input_pipeline.load(data, "train", 8)
    data.max_damaged = 0.5
    assert list(input_pipeline.load(data, "train", 8).labels) == [0, 0, 1]


PICKLES = [
    ("76images", [made.picture(0, 75, 76)] * 6, "no picture of 76 x 76"),
    ("76images", [made.picture(0, 76, 76).astype(np.float32)] * 6, "no picture of 76 x 76"),
    ("76images", [made.picture(0, 76, 76)] * 5, "6 in filenames, 5 in images"),
    ("76images", 3, "holds '3' and no list"),
    ("filenames", [b"a"] * 6, "holds a name twice"),
    ("filenames", list(range(6)), "holds more than names"),
    ("filenames", [b"../../a", b"b", b"c", b"d", b"e", b"f"], "leads out of"),
    ("class_info", [1, 2, 3], "6 in filenames, 3 in class_info"),
    ("class_info", [1.5] * 6, "more than whole numbers"),
    ("char-CNN-RNN-embeddings", [np.zeros((10, 4), np.float32)] * 5, "5 in embeddings"),
    ("char-CNN-RNN-embeddings", [np.full((10, 4), np.nan)] * 6, "as many embeddings"),
    ("char-CNN-RNN-embeddings", [np.zeros((i, 4)) for i in range(6)], "as many embeddings"),
]


@pytest.mark.parametrize(("name", "content", "message"), PICKLES)
def test_pickles_with_wrong_content_are_rejected(name, content, message, files, tmp_path):
    root = shutil.copytree(files["stackgan_pickles"], tmp_path / "files")
    (root / "train" / f"{name}.pickle").write_bytes(python2_pickle.dumps(content))
    with pytest.raises(UserError, match=message):
        input_pipeline.load(data_of("stackgan_pickles", root, tmp_path), "train", 76)


def test_a_command_in_a_pickle_is_not_run(files, tmp_path):
    root = shutil.copytree(files["stackgan_pickles"], tmp_path / "files")
    command = f"S'touch {tmp_path}/made'".encode()
    (root / "train/76images.pickle").write_bytes(b"cposix\nsystem\n(" + command + b"\ntR.")
    with pytest.raises(UserError, match=r"asks for posix.system.* Nothing in it was run"):
        input_pipeline.load(data_of("stackgan_pickles", root, tmp_path), "train", 76)
    assert not (tmp_path / "made").exists()


TABLE = "CUB_200_2011/bounding_boxes.txt"
READERS = {
    TABLE: lambda root: birds.Birds.examples(None, root, "train"),
    "cvpr2016_cub/trainvalclasses.txt": lambda root: birds.Birds.examples(None, root, "train"),
    "annotations/captions_train2014.json": lambda root: coco.Coco.examples(None, root, "train"),
    "cvpr2016_flowers/testclasses.txt": lambda root: flowers.Flowers.examples(None, root, "test"),
}


@settings(max_examples=40)
@given(st.sampled_from(list(READERS)), st.binary(max_size=20), st.integers(0, 120))
def test_damage_to_a_list_is_reported_or_harmless(tmp_path_factory, file, noise, at):
    root = tmp_path_factory.mktemp("damaged")
    for name in ("birds", "flowers", "coco"):
        if MAKERS[name](root, images=1) and (root / file).exists():
            break
    content = (root / file).read_bytes()
    (root / file).write_bytes(content[:at] + noise + content[at + len(noise) :])
    try:
        for example in READERS[file](root):
            assert example["captions"] and example["image"].exists()
    except UserError as error:
        assert "\n" not in str(error)

"""Folders as people have them are read in the layout that they are meant in, and it is said."""

import json

import pytest
from picture_folders import by_name, contents, picture, write_files, write_shard

from stackgan_jax.data.folder.values import captions
from stackgan_jax.runtime.errors import UserError


def read(folder):
    """Name → captions."""
    return {name: list(record.captions) for name, (_, record) in by_name(folder).items()}


def pictures(pattern, count=4):
    return {pattern.format(number): picture(number) for number in range(count)}


TABLES = {
    "captions.txt": "image,caption\n{0},a dog , it runs\n{1},second\n",
    "captions.csv": "path;Caption;class\n{0};a dog , it runs;3.0\n{1};second;2\n",
    "results.csv": "image_name| comment_number| comment\n{0}| 0| a dog , it runs\n{1}| 0| second\n",
    "Flickr8k.token.txt": "{0}#0\ta dog , it runs\n{1}#0\tsecond\n",
    "texts.tsv": "file_name\ttext\n{0}\ta dog , it runs\n{1}\tsecond\n",
    "list.json": json.dumps(
        [{"file_name": "{0}", "text": "a dog , it runs"}, {"file_name": "{1}", "Text": ["second"]}]
    ),
    "names.json": json.dumps({"{0}": "a dog , it runs", "{1}": ["second"]}),
    "captions_train.json": json.dumps(
        {
            "images": [{"id": 5, "file_name": "{0}"}, {"id": 6, "file_name": "{1}"}],
            "annotations": [
                {"image_id": 5, "caption": "a dog , it runs"},
                {"image_id": 6, "caption": "second"},
            ],
        }
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_name_images_of_another_folder(folder, name):
    table = TABLES[name].replace("{0}", "0.jpg").replace("{1}", "1.jpg")
    files = {f"Images/{i}.jpg": picture(i, "JPEG") for i in range(3)}
    write_files(folder, files | {name: table, "notes/readme.txt": "image files"})
    assert read(folder) == {"Images/0.jpg": ["a dog , it runs"], "Images/1.jpg": ["second"]}
    found = contents(folder)
    assert f"2 of 3 pictures have captions as rows of {name}" in found.remarks[0]
    assert found.left_out == [
        "Images/2.jpg: not in the metadata",
        "notes/readme.txt: not used as captions",
    ]


def test_numbers_as_tables_write_them_are_classes(folder):
    text = "file_name;text;class\n0.png;one;3.0\n1.png;two;3\n2.png;three;2\n"
    write_files(folder, {"metadata.csv": text} | pictures("{}.png", 3))
    labels = {name: record.label for name, (_, record) in by_name(folder, classes="given").items()}
    assert labels["0.png"] == labels["1.png"] != labels["2.png"]


@pytest.mark.parametrize(
    ("images", "texts"),
    [
        ("images/{}.png", "captions/{}.txt"),
        ("{}.png", "captions/{}.txt"),
        ("train/images/{}.png", "train/texts/{}.txt"),
        ("images/001.Crow/{}.png", "text_c10/001.Crow/{}.txt"),
        ("a/{}.png", "a/{}.json"),
    ],
)
def test_texts_caption_pictures_of_another_folder(folder, images, texts):
    content = '{{"caption": "bird {}"}}' if texts.endswith("json") else "bird {}"
    write_files(folder, {texts.format(i): content.format(i) for i in range(4)})
    write_files(folder, pictures(images))
    assert read(folder) == {images.format(i): [f"bird {i}"] for i in range(4)}


def test_a_stray_file_changes_nothing(folder):
    kinds = [f"{kind}/{{}}.png" for kind in ("red bird", "frog")]
    write_files(folder, {k: v for kind in kinds for k, v in pictures(kind).items()})
    write_files(folder, {"frog/0.txt": "a frog on a leaf", "frog/0.json": '{"seen": 1}'})
    write_files(folder, {"package.zip": b"", "damaged.tar": b"x", "log.csv": "step,loss\n1,2\n"})
    write_files(folder, {"captions.csv": "image,caption\nfrog/0.png,a frog\n"})
    write_shard(folder / "sample.tar", {"1.png": picture(), "1.txt": b"one"})
    assert set(map(tuple, read(folder).values())) == {("red bird",), ("frog",)}
    found = contents(folder)
    assert "8 of 8 pictures have captions as the names of 2 sub-folders" in found.remarks[0]
    assert "1 have them as rows of captions.csv, too few" in found.remarks[0]
    assert "1 have them as texts of their own" in found.remarks[0]
    assert found.remarks[1].startswith("Warning: 5 files that may contain captions are not used")
    assert sorted(found.left_out) == [
        "captions.csv: not used as captions",
        "damaged.tar: not used as captions",
        "frog/0.txt: not used as captions",
        "log.csv: not used as captions",
        "package.zip: packed; unpack it",
        "sample.tar: not used as captions",
    ]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("a photo of sks dog", "All images have the same captions"),
        ("img_{}", "4 pictures have their own file name as their caption"),
        ("[a bird {}", "4 captions begin with a bracket"),
    ],
)
def test_captions_that_teach_nothing_are_reported(folder, text, warning):
    write_files(folder, {f"img_{i}.txt": text.format(i) for i in range(4)})
    write_files(folder, pictures("img_{}.png"))
    assert any(remark.startswith(f"Warning: {warning}") for remark in contents(folder).remarks)


def test_the_name_of_a_single_folder_is_the_last_resort(folder):
    write_files(folder, pictures("images/{}.png", 6))
    assert set(map(tuple, read(folder).values())) == {("images",)}
    lines = ["image,caption", "0.png,one", "1.png,two"]
    write_files(folder, {"captions.txt": "\n".join(lines)})
    assert read(folder) == {"images/0.png": ["one"], "images/1.png": ["two"]}


def test_texts_without_a_picture_are_reported(folder):
    write_files(folder, pictures("{}.png") | {f"{i}.txt": f"bird {i}" for i in range(6)})
    found = contents(folder)
    assert found.left_out == [f"{i}.txt: no picture of that name" for i in (4, 5)]
    assert found.remarks[1].startswith("Warning: 2 files that may contain captions are not used")


def test_most_pictures_without_a_caption_are_reported(folder):
    write_files(folder, pictures("{}.png", 6) | {"0.txt": "one", "1.txt": "two"})
    assert "Warning: 4 of 6 pictures have no caption and are left out." in contents(folder).remarks


@pytest.mark.parametrize(
    "written",
    ['["a, b", "it\'s"]', "['a, b', \"it's\"]", "['a, b' \"it's\"]", "['a, b'\n \"it's\"]"],
)
def test_lists_in_a_text_are_read_as_lists(written):
    assert captions(written) == ("a, b", "it's")
    assert captions("[sic] a bird") == ("[sic] a bird",)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("metadata.json", "[", "metadata.json can't be read: not JSON .*; correct it"),
        ("metadata.json", "3", "neither a list of objects nor an object"),
        ("metadata.jsonl", "", "metadata.jsonl has no rows; write one for each picture"),
        ("metadata.csv", "file_name,text\n" + "x" * (1 << 21), "line 2: longer than 1 MiB"),
    ],
)
def test_a_table_that_cannot_be_read_is_rejected(folder, name, content, sentence):
    write_files(folder, {name: content} | pictures("{}.png"))
    with pytest.raises(UserError, match=sentence):
        contents(folder)

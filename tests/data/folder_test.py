"""Each layout of a folder is read: metadata, text files, sub-folders and shards."""

from picture_folders import (
    by_name,
    contents,
    data_config,
    picture,
    write_files,
    write_numbered_pictures,
    write_shard,
)

from stackgan_jax.data import registry


def test_metadata_jsonl_gives_captions_boxes_and_splits(folder):
    lines = [
        {"file_name": "a.png", "text": " a red\tbird\n", "split": "train"},
        {"file_name": "sub/b.jpg", "text": ["two", "", "birds", "two"], "split": "validation"},
        {"file_name": "sub\\c.webp", "caption": "three", "class": "x", "bbox": [1, 2, 3, 4]},
    ]
    write_files(folder, {"metadata.jsonl": lines, "a.png": picture(), "loose.png": picture()})
    write_files(folder, {"sub/b.jpg": picture(1, "JPEG"), "sub/c.webp": picture(2, "WEBP")})
    found = by_name(folder)
    assert found["a.png"][1].captions == ("a red bird",)
    assert found["sub/b.jpg"][1].captions == ("two", "birds")
    assert found["sub/c.webp"][1].box == (1, 2, 3, 4)
    assert {n: split for n, (split, _) in found.items()} == {
        "a.png": "train",
        "sub/b.jpg": "test",
        "sub/c.webp": "train",
    }
    assert contents(folder).left_out == ["loose.png: not in the metadata"]


def test_metadata_csv_with_one_row_for_each_caption(folder):
    text = "\ufefffile_name,Text,class_id,bbox\r\n"
    text += 'a.png,"small, red",1,"[1, 2, 3, 4]"\r\na.png,"a ""red"" one",1,\r\n'
    text += 'b.png,"[""one"", ""two""]",10,\r\n'
    write_files(folder, {"metadata.csv": text, "a.png": picture(), "b.png": picture()})
    found = by_name(folder)
    assert found["a.png"][1].captions == ("small, red", 'a "red" one')
    assert found["a.png"][1].box == (1, 2, 3, 4)
    assert found["b.png"][1].captions == ("one", "two")


def test_metadata_in_folders_named_train_and_test_gives_the_split(folder):
    for split in ("train", "test"):
        line = {"file_name": "a.png", "text": split}
        write_files(folder, {f"{split}/metadata.jsonl": [line], f"{split}/a.png": picture()})
    found = by_name(folder)
    assert {n: (s, r.captions) for n, (s, r) in found.items()} == {
        "train/a.png": ("train", ("train",)),
        "test/a.png": ("test", ("test",)),
    }


def test_text_files_caption_the_images_of_the_same_name(folder):
    write_files(folder, {"00000/1.jpg": picture(1, "JPEG"), "00000/1.txt": "one\r\n\r\nuno\n"})
    write_files(
        folder, {"00000/2.jpg": picture(2, "JPEG"), "00001/3.txt": "three", "00001/4.png": b""}
    )
    write_files(folder, {"00001/4.txt": "four", "00000/1.json": "{}", ".hidden.png": b""})
    write_files(folder, {"00001/4.webp": b""})
    found = by_name(folder)
    assert found["00000/1.jpg"][1].captions == ("one", "uno")
    assert found.keys() == {"00000/1.jpg", "00001/4.png", "00001/4.webp"}
    assert set(contents(folder).left_out) == {
        "00000/2.jpg: no caption",
        "00001/3.txt: no picture of that name",
    }


def test_names_of_sub_folders_are_classes_and_captions(folder):
    names = ["001.Black_footed_Albatross", "cat", "10_my-dog"]
    write_files(folder, {f"{name}/{i}.png": picture(i) for name in names for i in range(3)})
    found = by_name(folder)
    captions = {n.split("/")[0]: r.captions for n, (_, r) in found.items()}
    assert captions == {
        "001.Black_footed_Albatross": ("Black footed Albatross",),
        "cat": ("cat",),
        "10_my-dog": ("my dog",),
    }
    assert len({r.label for _, r in found.values()}) == 3


def test_shards_hold_images_with_text_and_json(folder):
    write_shard(
        folder / "00000.tar",
        {
            "1.jpg": picture(1, "JPEG"),
            "1.txt": b"one",
            "1.json": b'{"caption": "one", "class": "x", "split": "test", "width": 8}',
            "d/2.json": b'{"text": ["zwei", "two"]}',
            "d/2.png": picture(2),
        },
    )
    write_shard(
        folder / "00001.tar", {"1.webp": picture(3, "WEBP"), "1.txt": b"three", "9.txt": b"?"}
    )
    found = by_name(folder)
    assert found["00000.tar/1.jpg"][0] == "test"
    assert found["00000.tar/1.jpg"][1].captions == ("one",)
    assert found["00000.tar/d/2.png"][1].captions == ("zwei", "two")
    assert found["00000.tar/d/2.png"][1].image.read() == picture(2)
    assert found["00001.tar/1.webp"][1].image.read() == picture(3, "WEBP")
    assert contents(folder).left_out == ["00001.tar/9: no picture of that name"]


def test_runs_and_hidden_files_in_the_folder_are_skipped(folder):
    write_numbered_pictures(folder, 10)
    before = registry.source(data_config(folder)).directory
    run = {"runs/x/config.json": "{}", "runs/x/previews/1.png": picture(), "notes.md": "x"}
    write_files(folder, run | {"._1.png": b"", ".cache/a.png": b"", "runs/x/checkpoints/0": b""})
    source = registry.source(data_config(folder))
    assert source.directory == before and source.count("train") == 9


def test_links_are_followed_once(folder):
    write_files(folder.parent / "elsewhere", {"cat/1.png": picture(1)})
    write_files(folder, {"dog/2.png": picture(2), "dog/3.png": picture(3)})
    (folder / "cats").symlink_to(folder.parent / "elsewhere")
    (folder / "dog" / "loop").symlink_to(folder)
    (folder / "dog" / "dead.png").symlink_to(folder / "nowhere.png")
    found = by_name(folder)
    assert set(found) == {"cats/cat/1.png", "dog/2.png", "dog/3.png", "dog/dead.png"}

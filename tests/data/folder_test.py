"""Each layout of a folder is read: metadata, text files, sub-folders and shards."""

import os

from picture_folders import (
    by_name,
    contents,
    data_config,
    picture,
    prepared,
    write_files,
    write_numbered_pictures,
    write_shard,
)

from stackgan_jax.data import picture_files, registry


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


def test_parts_of_a_sample_share_the_key_up_to_the_first_dot(folder):
    files = {"1.jpg": picture(1, "JPEG"), "1.seg.jpg": picture(2, "JPEG"), "1.txt": b"one"}
    files |= {"2.input.png": picture(3), "2.json": b'{"caption": "two"}'}
    files |= {"a.b.png": picture(4), "a.b.txt": b"three", "._a.b.png": b"", "x.bmp": b""}
    write_shard(folder / "0.tar", files)
    captions = {name: record.captions for name, (_, record) in by_name(folder).items()}
    assert captions == {
        "0.tar/1.jpg": ("one",),
        "0.tar/2.input.png": ("two",),
        "0.tar/a.b.png": ("three",),
    }
    parts = ["0.tar/1.seg.jpg: another part of 1", "0.tar/x.bmp: no caption"]
    assert contents(folder).left_out == parts


def test_runs_and_hidden_files_in_the_folder_are_skipped(folder):
    write_numbered_pictures(folder, 10)
    before = registry.source(data_config(folder)).directory
    run = {"runs/x/config.json": "{}", "runs/x/previews/1.png": picture(), "notes.md": "x"}
    write_files(folder, run | {"._1.png": b"", ".cache/a.png": b"", "runs/x/checkpoints/0": b""})
    source = registry.source(data_config(folder))
    assert source.directory == before and source.count("train") == 9


def test_other_programs_folders_and_odd_files_are_never_read(folder):
    write_files(folder, {f"{kind}/{i}.JPG": picture(i, "JPEG") for kind in "ab" for i in range(3)})
    thumbnails = ["a/@eaDir/0.JPG/SYNOPHOTO_THUMB_M.jpg", "$RECYCLE.BIN/x.jpg", "#recycle/x.jpg"]
    thumbnails += ["__MACOSX/a/._0.JPG", ".ipynb_checkpoints/0-checkpoint.png"]
    write_files(folder, dict.fromkeys(thumbnails, picture(9, "JPEG")))
    write_files(folder, {"a/layers.psd": b"", "b/photo.nef": b""})
    for pipe in ("a/pipe.png", "metadata.jsonl"):
        os.mkfifo(folder / pipe)
    assert sorted(by_name(folder)) == [f"{kind}/{i}.JPG" for kind in "ab" for i in range(3)]
    assert contents(folder).left_out == [
        "#recycle: a folder of the system",
        "$RECYCLE.BIN: a folder of the system",
        "__MACOSX: a folder of the system",
        "a/@eaDir: a folder of the system",
        "a/layers.psd: .psd is not read; save it as png or jpg",
        "a/pipe.png: not a regular file",
        "b/photo.nef: .nef is not read; save it as png or jpg",
        "metadata.jsonl: not a regular file",
    ]


def test_every_suffix_of_a_format_is_read(folder):
    suffixes = ["jpg", "JPEG", "jpe", "jfif", "bmp", "tif", "avif", "apng"]
    avif = "AVIF" if "AVIF" in picture_files.formats() else "JPEG"
    kinds = {"bmp": "BMP", "tif": "TIFF", "avif": avif, "apng": "PNG"}
    files = {f"cat/{s}.{s}": picture(1, kinds.get(s, "JPEG")) for s in suffixes}
    write_files(folder, files | {"dog/x.heic": picture(1, "JPEG")})
    found = contents(folder)
    heic = [line for line in found.left_out if "pip install pillow-heif" in line]
    assert len(by_name(folder)) + len(heic) == 9
    assert len(prepared(folder)) + len(prepared(folder, "test")) == 9 - len(heic)


def test_links_are_followed_once(folder):
    write_files(folder.parent / "elsewhere", {"cat/1.png": picture(1)})
    write_files(folder, {"dog/2.png": picture(2), "dog/3.png": picture(3)})
    (folder / "cats").symlink_to(folder.parent / "elsewhere")
    (folder / "dog" / "loop").symlink_to(folder)
    (folder / "dog" / "dead.png").symlink_to(folder / "nowhere.png")
    found = by_name(folder)
    assert set(found) == {"cats/cat/1.png", "dog/2.png", "dog/3.png", "dog/dead.png"}

"""Folders as people keep them: each layout is read, each mess is told of, nothing stale is used."""

import io
import json
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stackgan_jax import sample, stages, text
from stackgan_jax.data import batches, input_pipeline, preparation, registry
from stackgan_jax.data.folder import layouts
from stackgan_jax.data.folder.annotations import clean
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"


def picture(number=0, kind="PNG", size=(8, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, (number % 256, number * 7 % 256, 99)).save(file, kind)
    return file.getvalue()


def put(folder, files):
    """Writes name → bytes, text, or JSON lines."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(line) + "\n" for line in content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(folder)


def data(folder, **changes):
    config = configuration.data_set("folder")
    config.update(path=str(folder), dir=str(Path(folder).parent / "cache"), max_damaged=0.99)
    config.update(changes)
    return config


def contents(folder, **changes):
    return registry.source(data(folder, **changes)).contents


def by_name(folder, **changes):
    """Name → (split, record) of the usable ones."""
    found = contents(folder, **changes).records
    return {r.name: (split, r) for split, each in found.items() for r in each if not r.problem}


def problems(folder):
    found = contents(folder).records
    return {r.name: r.problem for each in found.values() for r in each if r.problem}


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def test_metadata_jsonl(mine):
    lines = [
        {"file_name": "a.png", "text": " a red\tbird\n", "split": "train"},
        {"file_name": "sub/b.jpg", "text": ["two", "", "birds", "two"], "split": "validation"},
        {"file_name": "sub\\c.webp", "caption": "three", "class": "x", "bbox": [1, 2, 3, 4]},
    ]
    put(mine, {"metadata.jsonl": lines, "a.png": picture(), "loose.png": picture()})
    put(mine, {"sub/b.jpg": picture(1, "JPEG"), "sub/c.webp": picture(2, "WEBP")})
    found = by_name(mine)
    assert found["a.png"][1].captions == ("a red bird",)
    assert found["sub/b.jpg"][1].captions == ("two", "birds")
    assert found["sub/c.webp"][1].box == (1, 2, 3, 4)
    assert {n: split for n, (split, _) in found.items()} == {
        "a.png": "train",
        "sub/b.jpg": "test",
        "sub/c.webp": "train",
    }
    assert contents(mine).left_out == ["loose.png: not in the metadata"]


def test_metadata_csv_with_one_row_for_each_caption(mine):
    text = "\ufefffile_name,Text,class_id,bbox\r\n"
    text += 'a.png,"small, red",1,"[1, 2, 3, 4]"\r\na.png,"a ""red"" one",1,\r\n'
    text += 'b.png,"[""one"", ""two""]",10,\r\n'
    put(mine, {"metadata.csv": text, "a.png": picture(), "b.png": picture()})
    found = by_name(mine)
    assert found["a.png"][1].captions == ("small, red", 'a "red" one')
    assert found["a.png"][1].box == (1, 2, 3, 4)
    assert found["b.png"][1].captions == ("one", "two")


def test_metadata_in_split_folders(mine):
    for split in ("train", "test"):
        line = {"file_name": "a.png", "text": split}
        put(mine, {f"{split}/metadata.jsonl": [line], f"{split}/a.png": picture()})
    found = by_name(mine)
    assert {n: (s, r.captions) for n, (s, r) in found.items()} == {
        "train/a.png": ("train", ("train",)),
        "test/a.png": ("test", ("test",)),
    }


def test_text_beside_images(mine):
    put(mine, {"00000/1.jpg": picture(1, "JPEG"), "00000/1.txt": "one\r\n\r\nuno\n"})
    put(mine, {"00000/2.jpg": picture(2, "JPEG"), "00001/3.txt": "three", "00001/4.png": b""})
    put(mine, {"00001/4.txt": "four", "00000/1.json": "{}", ".hidden.png": b""})
    put(mine, {"00001/4.webp": b""})
    found = by_name(mine)
    assert found["00000/1.jpg"][1].captions == ("one", "uno")
    assert found.keys() == {"00000/1.jpg", "00001/4.png", "00001/4.webp"}
    assert set(contents(mine).left_out) == {
        "00000/2.jpg: no caption",
        "00001/3.txt: no picture beside it",
    }


def test_sub_folders_as_classes(mine):
    names = ["001.Black_footed_Albatross", "cat", "10_my-dog"]
    put(mine, {f"{name}/{i}.png": picture(i) for name in names for i in range(3)})
    found = by_name(mine)
    captions = {n.split("/")[0]: r.captions for n, (_, r) in found.items()}
    assert captions == {
        "001.Black_footed_Albatross": ("Black footed Albatross",),
        "cat": ("cat",),
        "10_my-dog": ("my dog",),
    }
    assert len({r.label for _, r in found.values()}) == 3


def shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def test_shards(mine):
    shard(
        mine / "00000.tar",
        {
            "1.jpg": picture(1, "JPEG"),
            "1.txt": b"one",
            "1.json": b'{"caption": "one", "class": "x", "split": "test", "width": 8}',
            "d/2.json": b'{"text": ["zwei", "two"]}',
            "d/2.png": picture(2),
        },
    )
    shard(mine / "00001.tar", {"1.webp": picture(3, "WEBP"), "1.txt": b"three", "9.txt": b"?"})
    found = by_name(mine)
    assert found["00000.tar/1.jpg"][0] == "test"
    assert found["00000.tar/1.jpg"][1].captions == ("one",)
    assert found["00000.tar/d/2.png"][1].captions == ("zwei", "two")
    assert found["00000.tar/d/2.png"][1].image.read() == picture(2)
    assert found["00001.tar/1.webp"][1].image.read() == picture(3, "WEBP")
    assert contents(mine).left_out == ["00001.tar/9: no picture of that name"]


def test_paths_and_links_outside_are_refused(mine):
    put(mine.parent, {"secret.png": picture()})
    outside = ["../secret.png", "/etc/hosts", "a/../../secret.png", "C:\\secret.png"]
    lines = [{"file_name": name, "text": "x"} for name in [*outside, "a.png", "b.png"]]
    put(mine, {"metadata.jsonl": lines, "a.png": picture(), "b.png": picture()})
    assert sum("outside the folder" in reason for reason in problems(mine).values()) == 4
    other = mine.parent / "shards"
    other.mkdir()
    members = {"../a.png": picture(), "/b.png": picture(), "c.png": None, "d.png": picture()}
    members |= {"d.txt": b"fine", "e.png": picture(), "e.txt": b"fine"}
    shard(other / "x.tar", members)
    assert problems(other) == {
        "x.tar/../a.png": "its path lies outside the shard",
        "x.tar//b.png": "its path lies outside the shard",
        "x.tar/c.png": "a link, not a file",
    }


def test_bad_rows_are_listed_with_their_reason(mine):
    good = [{"file_name": f"{i}.png", "text": "x"} for i in range(5)]
    lines = [json.dumps(line).encode() for line in good]
    lines += [b"{", b"[1]", b'{"text": "x"}', b'{"file_name": "none.png", "text": "x"}']
    lines += [b'{"file_name": "0.png", "text": 5}', b'{"file_name": "1.png", "text": "\xff"}']
    lines += [b'{"file_name": "2.png", "bbox": [1, 2]}', b'{"file_name": "3.png", "split": "no"}']
    lines += [b'{"file_name": "4.png", "text": "\\ud800"}', b"[" * 100_000]
    lines += [
        b'{"file_name": "5.png", "text": " \\u200b "}',
        b'{"file_name": "6.png", "text": "x"}',
    ]
    put(mine, {"metadata.jsonl": b"\n".join(lines)})
    put(mine, {f"{i}.png": picture(i) for i in range(7)})
    reasons = problems(mine)
    for name, reason in {
        "metadata.jsonl line 6": "no JSON",
        "metadata.jsonl line 7": "no JSON object",
        "metadata.jsonl line 8": "no file_name",
        "none.png": "there is no such file",
        "0.png": "neither a sentence",
        "metadata.jsonl line 11": "not UTF-8",
        "2.png": "its bbox is not",
        "3.png": "'no' is none of train",
        "4.png": "not UTF-8",
        "metadata.jsonl line 15": "no JSON",
    }.items():
        assert reason in reasons[name]
    assert contents(mine).left_out == ["5.png: no caption"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"notes.md": "x"}, "There are no pictures in the folder"),
        ({"a.png": picture()}, "None of the 1 pictures .* has a caption"),
        ({"a.png": picture(), "a.txt": "x"}, "only one usable image"),
        ({"metadata.csv": "a,b\n1,2\n"}, "has no column file_name .its columns: a, b"),
        ({"metadata.csv": "file_name,text\na.png,x".encode("utf-16")}, "UTF-16 text; save it as"),
        ({"x.tar": b"no tar" * 200}, "The shard x.tar is no whole, uncompressed tar"),
    ],
)
def test_a_folder_of_no_use_gets_a_sentence(mine, files, sentence):
    put(mine, files)
    with pytest.raises(UserError, match=sentence):
        contents(mine)


def test_what_may_not_be_read_gets_a_sentence(mine, monkeypatch):
    folder_of(mine, 4)
    opened = Path.open

    def refused(path, *arguments, **options):
        if path.name in ("001.txt", "metadata.jsonl"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)  # as root, who runs some tests, may read all
    assert problems(mine) == {"001.png": "its text file can't be read (Permission denied)"}
    (mine / "metadata.jsonl").touch()
    with pytest.raises(UserError, match=r"metadata.jsonl can't be read \(Permission denied\)"):
        contents(mine)


def test_a_shard_that_is_cut_off_is_refused(mine):
    whole = mine.parent / "whole.tar"
    shard(whole, {"1.png": picture(1), "1.txt": b"one", "2.png": picture(2), "2.txt": b"two"})
    content = whole.read_bytes()
    for length in (700, 1024 + 512 + 3, 512 * 5 - 100):
        (mine / "x.tar").write_bytes(content[:length])
        with pytest.raises(UserError, match="no whole, uncompressed tar"):
            contents(mine)


def test_a_run_and_hidden_files_in_the_folder_are_not_its_pictures(mine):
    folder_of(mine, 10)
    before = registry.source(data(mine)).directory
    run = {"runs/x/config.json": "{}", "runs/x/previews/1.png": picture(), "notes.md": "x"}
    put(mine, run | {"._1.png": b"", ".cache/a.png": b"", "runs/x/checkpoints/0": b""})
    source = registry.source(data(mine))
    assert source.directory == before and source.count("train") == 9


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others refuse such names")
def test_names_that_are_no_text(mine):
    for number in range(3):
        os.makedirs(os.fsencode(mine) + b"/\xff", exist_ok=True)
        with open(os.fsencode(mine) + b"/\xff/%d.png" % number, "wb") as file:
            file.write(picture(number))
    assert set(by_name(mine)) == {f"?/{number}.png" for number in range(3)}
    assert len(prepared(mine)) + len(prepared(mine, "test")) == 3


def test_links_are_followed_once(mine):
    put(mine.parent / "elsewhere", {"cat/1.png": picture(1)})
    put(mine, {"dog/2.png": picture(2), "dog/3.png": picture(3)})
    (mine / "cats").symlink_to(mine.parent / "elsewhere")
    (mine / "dog" / "loop").symlink_to(mine)
    (mine / "dog" / "dead.png").symlink_to(mine / "nowhere.png")
    found = by_name(mine)
    assert set(found) == {"cats/cat/1.png", "dog/2.png", "dog/3.png", "dog/dead.png"}


def prepared(folder, split="train", **changes):
    return input_pipeline.load(data(folder, **changes), split, 8)


def folder_of(mine, images, **extra):
    put(mine, {f"{i:03d}.png": picture(i) for i in range(images)})
    put(mine, {f"{i:03d}.txt": f"number {i}" for i in range(images)})
    return put(mine, extra)


def test_prepared_pictures_are_the_folders(mine):
    folder_of(mine, 20)
    train, test = prepared(mine), prepared(mine, "test")
    assert (len(train), len(test)) == (18, 2)
    shown = {}
    for split in (train, test):
        for image, captions, label in zip(split.images, split.captions, split.labels, strict=True):
            number = int(captions[0].split()[1])
            assert (image == [number, number * 7 % 256, 99]).all()
            shown[number] = label
    assert len(shown) == len(set(shown.values())) == 20  # no classes: each caption is its own


def test_damaged_images_are_skipped_listed_and_limited(mine, capsys):
    folder_of(mine, 20)
    for broken, content in {"003": b"<html>", "007": picture(7)[:50]}.items():
        put(mine, {f"{broken}.png": content})
    split = prepared(mine, test_fraction=0.05)
    facts = preparation.facts(split.directory)
    assert (len(split), facts["damaged"]) == (17, 2) or (len(split), facts["damaged"]) == (18, 1)
    listed = (split.directory / preparation.PROBLEMS).read_text()
    assert "003.png: no JPEG, PNG, WEBP or GIF image\n" in listed
    with pytest.raises(UserError, match=r"can't be used, more than config.data.max_damaged=0.01"):
        prepared(mine, test_fraction=0.05, max_damaged=0.01)


def test_nothing_but_damaged_images(mine):
    folder_of(mine, 4)
    put(mine, {f"{i:03d}.png": b"x" for i in range(4)})
    with pytest.raises(UserError, match=r"3 of 3 images .* mend them"):
        prepared(mine, max_damaged=1.0)


def test_a_changed_folder_is_prepared_anew_and_a_moved_one_is_not(mine):
    folder_of(mine, 10)
    first = prepared(mine)
    assert prepared(mine).directory == first.directory
    moved = mine.parent / "elsewhere" / "mine"
    moved.parent.mkdir()
    mine.rename(moved)
    cache = str(mine.parent / "cache")
    assert prepared(moved, dir=cache).directory == first.directory
    put(moved, {"000.txt": "numeral 0"})
    again = prepared(moved, dir=cache)
    assert again.directory != first.directory
    os.utime(moved / "000.txt", ns=(1, 1))
    touched = prepared(moved, dir=cache)
    assert touched.directory != again.directory
    facts = [preparation.facts(split.directory) for split in (first, again, touched)]
    fingerprints = [each["fingerprint"] for each in facts]
    assert fingerprints[0] != fingerprints[1] == fingerprints[2]


def test_a_run_refuses_other_data(mine, tmp_path):
    folder_of(mine, 10)
    run = tmp_path / "run"
    run.mkdir()
    input_pipeline.record_data(prepared(mine), run)
    input_pipeline.record_data(prepared(mine), run)
    put(run, {"checkpoints/4/state": b""})
    put(mine, {f"{i:03d}.txt": "other" for i in range(10)})
    with pytest.raises(UserError, match=r"was trained on 9 images .* with other contents"):
        input_pipeline.record_data(prepared(mine), run)


def test_an_encoder_trained_on_other_data_is_told_of(mine, tmp_path, capsys):
    folder_of(mine, 10)
    input_pipeline.record_data(prepared(mine), tmp_path)
    input_pipeline.warn_of_other_data(prepared(mine), tmp_path)
    assert "other data" not in capsys.readouterr().out
    input_pipeline.warn_of_other_data(prepared(mine, "test"), tmp_path)
    assert "was trained on other data: 9 images of the folder" in capsys.readouterr().out


def test_what_an_interrupted_preparation_left_is_swept(mine):
    folder_of(mine, 10)
    source = registry.source(data(mine))
    place = preparation.place(source, "train", 8, "square")
    left = put(place.parent, {f".{place.name}.partial/images.npy": b"half"})
    split = prepared(mine)
    assert len(split) == 9 and split.directory == place
    assert not (left / ".train.partial").exists()


def test_a_folder_that_changes_meanwhile_is_told(mine, monkeypatch):
    folder_of(mine, 10)
    source = registry.source(data(mine))
    assert source.count("train") == 9
    put(mine, {"010.png": picture()})
    monkeypatch.setattr(registry, "source", lambda _: source)
    with pytest.raises(UserError, match="Files changed in the folder"):
        prepared(mine)


def test_splits_hold_out_classes_where_there_are_many(mine):
    lines = [
        {"file_name": f"{i}.png", "text": f"bird {i}", "class_id": i % 25, "class_name": "x"}
        for i in range(100)
    ]
    put(mine, {"metadata.jsonl": lines} | {f"{i}.png": picture(i) for i in range(100)})
    found = by_name(mine)
    classes = {"train": set(), "test": set()}
    for split, record in found.values():
        classes[split].add(record.label)
        assert record.label == int(record.captions[0].split()[1]) % 25
    assert not classes["train"] & classes["test"] and len(classes["test"]) == 2
    by_caption = by_name(mine, classes="captions")
    assert len({record.label for _, record in by_caption.values()}) == 100
    with pytest.raises(UserError, match="not a number between 0 and 1"):
        by_name(mine, test_fraction=1.5)
    with pytest.raises(UserError, match="'some'; choose from auto, given, captions"):
        by_name(mine, classes="some")


def test_images_stay_in_their_split_when_others_come(mine):
    folder_of(mine, 40)
    before = {name for name, (split, _) in by_name(mine).items() if split == "test"}
    folder_of(mine, 44)
    after = {name for name, (split, _) in by_name(mine).items() if split == "test"}
    assert len(before) == len(after) == 4
    assert len(before & after) >= 3


def test_one_class_is_mismatched_by_caption(mine):
    put(mine, {f"cat/{i}.png": picture(i) for i in range(6)})
    put(mine, {f"cat/{i}.txt": f"cat {i // 2}" for i in range(6)})
    labels = {n: record.label for n, (_, record) in by_name(mine).items()}
    assert len(set(labels.values())) == 3
    assert labels["cat/0.png"] == labels["cat/1.png"] != labels["cat/2.png"]
    (remark,) = contents(mine).remarks
    assert "1 class is too few" in remark
    with pytest.raises(UserError, match="only one class"):
        by_name(mine, classes="given")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
keys = st.sampled_from(["file_name", "text", "caption", "class_id", "class", "bbox", "split"])
names = st.sampled_from(["a.png", "b.png", "../a.png", "sub/c.png", ""])
rows = st.dictionaries(keys, anything | names | st.just([1, 2, 3, 4]), max_size=5)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """name, content → the rows of a folder of that file and two images, each of them sound."""
    folder = put(tmp_path_factory.mktemp("fuzz"), {"a.png": b"1", "sub/c.png": b"2"})
    images = {"a.png": folder / "a.png", "sub/c.png": folder / "sub" / "c.png"}

    def read(name, content):
        put(folder, {name: content})
        left = []
        try:
            found = layouts.read({name: folder / name, **images}, left)
        except UserError as error:
            assert str(error)
            return []
        assert len({row.name for row in found}) == len(found)
        for row in found:
            assert row.problem or row.image is not None
            assert all(caption and caption == clean(caption) for caption in row.annotation.captions)
            assert row.annotation.split in ("", "train", "test")
            f"{row.name} {row.annotation.captions} {row.problem} {left}".encode()
        return found

    return read


fuzz = settings(max_examples=50, deadline=None)


@fuzz
@given(st.lists(rows, max_size=4))
def test_any_json_rows(read, lines):
    found = read("metadata.jsonl", lines)
    assert len(found) <= len(lines)


@fuzz
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_as_json_lines(read, lines):
    read("metadata.jsonl", b"\n".join(lines))


cells = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(["a.png", '["x"]'])


@fuzz
@given(st.lists(st.lists(cells, min_size=1, max_size=4), max_size=4), st.binary(max_size=20))
def test_any_csv(read, table, after):
    text = "file_name,text,bbox\n" + "\n".join(",".join(row) for row in table)
    read("metadata.csv", text.encode() + after)


@fuzz
@given(st.binary(max_size=60))
def test_any_text_file(read, content):
    (row, other) = read("a.txt", content)
    assert (row.name, other.annotation.captions) == ("a.png", ())
    if not row.problem:
        assert len(row.annotation.captions) <= len(content.splitlines()) + 1


def _whole_shard():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in {"1.png": b"12345", "1.txt": b"one", "1.json": b"{}"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()[: 512 * 8]


SHARD = _whole_shard()


@fuzz
@given(st.data())
def test_any_damage_to_a_shard(read, data):
    content = bytearray(SHARD)
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read("x.tar", bytes(content[: data.draw(st.integers(0, len(content)))]))


def test_a_large_table_of_captions_is_kept_as_it_is(mine):
    """Captions of every script survive preparation."""
    captions = ["ein Vogel, größer", "鳥", "👩‍🚀 in space", "a" * 300]
    lines = [{"file_name": f"{i}.png", "text": text} for i, text in enumerate(captions)]
    put(mine, {"metadata.jsonl": lines} | {f"{i}.png": picture(i) for i in range(4)})
    both = [*prepared(mine).captions, *prepared(mine, "test").captions]
    assert sorted(both) == sorted([text] for text in captions)
    assert np.load(prepared(mine).directory / "sizes.npy").tolist() == [[8, 8]] * 3


def test_fewer_images_than_a_batch_get_a_sentence(mine):
    folder_of(mine, 10)
    split = prepared(mine)
    embeddings = batches.CaptionEmbeddings(np.zeros((9, 4), np.float32), np.arange(10))
    with pytest.raises(UserError, match=r"batch_size 64 is more than the .* 9 images; .* to 9"):
        batches.image_text(split.images, split.labels, embeddings, 64, 1, 0)


@pytest.mark.slow
def test_from_one_class_without_a_split_to_pictures(mine, small_config, capsys):
    """All of it on 24 pictures of one class; then other pictures are refused."""
    put(mine, {f"cat/{i}.png": picture(i, size=(30 + i, 40)) for i in range(24)})
    put(mine, {f"cat/{i}.txt": f"a cat with {i} legs" for i in range(24)})
    runs = mine.parent / "runs"

    def config(kind, **changes):
        made = small_config(kind, text_encoder=str(runs / "text_encoder"), **changes)
        with made.unlocked():
            made.data, made.dataset = data(mine), "folder"
        return made

    encoder = small_config("text_encoder")
    with encoder.unlocked():
        encoder.data, encoder.dataset = data(mine), "folder"
    stages.run(encoder, runs / "text_encoder", CONFIGS)
    stages.run(config("stage1"), runs / "stage1", CONFIGS)
    stages.run(config("stage2", stage1=str(runs / "stage1")), runs / "stage2", CONFIGS)
    assert len(list((runs / "stage2" / "previews").iterdir())) == 1
    pictures = sample.generate(runs / "stage2", text.embed(runs / "stage2", ["a dog"]), seed=0)
    assert pictures["stage2"].shape == (1, 64, 64, 3)
    put(mine, {"cat/0.txt": "a cat with a hat"})
    other = config("stage1", steps=6)
    other.data.path = str(mine.rename(mine.parent / "other"))
    with pytest.raises(UserError, match="with other contents"):
        stages.run(other, runs / "stage1", CONFIGS)
    assert configuration.read(runs / "stage1" / "config.json").data.path == str(mine)

"""Images of a folder are divided into classes and splits."""

import pytest
from picture_folders import by_name, contents, picture, write_files, write_numbered_pictures

from stackgan_jax.runtime.errors import UserError


def test_whole_classes_are_held_out_if_there_are_many(folder):
    lines = [
        {"file_name": f"{i}.png", "text": f"bird {i}", "class_id": i % 25, "class_name": "x"}
        for i in range(100)
    ]
    write_files(folder, {"metadata.jsonl": lines} | {f"{i}.png": picture(i) for i in range(100)})
    found = by_name(folder)
    classes = {"train": set(), "test": set()}
    for split, record in found.values():
        classes[split].add(record.label)
        assert record.label == int(record.captions[0].split()[1]) % 25
    assert not classes["train"] & classes["test"] and len(classes["test"]) == 2
    by_caption = by_name(folder, classes="captions")
    assert len({record.label for _, record in by_caption.values()}) == 100
    with pytest.raises(UserError, match="not a number between 0 and 1"):
        by_name(folder, test_fraction=1.5)
    with pytest.raises(UserError, match="'some'; choose from auto, given, captions"):
        by_name(folder, classes="some")


def test_images_stay_in_their_split_when_images_are_added(folder):
    write_numbered_pictures(folder, 40)
    before = {name for name, (split, _) in by_name(folder).items() if split == "test"}
    write_numbered_pictures(folder, 44)
    after = {name for name, (split, _) in by_name(folder).items() if split == "test"}
    assert len(before) == len(after) == 4
    assert len(before & after) >= 3


def test_images_of_one_class_are_mismatched_by_caption(folder):
    write_files(folder, {f"cat/{i}.png": picture(i) for i in range(6)})
    write_files(folder, {f"cat/{i}.txt": f"cat {i // 2}" for i in range(6)})
    labels = {n: record.label for n, (_, record) in by_name(folder).items()}
    assert len(set(labels.values())) == 3
    assert labels["cat/0.png"] == labels["cat/1.png"] != labels["cat/2.png"]
    _, remark = contents(folder).remarks
    assert "1 class is too few" in remark
    with pytest.raises(UserError, match="only one class"):
        by_name(folder, classes="given")

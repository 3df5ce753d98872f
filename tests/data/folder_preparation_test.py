"""A folder is decoded into splits, again only if it has changed, and complete or not at all."""

import os
import sys

import numpy as np
import pytest
from picture_folders import (
    by_name,
    data_config,
    picture,
    prepared,
    write_files,
    write_numbered_pictures,
)

from stackgan_jax.data import preparation, registry
from stackgan_jax.runtime.errors import UserError


def test_prepared_splits_hold_the_pictures_of_the_folder(folder):
    write_numbered_pictures(folder, 20)
    train, test = prepared(folder), prepared(folder, "test")
    assert (len(train), len(test)) == (18, 2)
    shown = {}
    for split in (train, test):
        for image, captions, label in zip(split.images, split.captions, split.labels, strict=True):
            number = int(captions[0].split()[1])
            assert (image == [number, number * 7 % 256, 99]).all()
            shown[number] = label
    assert len(shown) == len(set(shown.values())) == 20  # without classes, each caption is a class


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems reject these names")
def test_file_names_that_are_not_utf8_can_be_prepared(folder):
    for number in range(3):
        os.makedirs(os.fsencode(folder) + b"/\xff", exist_ok=True)
        with open(os.fsencode(folder) + b"/\xff/%d.png" % number, "wb") as file:
            file.write(picture(number))
    assert set(by_name(folder)) == {f"?/{number}.png" for number in range(3)}
    assert len(prepared(folder)) + len(prepared(folder, "test")) == 3


def test_captions_in_any_script_are_kept(folder):
    captions = ["ein Vogel, größer", "鳥", "👩‍🚀 in space", "a" * 300]
    lines = [{"file_name": f"{i}.png", "text": text} for i, text in enumerate(captions)]
    write_files(folder, {"metadata.jsonl": lines} | {f"{i}.png": picture(i) for i in range(4)})
    both = [*prepared(folder).captions, *prepared(folder, "test").captions]
    assert sorted(both) == sorted([text] for text in captions)
    assert np.load(prepared(folder).directory / "sizes.npy").tolist() == [[8, 8]] * 3


def test_damaged_images_are_skipped_listed_and_limited(folder, capsys):
    write_numbered_pictures(folder, 20)
    for broken, content in {"003": b"<html>", "007": picture(7)[:50]}.items():
        write_files(folder, {f"{broken}.png": content})
    split = prepared(folder, test_fraction=0.05)
    facts = preparation.facts(split.directory)
    assert (len(split), facts["damaged"]) == (17, 2) or (len(split), facts["damaged"]) == (18, 1)
    listed = (split.directory / preparation.LEFT_OUT).read_text()
    assert (
        "003.png: not a JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIF, JPEG2000 or PPM image\n"
        in listed
    )
    with pytest.raises(UserError, match=r"can't be used, more than config.data.max_damaged=0.01"):
        prepared(folder, test_fraction=0.05, max_damaged=0.01)


def test_a_folder_of_damaged_images_raises_a_user_error(folder):
    write_numbered_pictures(folder, 4)
    write_files(folder, {f"{i:03d}.png": b"x" for i in range(4)})
    with pytest.raises(UserError, match=r"3 of 3 images .* repair them"):
        prepared(folder, max_damaged=1.0)


def test_a_changed_folder_is_prepared_again_and_a_moved_one_is_not(folder):
    write_numbered_pictures(folder, 10)
    first = prepared(folder)
    assert prepared(folder).directory == first.directory
    moved = folder.parent / "elsewhere" / folder.name
    moved.parent.mkdir()
    folder.rename(moved)
    cache = str(folder.parent / "cache")
    assert prepared(moved, dir=cache).directory == first.directory
    write_files(moved, {"000.txt": "numeral 0"})
    again = prepared(moved, dir=cache)
    assert again.directory != first.directory
    os.utime(moved / "000.txt", ns=(1, 1))
    touched = prepared(moved, dir=cache)
    assert touched.directory != again.directory
    facts = [preparation.facts(split.directory) for split in (first, again, touched)]
    fingerprints = [each["fingerprint"] for each in facts]
    assert fingerprints[0] != fingerprints[1] == fingerprints[2]


def test_files_of_an_interrupted_preparation_are_removed(folder):
    write_numbered_pictures(folder, 10)
    source = registry.source(data_config(folder))
    place = preparation.place(source, "train", 8, "square")
    partial = [f".{place.name}{ending}" for ending in (".partial", "-x1y2z3", "-x1y2z3-replaced")]
    write_files(place.parent, {f"{name}/images.npy": b"half" for name in partial})
    split = prepared(folder)
    assert len(split) == 9 and split.directory == place
    assert not any((place.parent / name).exists() for name in partial)


def test_a_folder_that_changes_during_preparation_raises_a_user_error(folder, monkeypatch):
    write_numbered_pictures(folder, 10)
    source = registry.source(data_config(folder))
    assert source.count("train") == 9
    write_files(folder, {"010.png": picture()})
    monkeypatch.setattr(registry, "source", lambda _: source)
    with pytest.raises(UserError, match="Files changed in the folder"):
        prepared(folder)

"""Pages of pictures: folders of single files, recipes inside PNGs, seeds, long rows."""

import base64
import contextlib
import io
import os
import pty
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from stackgan_jax import sheets
from stackgan_jax.runtime.errors import UserError

CAPTIONS = ("a red bird", "ein größer Vogel")


def pictures(folder):
    return {path.stem: np.asarray(Image.open(path)) for path in folder.glob("caption*.png")}


def test_a_folder_gets_the_page_and_each_picture_by_caption_and_seed(runs, tmp_path):
    request = sheets.Request(CAPTIONS, seeds=(2, 0), truncation=0.7)
    for _ in range(2):  # Own earlier files are replaced.
        sheets.write(runs / "stage1", request, f"{tmp_path}/birds/")
    folder = tmp_path / "birds"
    names = [f"caption{c}_seed{s}.png" for c in (1, 2) for s in (0, 2)]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "samples.png"]
    recipe = Image.open(folder / names[2]).text
    assert recipe["caption"] == CAPTIONS[1] and recipe["seed"] == "0" and recipe["step"] == "4"
    assert recipe["truncation"] == "0.7" and recipe["run"] == str(runs / "stage1")
    whole = Image.open(folder / "samples.png").text
    assert whole["caption"] == "\n".join(CAPTIONS) and whole["seed"] == "2,0"
    assert {picture.shape for picture in pictures(folder).values()} == {(16, 16, 3)}


def test_a_picture_is_drawn_again_alone_by_its_seed(runs, tmp_path):
    among, alone = tmp_path / "among", tmp_path / "alone"
    for folder in (among, alone):
        folder.mkdir()
    sheets.write(runs / "stage2", sheets.Request(CAPTIONS, seeds=range(5)), among)
    sheets.write(runs / "stage2", sheets.Request(CAPTIONS[1:], seeds=[3]), alone)
    np.testing.assert_array_equal(
        pictures(among)["caption2_seed3"], pictures(alone)["caption1_seed3"]
    )


@pytest.mark.parametrize("interpolate", [False, True])
def test_forty_pictures_are_no_strip(interpolate, runs, tmp_path):
    page = tmp_path / "page.jpg"
    sheets.write(runs / "stage2", sheets.Request(CAPTIONS, 40, interpolate=interpolate), page)
    width, height = Image.open(page).size
    assert width <= 8 * 70 + 6 and height >= 5 * 70


def test_nothing_is_left_of_what_fails(runs, tmp_path, monkeypatch):
    request = sheets.Request(CAPTIONS, seeds=[0])
    with pytest.raises(UserError, match="There is no run"):
        sheets.write(tmp_path / "none", request, f"{tmp_path}/birds/")
    monkeypatch.setattr(
        Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(UserError, match="can't be written"):
        sheets.write(runs / "stage1", request, tmp_path / "page.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("caption", ["a bird \udcff", "a red\nbird", "a bird 👩\u200d👧", "鸟 red"])
def test_any_caption_can_be_drawn(caption, runs, tmp_path):
    sheets.write(runs / "stage1", sheets.Request([caption], seeds=[0]), tmp_path)
    assert Image.open(tmp_path / "caption1_seed0.png").text["caption"]


@pytest.mark.parametrize("given", ["", "a", "7-0", "-1", "0,", "0--3", "0-9999", "0-3,99999999999"])
def test_bad_seeds_are_refused_in_one_sentence(given):
    with pytest.raises(UserError, match=f"--seeds={given} "):
        sheets.parse_seeds(given)


def test_seeds_are_numbers_and_ranges():
    assert sheets.parse_seeds("0-3,8,5") == [0, 1, 2, 3, 8, 5]


@pytest.mark.parametrize("show", [True, False])
def test_a_terminal_shows_the_page_that_is_written(show, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, "TERM": "xterm-kitty", "COLUMNS": "80"})
    page = tmp_path / "page.png"
    ours, terminals = pty.openpty()
    with ThreadPoolExecutor() as reader, open(ours, "rb", buffering=0) as screen:
        written = reader.submit(lambda: b"".join(iter(lambda: screen.read(1), b"\n")))
        with open(terminals, "w") as terminal, contextlib.redirect_stdout(terminal):
            sheets.write(runs / "stage1", sheets.Request(CAPTIONS, 3), page, show)
            written = written.result()
    encoded = b"".join(re.findall(rb"\x1b_G[^;]*;([^\x1b]*)\x1b\\", written))
    assert bool(encoded) == show
    if show:
        shown = Image.open(io.BytesIO(base64.b64decode(encoded)))
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(Image.open(page)))

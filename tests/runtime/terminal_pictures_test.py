"""Pictures in the terminal: by its environment, back from what is written, never in a pipe."""

import base64
import io
import os
import re

import numpy as np
import pytest
from PIL import Image

from stackgan_jax.runtime import terminal_pictures

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
TRUECOLOR = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),  # through ssh
        (TRUECOLOR | {"TERM_PROGRAM": "vscode"}, "iterm2"),
        (TRUECOLOR | {"TERM_PROGRAM": "vscode", "KITTY_WINDOW_ID": "1"}, "iterm2"),
        (TRUECOLOR | {"TERM_PROGRAM": "Other", "LC_TERMINAL": "iTerm2"}, "blocks"),
        ({"TERM": "xterm-kitty", "TERM_PROGRAM": "vscode"}, "kitty"),
        (TRUECOLOR, "blocks"),
        (TRUECOLOR | {"NO_COLOR": "1"}, ""),
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, ""),
        ({"TMUX": "x", "TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, ""),
        (TRUECOLOR | {"TMUX": "x", "LC_TERMINAL": "iTerm2"}, "blocks"),
        (TRUECOLOR | {"STY": "x", "KITTY_WINDOW_ID": "1"}, ""),
        (TRUECOLOR | {"JPY_PARENT_PID": "1", "TERM_PROGRAM": "iTerm.app"}, ""),  # a notebook
        ({}, ""),
    ],
)
def test_the_environment_says_how_pictures_are_shown(environment, expected):
    assert terminal_pictures.protocol(environment) == expected


def opened(encoded):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))))


def test_kitty_gets_a_png_in_chunks():
    written = terminal_pictures.kitty(PICTURE, columns=80)
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", written)
    assert "".join(f"\x1b_G{keys};{chunk}\x1b\\" for keys, chunk in parts) == written
    (first, *_, last), chunks = zip(*parts, strict=True)
    assert first == "a=T,f=100,q=2,c=11,m=1" and last == "m=0"
    assert len(parts) > 2 and {len(chunk) for chunk in chunks[:-1]} == {4096}
    np.testing.assert_array_equal(opened("".join(chunks)), PICTURE)


def test_a_picture_in_one_chunk_is_the_last():
    assert ",m=0;" in terminal_pictures.kitty(PICTURE[:2, :2], columns=80)


def test_iterm2_gets_a_png_no_wider_than_the_terminal():
    written = terminal_pictures.iterm2(PICTURE, columns=10)
    match = re.fullmatch(r"\x1b\]1337;File=inline=1;size=(\d+);width=10:([^\x07]*)\x07", written)
    assert int(match[1]) == len(base64.b64decode(match[2]))
    np.testing.assert_array_equal(opened(match[2]), PICTURE)


def test_blocks_are_two_pixels_each_and_as_many_pictures_as_fit():
    pixels = PICTURE[:24, :24]
    pictures = [np.kron(pixels, np.ones((2, 2, 1), np.uint8))] * 8
    lines = terminal_pictures.blocks(pictures, columns=80).splitlines()
    assert [re.sub(r"\x1b\[[^m]*m", "", line) for line in lines] == [" ".join(["▀" * 24] * 3)] * 12
    colours = [re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)", each) for each in lines]
    back = np.array(colours, int).reshape(12, 3, 24, 2, 3).transpose(1, 0, 3, 2, 4)
    for each in back.reshape(3, 24, 24, 3):
        np.testing.assert_array_equal(each, pixels)


def test_a_narrow_terminal_gets_a_small_picture():
    written = terminal_pictures.blocks([PICTURE[:60, :60]], columns=9)
    assert written.count("▀") == 9 * 4 and len(written.splitlines()) == 4


def test_a_pipe_gets_nothing(monkeypatch, capfd):
    monkeypatch.setattr(os, "environ", {"TERM": "xterm-kitty"})
    terminal_pictures.show(PICTURE, [[PICTURE]], ["a bird"])
    assert capfd.readouterr().out == ""

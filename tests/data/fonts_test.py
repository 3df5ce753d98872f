"""Fonts of captions: letters are drawn as they are, or it is said that they can't be."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from stackgan_jax.data import fonts


def drawn(text):
    page = Image.new("L", (300, 30), "white")
    fonts.draw_line(ImageDraw.Draw(page), (4, 4), text, 16)
    return np.asarray(page)


@pytest.mark.parametrize("letters", ["é", "–", "→", "птица", "größer"])
def test_letters_beyond_ascii_are_no_boxes(letters):
    if fonts._font(fonts.NAMES[0], 16) is None:
        pytest.skip("DejaVu is not on this machine")
    lacking = drawn(fonts.NO_CHARACTER * len(letters))
    assert (drawn(letters) != lacking).any()
    assert all(fonts._font_of(letter) is not None for letter in letters)


def test_what_no_font_has_is_said_once(capsys, monkeypatch):
    monkeypatch.setattr(fonts, "_font_of", lambda letter: None if letter in "鸟🐦" else "")
    fonts._remark.cache_clear()
    for _ in range(2):
        fonts.remark_missing("a red 鸟 🐦 鸟")
    assert capsys.readouterr().out.count("\n") == 1
    fonts.remark_missing("a red bird")
    assert not capsys.readouterr().out


def test_a_long_text_is_cut_at_the_last_line_it_may_have():
    lines = fonts.wrap("a small red bird with black wings " * 5, 150, 11, max_lines=3)
    assert len(lines) == 3 and lines[-1].endswith("…")

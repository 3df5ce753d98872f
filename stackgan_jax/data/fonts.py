"""Fonts of captions: each letter is drawn in a font of this machine that has it."""

import functools
import itertools
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator

from PIL import ImageDraw, ImageFont

# Pillow looks for these in the system's font folders. They are tried in this order, after Pillow's
# own font, which has few letters.
NAMES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "arialuni.ttf",
    "segoeui.ttf",
    "NotoSansCJK-Regular.ttc",
    "PingFang.ttc",
    "msyh.ttc",
)
NO_CHARACTER = "\uffff"  # A font draws it as its sign for a letter that it lacks.

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def line_height(size: int) -> int:
    """The distance of two lines in pixels, for letters of `size` pixels."""
    return round(size * 1.3)


def wrap(text: str, width: int, size: int, max_lines: int | None = None) -> list[str]:
    """Breaks a text between words into lines; a word that is longer than a line is broken too.

    Args:
        text: of one paragraph.
        width: of the lines in pixels.
        size: of the letters in pixels.
        max_lines: what is left of a longer text is replaced by "…".

    Returns:
        One line or more.
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if length(longer, size) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and length(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    lines = [line for line in lines if line] or [""]
    if max_lines is None or len(lines) <= max_lines:
        return lines
    return [*lines[: max_lines - 1], f"{lines[max_lines - 1]} …"]


def length(text: str, size: int) -> float:
    """The width of a line in pixels."""
    return sum(font.getlength(piece) for font, piece in _pieces(text, size))


def draw_line(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int) -> None:
    """Draws a line of black letters.

    Args:
        draw: where to draw.
        place: of the line's upper left corner, x and y in pixels.
        text: without line breaks.
        size: of the letters in pixels.
    """
    x, y = place
    for font, piece in _pieces(text, size):
        draw.text((x, y + size), piece, "black", font, anchor="ls")
        x += font.getlength(piece)


def remark_missing(text: str) -> None:
    """Says once which letters of a text no font of this machine has."""
    missing = [letter for letter in sorted(set(text)) if _font_of(letter) is None]
    if missing:
        _remark(" ".join(missing))


@functools.cache
def _remark(missing: str) -> None:
    print(
        f"No font on this machine has {missing}, so captions show boxes there; install a scalable "
        "font that has them, for example of Noto (fonts.google.com/noto).",
        flush=True,
    )


@functools.lru_cache(maxsize=4096)
def _pieces(text: str, size: int) -> list[tuple[Font, str]]:
    """Cuts a line into pieces with one font each: one piece, if a font has all letters."""
    for name in ("", *NAMES[:1]):
        if all(_has(name, letter) for letter in text):
            return [(_font(name, size), text)]
    groups = itertools.groupby(text, lambda letter: _font_of(letter) or "")
    return [(_font(name, size), "".join(letters)) for name, letters in groups]


@functools.cache
def _font_of(letter: str) -> str | None:
    """The first font that has a letter: its name or path, "" for Pillow's own; None for none."""
    return next((name for name in _candidates(letter) if _has(name, letter)), None)


def _candidates(letter: str) -> Iterator[str]:
    """The fonts that are tried for a letter; fontconfig, if there is one, knows the last."""
    yield ""
    yield from NAMES
    if shutil.which("fc-match"):
        pattern = f":scalable=true:charset={ord(letter):x}"
        command = ["fc-match", "--format=%{file}", pattern]
        yield subprocess.run(command, capture_output=True, text=True, check=False).stdout


@functools.cache
def _has(name: str, letter: str) -> bool:
    """Whether a font is on this machine and has a letter; all have spaces and marks."""
    font = _font(name, 16)
    if font is None:
        return False
    if unicodedata.category(letter)[0] in "CMZ":
        return True
    mask, lacking = font.getmask(letter), font.getmask(NO_CHARACTER)
    return (mask.size, bytes(mask)) != (lacking.size, bytes(lacking))


@functools.cache
def _font(name: str, size: int) -> Font | None:
    """A font by its name or path; None if it is not on this machine or can't be scaled."""
    try:
        return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    except OSError:
        return None

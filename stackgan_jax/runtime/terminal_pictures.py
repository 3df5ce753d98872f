"""Pictures in the terminal, in the way that its environment variables say it can show them.

The terminal is never asked: one that does not answer would hang the program.

References:
    iTerm2, Inline Images Protocol: https://iterm2.com/documentation-images.html
    kitty, Terminal graphics protocol: https://sw.kovidgoyal.net/kitty/graphics-protocol/
"""

import base64
import io
import os
import shutil
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

# Values of TERM_PROGRAM and TERM; WezTerm has both protocols.
ITERM2 = ("iTerm.app", "WezTerm", "vscode", "mintty", "WarpTerminal", "rio")
KITTY = ("xterm-kitty", "xterm-ghostty", "ghostty")
CHUNK = 4096  # bytes of base64 at most in one escape sequence of kitty's
CELL = 8  # pixels that a character is wide at least
SIDE = 24  # characters that a picture in blocks is wide


def protocol(environment: Mapping[str, str]) -> str:
    """How a terminal shows pictures: "kitty", "iterm2", "blocks", or "" where it can't.

    A terminal program passes its variables on to the programs that are started in it, other
    terminals included, so that those that only one terminal sets are looked at first.

    Args:
        environment: the environment variables of a program in the terminal.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    # GNU screen misreads colours of 24 bits; a notebook stores what is written as text.
    if term in ("", "dumb") or "STY" in environment or "JPY_PARENT_PID" in environment:
        return ""
    if "TMUX" not in environment and "ZELLIJ" not in environment:
        if term in KITTY or program in KITTY:
            return "kitty"
        if program in ITERM2 or (not program and environment.get("LC_TERMINAL") == "iTerm2"):
            return "iterm2"
        if not program and "KITTY_WINDOW_ID" in environment:
            return "kitty"
    if environment.get("COLORTERM") in ("truecolor", "24bit") and not environment.get("NO_COLOR"):
        return "blocks"
    return ""


def show(page: np.ndarray, rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str]) -> None:
    """Shows a page on stdout, if that is a terminal that can show pictures.

    A terminal without a protocol for pictures gets blocks of two pixels: in place of the page,
    whose letters would be too small, the first pictures of each row.

    Args:
        page: `[h, w, 3]` uint8.
        rows: its pictures, `[s, s, 3]` uint8.
        titles: of the rows.
    """
    if not sys.stdout.isatty():
        return
    columns = shutil.get_terminal_size().columns
    kind = protocol(os.environ)
    if kind == "kitty":
        print(kitty(page, columns))
    elif kind == "iterm2":
        print(iterm2(page, columns))
    elif kind == "blocks" and "utf" in (sys.stdout.encoding or "").lower():
        for row, title in zip(rows, titles, strict=True):
            print(f"{title}\n{blocks(row, columns)}")


def kitty(picture: np.ndarray, columns: int) -> str:
    """The escape sequences of kitty's graphics protocol for a picture.

    Args:
        picture: `[h, w, 3]` uint8.
        columns: characters that it may be wide.
    """
    encoded = _png(picture)
    chunks = [encoded[start : start + CHUNK] for start in range(0, len(encoded), CHUNK)]
    # Transmit and display a PNG; the terminal does not answer (q=2).
    keys = [f"a=T,f=100,q=2,c={_width(picture, columns)},", *[""] * (len(chunks) - 1)]
    more = [*[1] * (len(chunks) - 1), 0]
    parts = zip(keys, more, chunks, strict=True)
    return "".join(f"\x1b_G{key}m={m};{chunk}\x1b\\" for key, m, chunk in parts)


def iterm2(picture: np.ndarray, columns: int) -> str:
    """The escape sequence of iTerm2's inline images protocol; arguments as for `kitty`."""
    encoded = _png(picture)
    size = len(base64.b64decode(encoded))
    return f"\x1b]1337;File=inline=1;size={size};width={_width(picture, columns)}:{encoded}\x07"


def blocks(pictures: Sequence[np.ndarray], columns: int) -> str:
    """Lines of half blocks, each of two pixels, with as many pictures as fit beside each other.

    Args:
        pictures: `[s, s, 3]` uint8.
        columns: characters that the lines may be wide.
    """
    side = min(SIDE, columns)
    fitting = max(1, (columns + 1) // (side + 1))
    small = [
        np.asarray(Image.fromarray(picture).resize((side, side // 2 * 2), Image.Resampling.BOX))
        for picture in pictures[:fitting]
    ]
    lines = zip(*(_block_lines(picture) for picture in small), strict=True)
    return "\n".join(" ".join(line) for line in lines)


def _block_lines(picture: np.ndarray) -> list[str]:
    """A line for each two rows of pixels: the upper ones in front, the lower ones behind."""
    return [
        "".join(
            "\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*above, *below)
            for above, below in zip(upper, lower, strict=True)
        )
        + "\x1b[0m"
        for upper, lower in zip(picture[::2], picture[1::2], strict=True)
    ]


def _width(picture: np.ndarray, columns: int) -> int:
    """Characters that a picture is shown wide."""
    return max(1, min(columns, picture.shape[1] // CELL))


def _png(picture: np.ndarray) -> str:
    """A picture as base64 of a PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()

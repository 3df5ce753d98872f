"""Pictures as arrays: conversion, resizing, grids with captions, PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from stackgan_jax.data import fonts
from stackgan_jax.runtime import files, paths

MARGIN = 6  # pixels between the cells of a grid
CAPTION_WIDTH = 480  # minimum width of a page with captions, in pixels
COLUMNS = 8  # pictures beside each other, at most
LETTERS, SMALL_LETTERS = 13, 11  # sizes in pixels, of a grid's captions and of a contact sheet's


def to_uint8(images: np.ndarray) -> np.ndarray:
    """`[..., 3]` float in [-1, 1] → uint8; values outside the range are clipped."""
    return np.round((np.clip(np.asarray(images, np.float32), -1, 1) + 1) * 127.5).astype(np.uint8)


def to_float(images: np.ndarray) -> np.ndarray:
    """`[..., 3]` uint8 → float32 in [-1, 1]."""
    return np.asarray(images, np.float32) / 127.5 - 1


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """`[h, w, 3]` uint8 → `[size, size, 3]`: averages areas to shrink, bicubic to enlarge."""
    method = Image.Resampling.BOX if min(image.shape[:2]) > size else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize((size, size), method))


def captioned_grid(
    rows: Sequence[Sequence[np.ndarray]],
    captions: Sequence[str] = (),
    headings: Sequence[str] = (),
    cell: int | None = None,
) -> np.ndarray:
    """Lays pictures out in rows, a caption above each row and a heading above each column.

    A row of more than COLUMNS pictures is broken into several lines.

    Args:
        rows: pictures `[s, s, 3]` uint8 of any size s; each is resized to `cell`.
        captions: one for each row, or none.
        headings: one for each column, or none.
        cell: side of a cell in pixels; None for the side of the largest picture.

    Returns:
        `[h, w, 3]` uint8.
    """
    cell = cell or max(max(picture.shape[:2]) for row in rows for picture in row)
    lines_of = [_even_lines(row) for row in rows]
    columns = max(len(line) for lines in lines_of for line in lines)
    width = columns * (cell + MARGIN) + MARGIN
    width = max(width, CAPTION_WIDTH) if captions else width
    fonts.remark_missing("".join([*captions, *headings]))
    wrapped = [fonts.wrap(each, width - 2 * MARGIN, LETTERS) for each in captions]
    wrapped = wrapped or [[] for _ in rows]
    text_height = fonts.line_height(LETTERS)
    top = MARGIN + (text_height if headings else 0)
    height = top + text_height * sum(map(len, wrapped)) + (cell + MARGIN) * sum(map(len, lines_of))
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    for column, heading in enumerate(headings):
        place = (MARGIN + column * (cell + MARGIN), MARGIN // 2)
        fonts.draw_line(draw, place, heading, LETTERS)
    y = top
    for lines, caption in zip(lines_of, wrapped, strict=True):
        for line in caption:
            fonts.draw_line(draw, (MARGIN, y), line, LETTERS)
            y += text_height
        for line in lines:
            for column, picture in enumerate(line):
                fitted = picture if picture.shape[0] == cell else resize(picture, cell)
                page.paste(Image.fromarray(fitted), (MARGIN + column * (cell + MARGIN), y))
            y += cell + MARGIN
    return np.asarray(page)


def _even_lines(row: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
    """Breaks a row of pictures into lines of nearly the same length, at most COLUMNS."""
    columns = -(-len(row) // -(-len(row) // COLUMNS))
    return [row[start : start + columns] for start in range(0, len(row), columns)]


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int = 6, cell: int = 152
) -> np.ndarray:
    """Lays pictures out in rows, each above the beginning of its caption.

    Args:
        pictures: one or more `[s, s, 3]` uint8; each is resized to `cell`.
        captions: one for each picture.
        columns: pictures per row.
        cell: side of a cell in pixels.

    Returns:
        `[h, w, 3]` uint8.
    """
    line_height, lines = fonts.line_height(SMALL_LETTERS), 3
    step = cell + MARGIN
    below = lines * line_height
    fonts.remark_missing("".join(captions))
    rows = -(-len(pictures) // columns)
    size = (columns * step + MARGIN, rows * (step + below) + MARGIN)
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x = MARGIN + number % columns * step
        y = MARGIN + number // columns * (step + below)
        page.paste(Image.fromarray(resize(picture, cell)), (x, y))
        for line in fonts.wrap(caption, cell, SMALL_LETTERS, lines):
            fonts.draw_line(draw, (x, y + cell), line, SMALL_LETTERS)
            y += line_height
    return np.asarray(page)


def save_png(path: str | Path, image: np.ndarray) -> None:
    """Writes `[h, w, 3]` uint8 as a PNG file, whole or not at all."""
    with files.replacing(paths.folder(path)) as partial, partial.open("wb") as file:
        Image.fromarray(image).save(file, "PNG")

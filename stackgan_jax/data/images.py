"""Pictures as arrays: conversion, resizing, grids with captions, PNG files."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stackgan_jax.runtime import files, paths

MARGIN = 6  # pixels between the cells of a grid
CAPTION_WIDTH = 480  # minimum width of a page with captions, in pixels


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

    Args:
        rows: pictures `[s, s, 3]` uint8 of any size s; each is resized to `cell`.
        captions: one for each row, or none.
        headings: one for each column, or none.
        cell: side of a cell in pixels; None for the side of the largest picture.

    Returns:
        `[h, w, 3]` uint8.
    """
    cell = cell or max(max(picture.shape[:2]) for row in rows for picture in row)
    width = max(len(row) for row in rows) * (cell + MARGIN) + MARGIN
    width = max(width, CAPTION_WIDTH) if captions else width
    font = ImageFont.load_default(size=13)
    line_height = round(font.size * 1.3)
    wrapped = [
        textwrap.wrap(caption, max(8, int(width / (font.size * 0.55)))) or [""]
        for caption in captions
    ] or [[] for _ in rows]
    top = MARGIN + (line_height if headings else 0)
    height = top + sum(len(lines) * line_height + cell + MARGIN for lines in wrapped)
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    for column, heading in enumerate(headings):
        draw.text((MARGIN + column * (cell + MARGIN), MARGIN // 2), heading, "black", font)
    y = top
    for row, lines in zip(rows, wrapped, strict=True):
        for line in lines:
            draw.text((MARGIN, y), line, "black", font)
            y += line_height
        for column, picture in enumerate(row):
            fitted = picture if picture.shape[0] == cell else resize(picture, cell)
            page.paste(Image.fromarray(fitted), (MARGIN + column * (cell + MARGIN), y))
        y += cell + MARGIN
    return np.asarray(page)


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
    font = ImageFont.load_default(size=11)
    line_height, lines = round(font.size * 1.3), 3
    step = cell + MARGIN
    below = lines * line_height
    rows = -(-len(pictures) // columns)
    size = (columns * step + MARGIN, rows * (step + below) + MARGIN)
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x = MARGIN + number % columns * step
        y = MARGIN + number // columns * (step + below)
        page.paste(Image.fromarray(resize(picture, cell)), (x, y))
        wrapped = textwrap.wrap(caption, cell // 6, max_lines=lines, placeholder=" …")
        for line in wrapped:
            y += line_height
            draw.text((x, y + cell - line_height), line, "black", font)
    return np.asarray(page)


def save_png(path: str | Path, image: np.ndarray) -> None:
    """Writes `[h, w, 3]` uint8 as a PNG file, whole or not at all."""
    with files.replacing(paths.folder(path)) as partial, partial.open("wb") as file:
        Image.fromarray(image).save(file, "PNG")

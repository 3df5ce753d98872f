"""Pictures: [-1, 1] ↔ uint8, area-averaged resizing, captioned grids, PNG files."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stackgan_jax.runtime import paths

MARGIN = 6  # pixels between the cells of a grid
CAPTION_WIDTH = 480  # a page with captions is at least so wide, in pixels


def to_uint8(images: np.ndarray) -> np.ndarray:
    """`[..., 3] in [-1, 1]` float → uint8; values outside are clipped."""
    return np.round((np.clip(np.asarray(images, np.float32), -1, 1) + 1) * 127.5).astype(np.uint8)


def to_float(images: np.ndarray) -> np.ndarray:
    """uint8 `[..., 3]` → float32 in [-1, 1]."""
    return np.asarray(images, np.float32) / 127.5 - 1


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 `[h, w, 3]` → `[size, size, 3]`: area average when shrinking, bicubic when growing."""
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
      rows: uint8 pictures `[s, s, 3]`, of any sizes; each is resized to `cell`.
      captions: one for each row, or none.
      headings: one for each column, or none.
      cell: side of a picture in pixels; the largest picture's by default.
    Returns:
      uint8 `[h, w, 3]`.
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
    """Pictures in rows, each with the beginning of its caption below.

    Args:
      pictures: uint8 `[s, s, 3]`, at least one; each is resized to `cell` pixels.
      captions: one for each.
    Returns:
      uint8 `[h, w, 3]`.
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
    """Writes uint8 `[h, w, 3]`, whole or not at all."""
    path = paths.folder(path)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        Image.fromarray(image).save(file, "PNG")
    partial.replace(path)

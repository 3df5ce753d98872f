"""Decodes image files: into the square that training loads, or whole for evaluation.

The squares are those of StackGAN's preprocessing: the bird is cut out by its box, then the cut is
reduced to 76 or 304 pixels.
"""

import contextlib
import dataclasses
import io
import logging
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from stackgan_jax.data import picture_files

CROPS = ("none", "square", "bbox")
MAX_PIXELS = 100_000_000  # a larger decoded image is treated as a decompression bomb
LARGE_PIXELS = 16_000_000  # larger images are decoded one at a time, which bounds the memory
MIN_SIDE = 4  # pixels; smaller images (tracking pixels) show nothing

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what Pillow logs as well, DamagedImage says
_one_large_image = threading.Lock()
_REDUCIBLE = ("JPEG", "MPO")  # formats that Pillow decodes at 1/2, 1/4 or 1/8
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # chunks; the others are metadata
_ORIENTATION = 0x0112  # the EXIF tag
_TRANSPOSES = {  # EXIF orientation → how the image is turned upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Box = tuple[float, float, float, float]


class DamagedImage(Exception):
    """The image can't be used. The message is the reason; reports print it after "name: "."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
      pixels: uint8 `[size, size, 3]`.
      width: of the image after EXIF rotation, before it is cut and resized, in pixels.
      height: likewise.
    """

    pixels: np.ndarray
    width: int
    height: int


def decode(content: bytes, size: int, crop: str = "none", box: Box | None = None) -> Picture:
    """Decodes an image file into a square picture.

    All colour modes become RGB; see `to_rgb`. EXIF rotation is applied. An animation gives its
    first frame. Shrinking averages areas. Damaged metadata (EXIF, colour profile) are ignored.

    Args:
      content: a file of one of `picture_files.FORMATS`.
      size: side of the result in pixels.
      crop: "none" squeezes the whole image into the square; "square" cuts the largest square at
        the image's centre; "bbox" cuts the square around the box's centre whose half-side is
        0.75·max(w, h).
      box: (left, top, width, height) in pixels of the image after EXIF rotation, for "bbox".

    Returns:
      The picture.

    Raises:
      DamagedImage: the file is truncated or not an image, the image is too small or too large, or
        the crop needs a box and the box is missing or empty.
    """
    return _opened(content, lambda image: _decode(image, size, crop, box))


def decode_whole(content: bytes) -> np.ndarray:
    """Decodes an image file at its own size: uint8 `[h, w, 3]`, upright, as `decode` otherwise.

    Raises:
      DamagedImage: the file is truncated or not an image, or the image is too large.
    """

    def whole(image: Image.Image) -> np.ndarray:
        with _memory_for(image.size, image.size):
            return np.asarray(_turned(to_rgb(image), _orientation(image)))

    return _opened(content, whole)


def upright_size(content: bytes) -> tuple[int, int]:
    """Returns height and width of an image after EXIF rotation; raises as `decode_whole` does."""

    def size(image: Image.Image) -> tuple[int, int]:
        # Pillow decodes a whole PNG to look for EXIF data.
        turned = image.format != "PNG" or b"eXIf" in content or b"type exif" in content
        swapped = turned and _orientation(image) in (5, 6, 7, 8)
        return image.size if swapped else image.size[::-1]

    return _opened(content, size)


def _opened(content: bytes, use: Callable[[Image.Image], Any]) -> Any:
    """Returns what `use` returns for the image in a file; raises DamagedImage."""
    try:
        with Image.open(io.BytesIO(content), formats=picture_files.formats()) as image:
            return use(image)
    except DamagedImage:
        raise
    except Image.DecompressionBombError as error:
        raise DamagedImage(f"more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow raises a dozen kinds of errors for damaged bytes
        plain = _without_metadata(content)
        if len(plain) < len(content):
            return _opened(plain, use)
        if isinstance(error, Image.UnidentifiedImageError):
            kinds = list(picture_files.FORMATS)
            reason = f"not a {', '.join(kinds[:-1])} or {kinds[-1]} image"
            raise DamagedImage(reason) from error
        raise DamagedImage(str(error) or type(error).__name__) from error


def _without_metadata(content: bytes) -> bytes:
    """Returns a PNG without its texts and profiles, any of which can be damaged; others as is."""
    if not content.startswith(_PNG):
        return content
    kept, start = [_PNG], len(_PNG)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        kind, check = content[start + 4 : start + 8], content[end - 4 : end]
        rotation = kind == b"eXIf" and zlib.crc32(content[start + 4 : end - 4]) == int.from_bytes(
            check, "big"
        )
        if kind in _PNG_PIXELS or rotation:
            kept.append(content[start:end])
        start = end
    return b"".join(kept)


def _decode(image: Image.Image, size: int, crop: str, box: Box | None) -> Picture:
    full = image.size
    reducible = image.format in _REDUCIBLE
    with contextlib.ExitStack() as memory:
        if not reducible:  # their EXIF data may be known only after all pixels are decoded
            memory.enter_context(_memory_for(full, full))
        orientation = _orientation(image)
        width, height = full[::-1] if orientation in (5, 6, 7, 8) else full
        if min(width, height) < MIN_SIDE:
            raise DamagedImage(f"only {width}x{height} pixels")
        cut = _cut(width, height, crop, box)
        if reducible:
            # Reducing averages areas. The cut stays larger than the result.
            needed = size / min(cut[2] - cut[0], cut[3] - cut[1])
            image.draft(None, (int(full[0] * needed) + 1, int(full[1] * needed) + 1))
            memory.enter_context(_memory_for(full, image.size))
        upright = _turned(to_rgb(image), orientation)
        return Picture(_resized(upright, width, height, cut, size), width, height)


@contextlib.contextmanager
def _memory_for(full: tuple[int, int], decoded: tuple[int, int]) -> Iterator[None]:
    """Waits until an image may be decoded; raises DamagedImage if it is too large.

    Args:
      full: width and height of the image.
      decoded: those at which it is decoded.
    """
    pixels = decoded[0] * decoded[1]
    if pixels > MAX_PIXELS:
        raise DamagedImage(f"{full[0]}x{full[1]} is more than {MAX_PIXELS:,} pixels")
    # A progressive JPEG keeps all its coefficients in memory, however much it is reduced.
    large = max(pixels, full[0] * full[1] // 4) > LARGE_PIXELS
    with _one_large_image if large else contextlib.nullcontext():
        yield


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else image


def _resized(image: Image.Image, width: int, height: int, cut: Box, size: int) -> np.ndarray:
    """Cuts and resizes an upright image, which may be reduced already, to `[size, size, 3]`.

    `cut` is in pixels of the full `width` x `height`.
    """
    across, down = image.size[0] / width, image.size[1] / height
    cut = (cut[0] * across, cut[1] * down, cut[2] * across, cut[3] * down)
    shrinks = min(cut[2] - cut[0], cut[3] - cut[1]) >= size
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(image.resize((size, size), method, box=cut))


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts a Pillow image of any mode to RGB.

    16-bit grey is divided by 257, floating-point grey is taken as 0 to 1, and transparent pixels
    are composed over white.

    Raises:
      DamagedImage: the pixels are numbers outside those ranges.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Returns a grey image of 16-bit or floating-point numbers with 8 bits; raises DamagedImage."""
    values = np.asarray(image)
    low, high, most = values.min(), values.max(), 1 if image.mode == "F" else 65535
    if not (low >= 0 and high <= most):  # NaN is outside as well
        raise DamagedImage(f"grey values {low:g} to {high:g}; only 0 to {most:,} are read")
    return Image.fromarray(np.round(values * np.float32(255 / most)).astype(np.uint8))


def published_crop(width: int, height: int, box: Box) -> tuple[int, int, int, int]:
    """Returns the published square around a box in whole pixels: (left, top, right, bottom).

    The centre and the half-side 0.75·max(w, h) are rounded down, and the square is clipped to the
    image, as StackGAN's `custom_crop` does for CUB.

    Args:
      width: of the image in pixels.
      height: of the image in pixels.
      box: (left, top, width, height) in pixels.
    """
    x, y = int(box[0] + box[2] / 2), int(box[1] + box[3] / 2)
    half = int(max(box[2], box[3]) * 0.75)
    return max(0, x - half), max(0, y - half), min(width, x + half), min(height, y + half)


def _cut(width: int, height: int, crop: str, box: Box | None) -> Box:
    """Returns (left, top, right, bottom) of the part of the image that is kept."""
    if crop == "none":
        return 0, 0, width, height
    if crop == "square":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return left, top, left + side, top + side
    if box is None:
        raise DamagedImage("no box, which --config.data.crop=bbox needs")
    left, top, right, bottom = published_crop(width, height, box)
    if min(right - left, bottom - top) < MIN_SIDE:
        raise DamagedImage(f"its box {tuple(box)} is empty or outside {width}x{height} pixels")
    return left, top, right, bottom


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a picture with damaged EXIF data can still be used
        return 1

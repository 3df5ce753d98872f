"""From an image file's bytes to the square that training loads: decode, turn, cut, average.

Squares as in StackGAN's preprocessing: the bird cut out by its box, then reduced to 76 or 304.
"""

import contextlib
import dataclasses
import io
import threading

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
CROPS = ("none", "square", "bbox")
MAX_PIXELS = 100_000_000  # of one decoded image; more is taken for a decompression bomb
LARGE_PIXELS = 16_000_000  # such images are decoded one at a time, so that memory is bounded
MIN_SIDE = 4  # pixels; below that (tracking pixels) there is nothing to see

_large = threading.Lock()
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
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
    """The image can't be used; the message says why, to follow its name and a colon."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
      pixels: uint8 `[size, size, 3]`.
      width, height: of the image as it is shown, before it was cut and reduced.
    """

    pixels: np.ndarray
    width: int
    height: int


def decode(content: bytes, size: int, crop: str = "none", box: Box | None = None) -> Picture:
    """Encoded image → square picture.

    Greyscale, palette and 16-bit images become RGB, transparency is laid over white, EXIF rotation
    is applied, of an animation the first frame is taken. Shrinking averages areas.

    Args:
      content: a JPEG, PNG, WebP or GIF file.
      size: the side of the result in pixels.
      crop: "none" squeezes the whole image into the square; "square" takes the largest square in
        its middle; "bbox" the square of half-side 0.75·max(w, h) about the box's centre.
      box: (left, top, width, height) in pixels of the image as shown, for crop "bbox".

    Raises:
      DamagedImage: the image is truncated, no image at all, too small or too large, or the crop
        needs a box that is missing or empty.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _decode(image, size, crop, box)
    except DamagedImage:
        raise
    except Image.DecompressionBombError as error:
        raise DamagedImage(f"more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise DamagedImage(f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except Exception as error:  # what Pillow raises for damaged bytes is any of a dozen kinds
        raise DamagedImage(str(error) or type(error).__name__) from error


def _decode(image: Image.Image, size: int, crop: str, box: Box | None) -> Picture:
    turn = _orientation(image)
    swaps = turn in (5, 6, 7, 8)
    width, height = image.size[::-1] if swaps else image.size
    if min(width, height) < MIN_SIDE:
        raise DamagedImage(f"only {width}x{height} pixels")
    cut = _cut(width, height, crop, box)
    # A large JPEG is decoded at 1/2, 1/4 or 1/8, which averages areas, as long as enough is left.
    needed = size / min(cut[2] - cut[0], cut[3] - cut[1])
    full = image.size
    image.draft(None, (int(full[0] * needed) + 1, int(full[1] * needed) + 1))
    pixels = image.size[0] * image.size[1]
    if pixels > MAX_PIXELS:
        raise DamagedImage(f"{width}x{height} is more than {MAX_PIXELS:,} pixels")
    # A progressive JPEG keeps all its coefficients, however much it is reduced.
    large = max(pixels, width * height // 4) > LARGE_PIXELS
    with _large if large else contextlib.nullcontext():
        shown = to_rgb(image)
        if turn in _TURNS:
            shown = shown.transpose(_TURNS[turn])
        across, down = shown.size[0] / width, shown.size[1] / height
        cut = (cut[0] * across, cut[1] * down, cut[2] * across, cut[3] * down)
        shrinks = min(cut[2] - cut[0], cut[3] - cut[1]) >= size
        method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
        pixels = np.asarray(shown.resize((size, size), method, box=cut))
    return Picture(pixels, width, height)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image → RGB: 16 bits to 8, transparency over white."""
    if image.mode == "F":
        raise DamagedImage("floating-point pixels")
    if image.mode.startswith("I"):  # 16-bit grey
        grey = np.asarray(image, np.float32) / 257
        image = Image.fromarray(np.round(np.clip(grey, 0, 255)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def published_crop(width: int, height: int, box: Box) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the square about a box, in whole pixels as published.

    The centre and the half-side 0.75·max(w, h) are rounded down, and what lies outside the image
    is cut off, as StackGAN's `custom_crop` does for CUB.
    """
    x, y = int(box[0] + box[2] / 2), int(box[1] + box[3] / 2)
    half = int(max(box[2], box[3]) * 0.75)
    return max(0, x - half), max(0, y - half), min(width, x + half), min(height, y + half)


def _cut(width: int, height: int, crop: str, box: Box | None) -> Box:
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
    except Exception:  # damaged EXIF data don't make a damaged picture
        return 1

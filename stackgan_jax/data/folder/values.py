"""Reads values of fields: captions, classes, boxes, splits. Any value gives one, or a reason."""

import ast
import json
import math
import re
import unicodedata
import warnings
from typing import Any

from stackgan_jax.data.picture_files import printable

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "val", "valid", "validation", "dev"), "test"),
}
Box = tuple[float, float, float, float]


class Unusable(Exception):
    """The annotation can't be used. The message is the reason; reports print it after "name: "."""


def given(value: Any) -> bool:
    """Returns whether a field has a value: not nothing, an empty text, or pandas' NaN."""
    return value is not None and value != "" and value == value


def captions(value: Any) -> tuple[str, ...]:
    """Returns the different sentences of a text, a list, or a text that contains a list.

    Raises:
      Unusable: the value is neither, or not valid Unicode.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _list_in(value.strip())
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
        raise Unusable("its text is neither a sentence nor a list of sentences")
    if any("\ud800" <= character <= "\udfff" for v in values for character in v):
        raise Unusable("its captions are not UTF-8 text")
    cleaned = (clean(v) for v in values)
    return tuple(dict.fromkeys(caption for caption in cleaned if caption))


def clean(caption: str) -> str:
    """Returns a caption on one line, without control characters and repeated spaces."""
    # Cc: control characters. Cf: format characters (byte order mark, direction marks). U+200D
    # stays, because it joins the parts of an emoji.
    spaced = (
        " " if unicodedata.category(c) in ("Cc", "Cf") and c != "\u200d" else c for c in caption
    )
    return " ".join("".join(spaced).split())


def word(value: Any, what: str) -> str:
    """Returns a class or a split; 3.0, as tables write whole numbers, is 3. Raises Unusable."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unusable(f"its {what} is neither a number nor a word")
    return clean(re.sub(r"^(-?\d+)\.0+$", r"\1", printable(str(value))))


def box(value: Any) -> Box:
    """Returns (left, top, width, height) in pixels; raises Unusable."""
    if isinstance(value, str):
        value = value.strip().strip("[]()").replace(",", " ").split()
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)) or min(numbers[2:]) <= 0:
        raise Unusable("its bbox is not [left, top, width, height] in pixels")
    return numbers


def split(value: Any) -> str:
    """Returns "train" or "test"; raises Unusable."""
    name = word(value, "split").lower()
    if name not in SPLITS:
        raise Unusable(f"its split {name!r} is none of {', '.join(SPLITS)}")
    return SPLITS[name]


def _list_in(text: str) -> Any:
    """Returns the list that a text contains as JSON, Python or NumPy print it, or the text."""
    # NumPy prints no commas, and Python would join the texts.
    for parse, written in (
        (json.loads, text),
        (ast.literal_eval, re.sub(r"""(['"])\s+(['"])""", r"\1, \2", text)),
    ):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about backslashes
                values = parse(written)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(values, list):
            return values
    return text

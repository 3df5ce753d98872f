"""Reads an image's annotation: captions, class, box and split.

The sources are metadata rows, JSON files and text files. Any content gives either an `Annotation`
or an `Unusable` error with the reason.
"""

import dataclasses
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stackgan_jax.data.picture_files import printable
from stackgan_jax.data.records import Location

MAX_TEXT = 1 << 20  # bytes of one text or JSON file that are read at most
CAPTION_KEYS = ("text", "caption", "captions")
FILE_KEYS = ("file_name", "filename", "file", "image")
CLASS_KEYS = ("class_id", "class", "label", "class_name")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "val", "valid", "validation", "dev"), "test"),
}


class Unusable(Exception):
    """The annotation can't be used. The message is the reason; reports print it after "name: "."""


@dataclasses.dataclass(frozen=True)
class Annotation:
    """The annotation of one image.

    Attributes:
      captions: sentences without duplicates, none of them empty; may be ().
      kind: the class given by the source, or "".
      box: (left, top, width, height) in pixels, or None.
      split: "train", "test", or "" if the source gives none.
    """

    captions: tuple[str, ...] = ()
    kind: str = ""
    box: tuple[float, float, float, float] | None = None
    split: str = ""

    def merged(self, other: "Annotation") -> "Annotation":
        """Returns this annotation merged with another one of the same image.

        Raises:
          Unusable: the two have different classes, boxes or splits.
        """
        names = {"kind": "class", "box": "box", "split": "split"}
        for field in names:
            ours, theirs = getattr(self, field), getattr(other, field)
            if ours and theirs and ours != theirs:
                raise Unusable(f"two rows give a different {names[field]}: {ours} and {theirs}")
        return Annotation(
            captions=tuple(dict.fromkeys(self.captions + other.captions)),
            kind=self.kind or other.kind,
            box=self.box or other.box,
            split=self.split or other.split,
        )


@dataclasses.dataclass
class Row:
    """One image that a layout lists.

    Attributes:
      name: a unique name for reports.
      image: where its bytes are; None if `problem` gives the reason.
      annotation: its captions, class, box and split.
      problem: why it can't be used, or "".
    """

    name: str
    image: Location | None
    annotation: Annotation = Annotation()
    problem: str = ""


def annotate(row: Row, read: Callable[[], Annotation]) -> None:
    """Merges the annotation that `read` returns into a row, or records why it can't be used."""
    try:
        row.annotation = row.annotation.merged(read())
    except Unusable as reason:
        row.problem = row.problem or str(reason)


def annotate_from_files(row: Row, texts: Mapping[str, bytes]) -> None:
    """Annotates an image with the contents of its .txt and .json files, given by suffix."""

    def read_json() -> Annotation:
        fields = from_json(texts[".json"])
        if ".txt" in texts:  # img2dataset writes the caption into both files
            fields = {k: v for k, v in fields.items() if k not in CAPTION_KEYS}
        return from_fields(fields)

    if ".json" in texts:
        annotate(row, read_json)
    if ".txt" in texts:
        annotate(row, lambda: from_text(texts[".txt"]))


def is_outside(path: str) -> bool:
    """Returns whether a relative path leads out of its folder, or is absolute."""
    return path.startswith("/") or bool(re.match(r"[A-Za-z]:", path)) or ".." in path.split("/")


def from_fields(fields: Mapping[str, Any]) -> Annotation:
    """Returns the annotation in a metadata row or a JSON object.

    Raises:
      Unusable: a field has a value of the wrong type.
    """
    kind = next((fields[key] for key in CLASS_KEYS if _given(fields.get(key))), None)
    return Annotation(
        captions=_captions(next((fields[k] for k in CAPTION_KEYS if _given(fields.get(k))), ())),
        kind=_word(kind, "class") if _given(kind) else "",
        box=_box(fields["bbox"]) if _given(fields.get("bbox")) else None,
        split=_split(fields["split"]) if _given(fields.get("split")) else "",
    )


def from_text(content: bytes) -> Annotation:
    """Returns the annotation in a text file with one caption on each line.

    Raises:
      Unusable: the text is not UTF-8.
    """
    try:
        return Annotation(captions=_captions(content.decode("utf-8-sig").splitlines()))
    except UnicodeDecodeError as error:
        raise Unusable("its captions are not UTF-8 text") from error


def from_json(content: bytes) -> dict[str, Any]:
    """Parses a JSON object.

    Raises:
      Unusable: the text is not UTF-8, not JSON, or not an object.
    """
    try:
        fields = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Unusable("not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise Unusable(f"not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise Unusable("not a JSON object")
    return fields


def clean(caption: str) -> str:
    """Returns a caption on one line, without control characters and repeated spaces."""
    # Cc: control characters. Cf: format characters (byte order mark, direction marks). U+200D
    # stays, because it joins the parts of an emoji.
    spaced = (
        " " if unicodedata.category(c) in ("Cc", "Cf") and c != "\u200d" else c for c in caption
    )
    return " ".join("".join(spaced).split())


def _given(value: Any) -> bool:
    return value is not None and value != ""


def _captions(value: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _list_in(value)
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
        raise Unusable("its text is neither a sentence nor a list of sentences")
    if any("\ud800" <= character <= "\udfff" for v in values for character in v):
        raise Unusable("its captions are not UTF-8 text")
    cleaned = (clean(v) for v in values)
    return tuple(dict.fromkeys(caption for caption in cleaned if caption))


def _list_in(text: str) -> Any:
    """Returns the list that a CSV cell contains as JSON, or the text itself."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return values if isinstance(values, list) else text


def _word(value: Any, what: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unusable(f"its {what} is neither a number nor a word")
    return clean(printable(str(value)))


def _box(value: Any) -> tuple[float, float, float, float]:
    if isinstance(value, str):
        value = value.strip().strip("[]()").replace(",", " ").split()
    try:
        box = tuple(float(number) for number in value)
    except (TypeError, ValueError, OverflowError):
        box = ()
    if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
        raise Unusable("its bbox is not [left, top, width, height] in pixels")
    return box


def _split(value: Any) -> str:
    word = _word(value, "split").lower()
    if word not in SPLITS:
        raise Unusable(f"its split {word!r} is none of {', '.join(SPLITS)}")
    return SPLITS[word]

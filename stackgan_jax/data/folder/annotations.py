"""Reads an image's annotation: captions, class, box and split.

The sources are metadata rows, JSON files and text files. Any content gives either an `Annotation`
or an `Unusable` error with the reason.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from stackgan_jax.data.folder import values
from stackgan_jax.data.folder.values import Unusable
from stackgan_jax.data.records import Location

MAX_TEXT = 1 << 20  # bytes of one text or JSON file that are read at most
CAPTION_KEYS = ("text", "caption", "captions", "sentence", "sentences", "description", "comment")
FILE_KEYS = ("file_name", "filename", "file", "image", "image_name", "image_path", "path")
CLASS_KEYS = ("class_id", "class", "label", "class_name")


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
    kind = first_given(fields, CLASS_KEYS)
    box, split = fields.get("bbox"), fields.get("split")
    return Annotation(
        captions=values.captions(first_given(fields, CAPTION_KEYS) or ()),
        kind="" if kind is None else values.word(kind, "class"),
        box=values.box(box) if values.given(box) else None,
        split=values.split(split) if values.given(split) else "",
    )


def first_given(fields: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """Returns the first of some fields that has a value, or None."""
    return next((fields[key] for key in keys if values.given(fields.get(key))), None)


def from_text(content: bytes) -> Annotation:
    """Returns the annotation in a text file with one caption on each line.

    Raises:
      Unusable: the text is not UTF-8.
    """
    try:
        return Annotation(captions=values.captions(content.decode("utf-8-sig").splitlines()))
    except UnicodeDecodeError as error:
        raise Unusable("its captions are not UTF-8 text") from error


def from_json(content: bytes) -> dict[str, Any]:
    """Parses a JSON object; the names of its fields become lower-case.

    Raises:
      Unusable: the text is not UTF-8, not JSON, or not an object.
    """
    fields = parsed(content)
    if not isinstance(fields, dict):
        raise Unusable("not a JSON object")
    return {name.lower(): value for name, value in fields.items()}


def parsed(content: bytes) -> Any:
    """Parses JSON; raises Unusable."""
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Unusable("not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise Unusable(f"not JSON ({error})") from error

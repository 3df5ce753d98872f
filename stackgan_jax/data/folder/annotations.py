"""What is said of an image, in a metadata row, a JSON file or a text file: captions, class, box,
split; read so that whatever stands there becomes an annotation or a reason why not."""

import dataclasses
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stackgan_jax.data.records import Location

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
MAX_TEXT = 1 << 20  # bytes of one text or JSON file
CAPTION_KEYS = ("text", "caption", "captions")
FILE_KEYS = ("file_name", "filename", "file", "image")
CLASS_KEYS = ("class_id", "class", "label", "class_name")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "val", "valid", "validation", "dev"), "test"),
}


class Unusable(Exception):
    """What is said can't be used; the message is the reason, to follow a name and a colon."""


@dataclasses.dataclass(frozen=True)
class Annotation:
    """Of one image.

    Attributes:
      captions: sentences, none empty, none twice; perhaps no one.
      kind: its class as the source tells it; "" where it doesn't.
      box: (left, top, width, height) in pixels, or None.
      split: "train", "test", or "" where the source doesn't say.
    """

    captions: tuple[str, ...] = ()
    kind: str = ""
    box: tuple[float, float, float, float] | None = None
    split: str = ""

    def merged(self, other: "Annotation") -> "Annotation":
        """This and what another row says of the same image; raises Unusable where they differ."""
        for field in ("kind", "box", "split"):
            ours, theirs = getattr(self, field), getattr(other, field)
            if ours and theirs and ours != theirs:
                raise Unusable(f"two rows tell a different {field}: {ours} and {theirs}")
        return Annotation(
            captions=tuple(dict.fromkeys(self.captions + other.captions)),
            kind=self.kind or other.kind,
            box=self.box or other.box,
            split=self.split or other.split,
        )


@dataclasses.dataclass
class Row:
    """An image that a layout names.

    Attributes:
      name: for reports; unique.
      image: where it lies; None where `problem` says why it can't be read.
      annotation: what is said of it.
      problem: why it can't be used, or "".
    """

    name: str
    image: Location | None
    annotation: Annotation = Annotation()
    problem: str = ""


def annotate(row: Row, read: Callable[[], Annotation]) -> None:
    """Adds what `read` reads to what is said of a row, or notes why that can't be used."""
    try:
        row.annotation = row.annotation.merged(read())
    except Unusable as reason:
        row.problem = row.problem or str(reason)


def is_image(name: str) -> bool:
    return name.lower().endswith(IMAGES)


def is_outside(path: str) -> bool:
    """Whether a path leaves the folder that it is relative to."""
    return path.startswith("/") or bool(re.match(r"[A-Za-z]:", path)) or ".." in path.split("/")


def from_fields(fields: Mapping[str, Any]) -> Annotation:
    """Of a metadata row or a JSON object; raises Unusable for a field of the wrong kind."""
    kind = next((fields[key] for key in CLASS_KEYS if _given(fields.get(key))), None)
    return Annotation(
        captions=_captions(next((fields[k] for k in CAPTION_KEYS if _given(fields.get(k))), ())),
        kind=_word(kind, "class") if _given(kind) else "",
        box=_box(fields["bbox"]) if _given(fields.get("bbox")) else None,
        split=_split(fields["split"]) if _given(fields.get("split")) else "",
    )


def from_text(content: bytes) -> Annotation:
    """Of a text file with one caption a line; raises Unusable unless it is UTF-8."""
    try:
        return Annotation(captions=_captions(content.decode("utf-8-sig").splitlines()))
    except UnicodeDecodeError as error:
        raise Unusable("its captions are not UTF-8 text") from error


def from_json(content: bytes) -> dict[str, Any]:
    """A JSON object; raises Unusable for anything else."""
    try:
        fields = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Unusable("not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise Unusable(f"no JSON ({error})") from error
    if not isinstance(fields, dict):
        raise Unusable("no JSON object")
    return fields


def clean(caption: str) -> str:
    """A caption on one line, without control characters and needless space."""
    # Cc: control, Cf: format (a byte order mark, direction marks; but not the joiners of emoji).
    spaced = (
        " " if unicodedata.category(c) in ("Cc", "Cf") and c != "\u200d" else c for c in caption
    )
    return " ".join("".join(spaced).split())


def readable(name: str) -> str:
    """A name as it can be printed, whatever bytes it has."""
    return name.encode("utf-8", "replace").decode("utf-8").replace("\n", " ")


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
    """The list that a CSV cell writes as JSON, or the text itself."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return values if isinstance(values, list) else text


def _word(value: Any, what: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unusable(f"its {what} is neither a number nor a word")
    return clean(readable(str(value)))


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

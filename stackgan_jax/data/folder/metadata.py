"""Reads tables that name images and annotate them: CSV, JSON lines, and JSON in several forms."""

import csv
import io
import itertools
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, AnyStr

from stackgan_jax.data.folder import annotations
from stackgan_jax.data.folder.annotations import CAPTION_KEYS, FILE_KEYS, MAX_TEXT, is_outside
from stackgan_jax.data.folder.image_names import without_number
from stackgan_jax.data.folder.values import Unusable
from stackgan_jax.data.picture_files import is_picture, printable
from stackgan_jax.runtime.errors import UserError

NAMES = ("metadata.jsonl", "metadata.csv", "metadata.tsv", "metadata.json")
SUFFIXES = (".jsonl", ".csv", ".tsv", ".json", ".txt")
MAX_JSON = (
    1 << 27
)  # bytes of a JSON file, which is read as a whole; parsed it is ten times as large
SEPARATORS = ",;\t|"
KNOWN = {*FILE_KEYS, *CAPTION_KEYS, *annotations.CLASS_KEYS, "split", "bbox"}
Row = tuple[str, str | Unusable, Mapping[str, Any]]
csv.field_size_limit(MAX_TEXT)


def is_table(name: str, path: Path) -> bool:
    """Returns whether a file begins like a table that names images and captions them."""
    try:
        _, _, fields = next(read(name, path), ("", "", {}))
    except (UserError, OSError):
        return False
    named = annotations.first_given(fields, FILE_KEYS)
    return named is not None and annotations.first_given(fields, CAPTION_KEYS) is not None


def read(name: str, path: Path) -> Iterator[Row]:
    """Yields the rows of a table.

    Args:
      name: the file's path below the data folder.
      path: the file.

    Yields:
      (`name line 3`, the path of the image below the data folder or why there is none, fields).

    Raises:
      UserError: the file is UTF-16, a CSV file that can't be parsed or has no file_name column, or
        a JSON file that is too large or has another content, or a line is too long.
    """
    suffix = posixpath.splitext(name)[1].lower()
    rows = {".jsonl": _jsonl_rows, ".json": _json_rows}.get(suffix, _csv_rows)
    for where, fields in rows(name, path):
        if isinstance(fields, Unusable):
            yield where, fields, {}
            continue
        try:
            image = _image_path(fields, posixpath.dirname(name))
        except Unusable as reason:
            image = reason
        yield where, image, fields


def _image_path(fields: Mapping, folder: str) -> str:
    """Returns the path below the data folder that a row names; raises Unusable."""
    value = annotations.first_given(fields, FILE_KEYS)
    if not isinstance(value, str):
        raise Unusable("no file_name")
    path = value.strip().replace("\\", "/")
    joined = posixpath.normpath(posixpath.join(folder, path))
    if is_outside(path) or is_outside(joined):
        raise Unusable(f"{printable(value)} is outside the folder")
    return joined


def _lines(name: str, file: IO[AnyStr]) -> Iterator[AnyStr]:
    """Yields the lines of a file; raises UserError for one that is longer than MAX_TEXT."""
    for number in itertools.count(1):
        line = file.readline(MAX_TEXT + 1)
        if len(line) > MAX_TEXT:
            raise UserError(
                f"{name} line {number}: longer than {MAX_TEXT >> 20} MiB; shorten or remove it."
            )
        if not line:
            return
        yield line


def _jsonl_rows(name: str, path: Path) -> Iterator[tuple[str, dict | Unusable]]:
    with path.open("rb") as file:
        _reject_utf16(name, file.peek(2))
        for number, line in enumerate(_lines(name, file), 1):
            if not line.strip():
                continue
            try:
                yield f"{name} line {number}", annotations.from_json(line)
            except Unusable as reason:
                yield f"{name} line {number}", reason


def _csv_rows(name: str, path: Path) -> Iterator[tuple[str, dict | Unusable]]:
    with path.open("rb") as file:
        _reject_utf16(name, file.peek(2))
        text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
        rows = _Rows(name, text)
        try:
            yield from _annotated_rows(name, rows)
        except csv.Error as error:
            raise UserError(
                f"{name} is not valid CSV at line {rows.number}: {error}; correct that line."
            ) from error


class _Rows:
    """The lines of a CSV file, counted."""

    def __init__(self, name: str, file: IO[str]) -> None:
        self._lines, self.number = _lines(name, file), 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            yield line


def _annotated_rows(name: str, rows: _Rows) -> Iterator[tuple[str, dict | Unusable]]:
    lines = iter(rows)
    first = next(lines, "")
    separator, columns = _columns(name, first)
    if not columns:  # no names of columns, but an image and its caption
        columns, lines = ["file_name", "text"], itertools.chain([first], lines)
    for fields in csv.DictReader(lines, columns, delimiter=separator):
        yield f"{name} line {rows.number}", _complete(fields, columns, separator)


def _complete(fields: dict, columns: list[str], separator: str) -> dict | Unusable:
    """Returns a row with all its columns; a caption in the last one may have separators."""
    if None in fields and columns[-1] in CAPTION_KEYS:
        fields[columns[-1]] = separator.join([fields[columns[-1]], *fields.pop(None)])
    if None in fields or None in fields.values():
        return Unusable(f"not {len(columns)} columns as in the first line")
    return fields


def _columns(name: str, line: str) -> tuple[str, list[str]]:
    """Returns the separator of a table and the names of its columns, from the first line.

    There are no names if the line is a row: the name of an image, and its caption.

    Raises:
      UserError: no column names an image.
    """
    split = {}
    for separator in SEPARATORS:
        cells = next(csv.reader([line], delimiter=separator), [])
        split[separator] = [cell.strip().lower() for cell in cells]
    separator = max(SEPARATORS, key=lambda each: len(KNOWN.intersection(split[each])))
    if set(split[separator]) & set(FILE_KEYS):
        return separator, split[separator]
    for separator in SEPARATORS:
        if len(split[separator]) > 1 and is_picture(without_number(split[separator][0])):
            return separator, []
    raise UserError(
        f"{name} has no column file_name (its columns: {', '.join(split[',']) or 'none'}); "
        "name the columns in its first line, for example: file_name,text"
    )


def _json_rows(name: str, path: Path) -> Iterator[tuple[str, dict | Unusable]]:
    if path.stat().st_size > MAX_JSON:
        raise UserError(
            f"{name} is larger than {MAX_JSON >> 20} MiB; write it as metadata.jsonl, one object "
            "in each line, which is read in parts."
        )
    content = path.read_bytes()
    _reject_utf16(name, content)
    try:
        rows = list(_objects(annotations.parsed(content)))
    except Unusable as reason:
        raise UserError(f"{name} can't be read: {reason}; correct it.") from reason
    for number, fields in enumerate(rows, 1):
        usable = isinstance(fields, dict)
        lower = {key.lower(): value for key, value in fields.items()} if usable else None
        yield f"{name} entry {number}", lower or Unusable("not a JSON object")


def _objects(content: Any) -> Iterator[Any]:
    """Yields the rows of a list of objects, of an object of captions by name, or of COCO's form."""
    if isinstance(content, list):
        yield from content
    elif not isinstance(content, dict):
        raise Unusable("neither a list of objects nor an object")
    elif isinstance(content.get("annotations"), list) and isinstance(content.get("images"), list):
        names = {}
        for image in filter(_is_object, content["images"]):
            if isinstance(image.get("id"), int | str):
                names[image["id"]] = annotations.first_given(image, FILE_KEYS)
        for each in filter(_is_object, content["annotations"]):
            number, caption = each.get("image_id"), annotations.first_given(each, CAPTION_KEYS)
            if isinstance(number, int | str) and caption is not None:
                yield {"file_name": names.get(number), "text": caption}
    elif isinstance(content.get("images"), list):
        yield from content["images"]
    elif not all(map(is_picture, content)):
        raise Unusable("neither images with captions nor captions by the image's name")
    else:
        for image, value in content.items():
            yield {"file_name": image, **(value if _is_object(value) else {"text": value})}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _reject_utf16(name: str, start: bytes) -> None:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{name} is UTF-16 text; save it as UTF-8.")

"""Reads the rows of metadata.jsonl and metadata.csv, which name images and annotate them."""

import csv
import io
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

from stackgan_jax.data.folder import annotations
from stackgan_jax.data.folder.annotations import MAX_TEXT, Unusable, is_outside
from stackgan_jax.data.picture_files import printable
from stackgan_jax.runtime.errors import UserError

NAMES = ("metadata.jsonl", "metadata.csv")
csv.field_size_limit(MAX_TEXT)


def read(name: str, path: Path) -> Iterator[tuple[str, str | Unusable, Mapping]]:
    """Yields the rows of a metadata file.

    Args:
      name: the file's path below the data folder.
      path: the file.

    Yields:
      (`name line 3`, the path of the image below the data folder or why there is none, fields).

    Raises:
      UserError: the file is UTF-16, or a CSV file that can't be parsed or has no file_name column.
    """
    lines = _csv_lines if name.lower().endswith(".csv") else _jsonl_lines
    for where, fields in lines(name, path):
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
    value = next((fields[key] for key in annotations.FILE_KEYS if fields.get(key)), None)
    if not isinstance(value, str):
        raise Unusable("no file_name")
    path = value.replace("\\", "/")
    joined = posixpath.normpath(posixpath.join(folder, path))
    if is_outside(path) or is_outside(joined):
        raise Unusable(f"{printable(value)} is outside the folder")
    return joined


def _jsonl_lines(name: str, path: Path) -> Iterator[tuple[str, dict | Unusable]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                _reject_utf16(name, line)
            if not line.strip():
                continue
            try:
                yield f"{name} line {number}", annotations.from_json(line)
            except Unusable as reason:
                yield f"{name} line {number}", reason


def _csv_lines(name: str, path: Path) -> Iterator[tuple[str, dict | Unusable]]:
    content = path.read_bytes()
    _reject_utf16(name, content)
    text = io.StringIO(content.decode("utf-8-sig", "surrogateescape"), newline="")
    reader = csv.DictReader(text)
    try:
        reader.fieldnames = columns = _columns(name, reader)
        for fields in reader:
            where = f"{name} line {reader.line_num}"
            if None in fields or None in fields.values():
                yield where, Unusable(f"not {len(columns)} columns as in the first line")
            else:
                yield where, fields
    except csv.Error as error:
        raise UserError(
            f"{name} is not valid CSV at line {reader.line_num}: {error}; correct that line."
        ) from error


def _columns(name: str, reader: csv.DictReader) -> list[str]:
    columns = [column.strip().lower() for column in reader.fieldnames or ()]
    if not set(columns) & set(annotations.FILE_KEYS):
        raise UserError(
            f"{name} has no column file_name (its columns: {', '.join(columns) or 'none'}); "
            "name the columns in its first line, for example: file_name,text"
        )
    return columns


def _reject_utf16(name: str, start: bytes) -> None:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{name} is UTF-16 text; save it as UTF-8.")

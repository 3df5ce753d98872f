"""The layouts in which people keep pictures and captions, each a reader of (name, image, words)."""

import csv
import dataclasses
import io
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from stackgan_jax.data.folder import annotations, tar_shards
from stackgan_jax.data.folder.annotations import (
    IMAGES,
    MAX_TEXT,
    Annotation,
    Row,
    Unusable,
    annotate,
    is_image,
    is_outside,
    readable,
)
from stackgan_jax.data.records import Location
from stackgan_jax.runtime.errors import UserError

METADATA = ("metadata.jsonl", "metadata.csv")
csv.field_size_limit(MAX_TEXT)


Files = Mapping[str, Path]  # path below the folder, with slashes → the file
Left = list[str]  # what is left out, a line each


def read(files: Files, left: Left) -> list[Row]:
    """The images of a folder, in the first layout that it has:

    1. metadata.jsonl or metadata.csv, whose `file_name` is a path below their own folder;
    2. .tar shards of images with .txt or .json of the same name;
    3. a .txt with one caption a line beside each image;
    4. sub-folders whose names are class and caption.

    Appends to `left` what is there and not used.
    """
    metadata = [name for name in files if posixpath.basename(name).lower() in METADATA]
    shards = [name for name in files if name.lower().endswith(".tar")]
    images = [name for name in files if is_image(name)]
    texts = {posixpath.splitext(name)[0]: name for name in files if name.lower().endswith(".txt")}
    if metadata:
        return _with_metadata(files, metadata, images, left)
    if shards:
        left += [f"{name}: beside shards" for name in images]
        return [row for name in shards for row in tar_shards.read(name, files[name], left)]
    if any(posixpath.splitext(name)[0] in texts for name in images):
        return _with_texts(files, images, texts, left)
    return _in_classes(files, images, left)


def counts(name: str) -> bool:
    """Whether a file of that name can matter to a layout."""
    lower = name.lower()
    return is_image(name) or lower.endswith((".txt", ".tar")) or lower.endswith(METADATA)


def _with_metadata(files: Files, metadata: list[str], images: list[str], left: Left) -> list[Row]:
    rows: dict[str, Row] = {}
    known = {unicodedata.normalize("NFC", name): name for name in files}
    for source in metadata:
        reader = _csv_lines if source.lower().endswith(".csv") else _jsonl_lines
        for where, fields in reader(source, files[source]):
            try:
                if isinstance(fields, Unusable):
                    raise fields
                name = _file_name(fields, posixpath.dirname(source))
            except Unusable as reason:
                rows[where] = Row(readable(where), None, problem=str(reason))
                continue
            name = known.get(unicodedata.normalize("NFC", name), name)
            if name not in rows:
                rows[name] = _found(name, files)
            annotate(rows[name], lambda fields=fields: annotations.from_fields(fields))
    left += [f"{readable(name)}: not in the metadata" for name in images if name not in rows]
    folder_splits = _split_folders(rows)
    for name, row in rows.items():
        if name in folder_splits and not row.annotation.split:
            row.annotation = dataclasses.replace(row.annotation, split=folder_splits[name])
    return list(rows.values())


def _found(name: str, files: Files) -> Row:
    if name in files:
        return Row(readable(name), Location(files[name]))
    known = is_image(name)
    problem = "there is no such file" if known else f"not one of {', '.join(IMAGES)}"
    return Row(readable(name), None, problem=problem)


def _file_name(fields: Mapping, folder: str) -> str:
    """The path below the data folder that a row names, or Unusable."""
    value = next((fields[key] for key in annotations.FILE_KEYS if fields.get(key)), None)
    if not isinstance(value, str):
        raise Unusable("no file_name")
    path = value.replace("\\", "/")
    joined = posixpath.normpath(posixpath.join(folder, path))
    if is_outside(path) or is_outside(joined):
        raise Unusable(f"{readable(value)} lies outside the folder")
    return joined


def _jsonl_lines(name: str, path: Path) -> Iterator[tuple[str, dict | Unusable]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                _refuse_utf16(name, line)
            if not line.strip():
                continue
            try:
                yield f"{name} line {number}", annotations.from_json(line)
            except Unusable as reason:
                yield f"{name} line {number}", reason


def _csv_lines(name: str, path: Path) -> Iterator[tuple[str, dict | Unusable]]:
    content = path.read_bytes()
    _refuse_utf16(name, content)
    text = io.StringIO(content.decode("utf-8-sig", "surrogateescape"), newline="")
    reader = csv.DictReader(text)
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or ()]
        if not set(columns) & set(annotations.FILE_KEYS):
            raise UserError(
                f"{name} has no column file_name (its columns: {', '.join(columns) or 'none'}); "
                "name the columns in its first line, for example: file_name,text"
            )
        reader.fieldnames = columns
        for fields in reader:
            where = f"{name} line {reader.line_num}"
            if None in fields or None in fields.values():
                yield where, Unusable(f"not {len(columns)} columns as in the first line")
            else:
                yield where, fields
    except csv.Error as error:
        raise UserError(f"{name} is no CSV at line {reader.line_num}: {error}; mend it.") from error


def _refuse_utf16(name: str, start: bytes) -> None:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{name} is UTF-16 text; save it as UTF-8.")


def _with_texts(files: Files, images: list[str], texts: dict[str, str], left: Left) -> list[Row]:
    rows = {name: Row(readable(name), Location(files[name])) for name in images}
    splits = _split_folders(rows)
    for name, row in rows.items():
        text = texts.get(posixpath.splitext(name)[0])
        folder = posixpath.basename(posixpath.dirname(name))
        # Numbered folders are img2dataset's shards, not classes.
        kind = "" if folder.isdigit() or folder.lower() in annotations.SPLITS else folder
        row.annotation = Annotation(kind=readable(kind), split=splits.get(name, ""))
        if text:
            annotate(row, lambda text=text: annotations.from_text(_text(files[text])))
    alone = texts.keys() - {posixpath.splitext(name)[0] for name in images}
    left += [f"{readable(texts[stem])}: no picture beside it" for stem in sorted(alone)]
    return list(rows.values())


def _text(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEXT + 1)
    except OSError as error:
        raise Unusable(f"its text file can't be read ({error.strerror})") from error
    if len(content) > MAX_TEXT:
        raise Unusable("its text file is larger than 1 MiB")
    return content


def _in_classes(files: Files, images: list[str], left: Left) -> list[Row]:
    rows = {name: Row(readable(name), Location(files[name])) for name in images}
    splits = _split_folders(rows)
    for name, row in rows.items():
        folder = posixpath.basename(posixpath.dirname(name))
        if folder and folder.lower() not in annotations.SPLITS:
            captions = tuple(filter(None, [class_caption(readable(folder))]))
            row.annotation = Annotation(captions, readable(folder), split=splits.get(name, ""))
    return list(rows.values())


def class_caption(folder: str) -> str:
    """A folder's name as a caption: `001.Black_footed-Albatross` → `Black footed Albatross`."""
    words = annotations.clean(re.sub(r"[_\-]+", " ", re.sub(r"^\d+[._\- ]+", "", folder)))
    return words or annotations.clean(folder)


def _split_folders(names: Mapping[str, Row]) -> dict[str, str]:
    """Name → split, where the top folders are called train and test (or val, …)."""
    tops = {name: name.split("/", 1)[0].lower() for name in names if "/" in name}
    splits = {n: annotations.SPLITS[top] for n, top in tops.items() if top in annotations.SPLITS}
    return splits if set(splits.values()) == {"train", "test"} else {}

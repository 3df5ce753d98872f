"""Writes one shard, whole or not at all, from decoded records."""

import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from stackgan_jax.data.decoding import DamagedImage, Picture
from stackgan_jax.data.preparation import Decoded
from stackgan_jax.data.records import Location, Record
from stackgan_jax.data.shards.shard import (
    IN_PLACE,
    NUMBERS,
    PIXELS,
    RECORDS,
    TEXTS,
    Entry,
    digest_of,
    entry,
    record_digest,
)
from stackgan_jax.runtime import files

_HEADER, _FOOTER = 12, 4  # bytes of TFRecord before and after each record


def write(folder: Any, name: str, decoded: Iterable[tuple[Record, Decoded]], stored: str) -> Entry:
    """Writes a shard; its `.json` comes last.

    Args:
        folder: that exists.
        name: of the shard.
        decoded: the records with their pictures, from `preparation.decoded`.
        stored: PIXELS for pictures of the load size, ENCODED for the files that they come from,
            IN_PLACE for the places of those files in the user's shard, which all records share.

    Raises:
        OSError, tf.errors.OpError: the folder can't be written.
    """
    rows = _Rows()
    if stored == IN_PLACE:
        file, size = _note_places(decoded, rows)
    else:
        file, size = f"{name}{RECORDS}", _write_records(folder, name, decoded, rows, stored)
    numbers = rows.numbers()
    _write(folder / f"{name}{NUMBERS}", numbers)
    known = {
        "images": len(rows.names),
        "file": file,
        "bytes": size,
        "numbers": digest_of(numbers),
        "problems": rows.problems,
        "names": rows.names,
        "captions": rows.captions,
    }
    # Names of files may hold bytes that are not UTF-8; JSON's escapes keep them.
    _write(folder / f"{name}{TEXTS}", json.dumps(known).encode())
    return entry(folder, name)


class _Rows:
    """What is collected of a shard's records."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.captions: list[list[str]] = []
        self.problems: list[str] = []
        self._columns: dict[str, list[Any]] = {}
        self._attributes: dict[str, list[int]] = {}

    def add(self, record: Record, picture: Any, **numbers: Any) -> None:
        self.names.append(record.name)
        self.captions.append(list(record.captions))
        numbers |= {
            "labels": record.label,
            "counts": len(record.captions),
            "boxes": record.box or (math.nan,) * 4,
            "sizes": (picture.width, picture.height),
        }
        for name, value in numbers.items():
            self._columns.setdefault(name, []).append(value)
        for name, value in record.attributes.items():
            self._attributes.setdefault(name, []).append(value)

    def numbers(self) -> bytes:
        kinds = {
            "starts": (np.int64, ()),
            "stops": (np.int64, ()),
            "digests": ("V8", ()),
            "image_digests": ("V16", ()),
            "labels": (np.int32, ()),
            "counts": (np.int32, ()),
            "boxes": (np.float64, (4,)),
            "sizes": (np.int32, (2,)),
        }
        arrays = {
            name: np.asarray(self._columns.get(name, []), kind).reshape(-1, *shape)
            for name, (kind, shape) in kinds.items()
        }
        arrays |= {f"attribute/{n}": np.asarray(v, np.int32) for n, v in self._attributes.items()}
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()


def _write_records(
    folder: Any, name: str, decoded: Iterable[tuple[Record, Decoded]], rows: _Rows, stored: str
) -> int:
    """Writes the `.tfrecord` and returns its size in bytes."""
    import tensorflow as tf

    position = 0
    path = folder / f"{name}{RECORDS}"
    # The writer is closed before the file gets its name.
    with (
        files.replacing(path, several=True) as partial,
        tf.io.TFRecordWriter(str(partial)) as writer,
    ):
        for record, picture, digest, content in _usable(decoded, rows):
            kept = picture.pixels.tobytes() if stored == PIXELS else content
            written = _example(record, kept).SerializeToString(deterministic=True)
            writer.write(written)
            start, stop = position + _HEADER, position + _HEADER + len(written)
            position = stop + _FOOTER
            digests = {"digests": record_digest(written), "image_digests": digest}
            rows.add(record, picture, starts=start, stops=stop, **digests)
    return position


def _usable(
    decoded: Iterable[tuple[Record, Decoded]], rows: _Rows
) -> Iterator[tuple[Record, Picture, bytes, bytes]]:
    """The records whose pictures can be used; the others are noted as problems."""
    for record, (picture, digest, content) in decoded:
        if isinstance(picture, DamagedImage):
            rows.problems.append(f"{record.name}: {picture}".replace("\n", " "))
        else:
            yield record, picture, digest, content


def _note_places(decoded: Iterable[tuple[Record, Decoded]], rows: _Rows) -> tuple[str, int]:
    """Notes where the images are in the file that the records share; returns that and its size."""
    path = None
    for record, picture, digest, content in _usable(decoded, rows):
        place: Location = record.image
        path = place.path
        stop = place.offset + len(content)
        digests = {"digests": record_digest(content), "image_digests": digest}
        rows.add(record, picture, starts=place.offset, stops=stop, **digests)
    return (str(path.resolve()), path.stat().st_size) if path else ("", 0)


def _example(record: Record, content: bytes) -> Any:
    from tensorflow.core.example import example_pb2, feature_pb2

    def of(values: Sequence[bytes]) -> Any:
        return feature_pb2.Feature(bytes_list=feature_pb2.BytesList(value=values))

    encoded = lambda text: text.encode("utf-8", errors="surrogateescape")
    label = feature_pb2.Feature(int64_list=feature_pb2.Int64List(value=[record.label]))
    features = {
        "image": of([content]),
        "name": of([encoded(record.name)]),
        "captions": of([encoded(caption) for caption in record.captions]),
        "label": label,
    }
    return example_pb2.Example(features=feature_pb2.Features(feature=features))


def _write(path: Any, content: bytes) -> None:
    with files.replacing(path, several=True) as partial:
        partial.write_bytes(content)

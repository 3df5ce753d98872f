"""One shard: a file of records, the numbers of each record, and their texts.

`train-00003-of-00120.tfrecord` holds one `tf.train.Example` for each picture: `image`, `name`,
`captions` and `label`. Beside it lie `….npz` (where each record begins and ends, its digest, label,
number of captions, and further numbers) and `….json` (names, captions, and what ties the files
together). The `.json` is written last: a shard that has one is whole.

TensorFlow is imported only where it is needed. All paths may be on gs://.
"""

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from stackgan_jax.runtime import buckets, paths
from stackgan_jax.runtime.errors import UserError

RECORDS, NUMBERS, TEXTS = ".tfrecord", ".npz", ".json"
PIXELS, ENCODED, IN_PLACE = "pixels", "encoded", "in_place"
STORED = (PIXELS, ENCODED, IN_PLACE)


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the index of a split knows of a shard.

    Attributes:
        name: of its files, without their endings.
        images: the number of pictures.
        captions: the number of captions.
        most: the largest number of captions of one picture.
        file: of the records: the name of a file beside the index, or a path of the user's file.
        bytes: the size of that file.
        numbers: the digest of the `.npz`.
        texts: the digest of the `.json`.
    """

    name: str
    images: int
    captions: int
    most: int
    file: str
    bytes: int
    numbers: str
    texts: str


@dataclasses.dataclass(frozen=True)
class Numbers:
    """The numbers of a shard's n records, as far as streaming needs them.

    Attributes:
        starts: `[n]` int64, where each record begins in the file of records, in bytes.
        stops: `[n]` int64, where it ends.
        digests: `[n]` 8 bytes, the BLAKE2b of each record.
        labels: `[n]` int32 classes.
        counts: `[n]` int32 numbers of captions.
        boxes: `[n, 4]` float64; NaN without a box.
    """

    starts: np.ndarray
    stops: np.ndarray
    digests: np.ndarray
    labels: np.ndarray
    counts: np.ndarray
    boxes: np.ndarray

    @functools.cached_property
    def first_captions(self) -> np.ndarray:
        """`[n + 1]`, the number of captions of the shard before each record."""
        return np.concatenate([[0], np.cumsum(self.counts)])


def entry(folder: Any, name: str) -> Entry | None:
    """The entry of a shard by its `.json`; None if the shard was not written whole."""
    try:
        content = (folder / f"{name}{TEXTS}").read_bytes()
        known = json.loads(content)
        counts = [len(captions) for captions in known["captions"]]
        return Entry(
            name=name,
            images=known["images"],
            captions=sum(counts),
            most=max(counts, default=0),
            file=known["file"],
            bytes=known["bytes"],
            numbers=known["numbers"],
            texts=digest_of(content),
        )
    except Exception as error:  # the several kinds that several file systems raise
        if buckets.is_missing(error) or isinstance(error, ValueError | KeyError | TypeError):
            return None
        raise


def problem(folder: Any, shard: Entry) -> str:
    """Why a shard is not as it was prepared, by its file's size; "" if it is."""
    return problem_of(file_of(folder, shard), shard.bytes)


def problem_of(file: Any, size: int) -> str:
    """Why a file does not have a size in bytes, as part of a sentence; "" if it does."""
    try:
        there = paths.size(file)
    except Exception as error:
        return _why(error)
    return f"has {there:,} bytes instead of {size:,}" if there != size else ""


def file_of(folder: Any, shard: Entry) -> Any:
    """The file of a shard's records."""
    return folder / shard.file


def read_numbers(folder: Any, shard: Entry) -> Numbers:
    """The numbers of a shard.

    Raises:
        UserError: they are missing, or not those that were prepared.
    """
    arrays = all_numbers(folder, shard)
    return Numbers(**{field.name: arrays[field.name] for field in dataclasses.fields(Numbers)})


def all_numbers(folder: Any, shard: Entry) -> Mapping[str, np.ndarray]:
    """Every array of a shard's `.npz`; errors as of `read_numbers`."""
    content = _read(folder, shard, NUMBERS, shard.numbers)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def read_texts(folder: Any, shard: Entry) -> Mapping[str, Any]:
    """`names`, `captions` and `problems` of a shard; errors as of `read_numbers`."""
    return json.loads(_read(folder, shard, TEXTS, shard.texts))


def read_records(
    folder: Any, shard: Entry, numbers: Numbers, start: int, stop: int
) -> list[memoryview]:
    """The records from number `start` to before `stop`, in one read, each checked by its digest.

    Raises:
        UserError: the file is missing, shorter, or a record is not the one that was prepared.
    """
    if start == stop:
        return []
    first, last = int(numbers.starts[start]), int(numbers.stops[stop - 1])
    try:
        with file_of(folder, shard).open("rb") as file:
            file.seek(first)
            content = memoryview(file.read(last - first))
    except Exception as error:
        raise changed(folder, shard, _why(error)) from error
    records = []
    for number in range(start, stop):
        begin, end = int(numbers.starts[number]) - first, int(numbers.stops[number]) - first
        record = content[begin:end]
        if record_digest(record) != bytes(numbers.digests[number]):
            raise changed(folder, shard, f"record {number:,} is not the one that was prepared")
        records.append(record)
    return records


def image(record: memoryview, stored: str) -> bytes:
    """The image in a record: pixels or an image file."""
    if stored == IN_PLACE:
        return bytes(record)
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example.FromString(record)
    return example.features.feature["image"].bytes_list.value[0]


def changed(folder: Any, shard: Entry, why: str) -> UserError:
    """The error for a shard that is not as it was prepared."""
    return UserError(
        f"The shard {file_of(folder, shard)} {why}; restore it, write it again with "
        "--mode=prepare, or train without it with "
        f"--config.data.leave_out={shard.name}."
    )


def _read(folder: Any, shard: Entry, ending: str, digest: str) -> bytes:
    path = folder / f"{shard.name}{ending}"
    try:
        content = path.read_bytes()
    except Exception as error:
        raise changed(folder, shard, f"can't be used: its {path.name} {_why(error)}") from error
    if digest_of(content) != digest:
        raise changed(folder, shard, f"can't be used: its {path.name} has changed")
    return content


def digest_of(content: bytes) -> str:
    """The digest of a whole file."""
    return hashlib.sha256(content).hexdigest()


def record_digest(record: bytes | memoryview) -> bytes:
    """The digest of a record: 8 bytes."""
    return hashlib.blake2b(record, digest_size=8).digest()


def _why(error: Exception) -> str:
    if buckets.is_missing(error):
        return "is missing"
    return f"can't be read ({getattr(error, 'strerror', None) or error})"

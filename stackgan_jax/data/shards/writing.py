"""Prepares a split as sharded records: on this machine, or on the workers of Apache Beam.

Each shard is one task, which writes the same files wherever and however often it runs. A shard that
is whole is left as it is, so that a preparation which was killed continues, and one that has lost a
shard writes it again.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.data import preparation, registry
from stackgan_jax.data.records import Location, Record, Source
from stackgan_jax.data.shards import index, shard, shard_writer
from stackgan_jax.data.split_writer import FACTS, LEFT_OUT, identity
from stackgan_jax.runtime import buckets, files
from stackgan_jax.runtime.errors import UserError, reason
from stackgan_jax.runtime.locking import locked
from stackgan_jax.runtime.progress import Progress

PLAN = "plan.json"
_CHECKED_AT_ONCE = 256  # records


@dataclasses.dataclass(frozen=True)
class Job:
    """The preparation of one split; its tasks are numbers from 0.

    Attributes:
        data: `config.data` as JSON.
        split: "train" or "test".
        load_size: side of the pictures in pixels.
        parts: for each shard the first of the source's records in it, and the one after the last.
    """

    data: str
    split: str
    load_size: int
    parts: tuple[tuple[int, int], ...]

    @functools.cached_property
    def config(self) -> ConfigDict:
        """`config.data`."""
        return ConfigDict(json.loads(self.data))

    @property
    def directory(self) -> Any:
        """The folder of the split."""
        return index.place(self.config, self.split, self.load_size)

    @property
    def count(self) -> int:
        """The number of the source's records."""
        return self.parts[-1][1] if self.parts else 0

    def name(self, task: int) -> str:
        """The name of a shard."""
        return f"{self.split}-{task:05d}-of-{len(self.parts):05d}"


def prepare(data: ConfigDict, split: str, load_size: int) -> None:
    """Prepares a split in the directory `data.shards`, or what is missing of it.

    Args:
        data: `config.data`.
        split: "train" or "test".
        load_size: side of the pictures in pixels.

    Raises:
        UserError: the source or the directory can't be used, the directory holds another
            preparation, or too many images are damaged.
    """
    preparation.require_crop(data.crop)
    source = registry.source(data)
    job = Job(json.dumps(data.to_dict()), split, load_size, _parts(source, split, data))
    directory = job.directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if isinstance(directory, Path):
            with locked(directory / PLAN):
                _prepare(source, job)
        else:  # a bucket has no locks; two preparations write the same files
            _prepare(source, job)
    except UserError:
        raise
    except Exception as error:
        if not buckets.is_of_files(error):
            raise
        raise UserError(
            f"Cannot write the data set to {directory}: {reason(error)}; free space or choose "
            "another directory with --config.data.shards, then run the same command again: it "
            "goes on from the shards that are whole."
        ) from error
    preparation.require_enough_images(directory, data.max_damaged)


def _parts(source: Source, split: str, data: ConfigDict) -> tuple[tuple[int, int], ...]:
    """Which records go into which shard: equal numbers, or what one of the user's shards holds."""
    count = source.count(split)
    if data.stored != shard.IN_PLACE:
        starts = range(0, count, data.shard_records)
        return tuple((start, min(start + data.shard_records, count)) for start in starts)
    starts, path = [], None
    for number, record in enumerate(source.records(split)):
        if record.problem:
            continue
        if not isinstance(record.image, Location) or record.image.size is None:
            raise UserError(
                f"config.data.stored={shard.IN_PLACE} is for WebDataset shards (.tar), but "
                f"{record.name} of {source.name} is in none; set --config.data.stored="
                f"{shard.PIXELS} or {shard.ENCODED}."
            )
        if record.image.path != path:
            path = record.image.path
            starts.append(number if starts else 0)
    return tuple(zip(starts, [*starts[1:], count], strict=True))


def _prepare(source: Source, job: Job) -> None:
    _require_same(source, job)
    if job.config.beam:
        from stackgan_jax.data.shards import beam_engine

        beam_engine.run(source, job)
    else:
        progress = Progress(f"{source.name}, {job.split}", job.count, "prepared")
        for task, (start, stop) in enumerate(job.parts):
            done = lambda number, start=start: progress(start + number)
            write_shard(job, task, lambda s=start, e=stop: source.part(job.split, s, e), done)
    source.finish()
    _finish(source, job)


def write_shard(
    job: Job,
    task: int,
    records: Callable[[], Iterator[Record]],
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Writes a shard unless it is whole.

    Args:
        job: the preparation.
        task: the number of the shard.
        records: returns the shard's records.
        progress: called with how many are done.
    """
    directory, config = job.directory, job.config
    if is_whole(directory, job.name(task)):
        start, stop = job.parts[task]
        progress(stop - start)
        return

    def counted() -> Iterator[Any]:
        for done, each in enumerate(preparation.decoded(records(), job.load_size, config.crop), 1):
            yield each
            progress(done)

    shard_writer.write(directory, job.name(task), counted(), config.stored)


def is_whole(directory: Any, name: str) -> bool:
    """Whether a shard was written whole and has not changed since; reads all of it."""
    entry = shard.entry(directory, name)
    if entry is None or (entry.images and shard.problem(directory, entry)):
        return False
    try:
        numbers = shard.read_numbers(directory, entry)
        for start in range(0, entry.images, _CHECKED_AT_ONCE):
            stop = min(start + _CHECKED_AT_ONCE, entry.images)
            shard.read_records(directory, entry, numbers, start, stop)
    except UserError:
        return False
    return True


def _require_same(source: Source, job: Job) -> None:
    """Notes in the directory what is prepared there; UserError if it is something else."""
    config, path = job.config, job.directory / PLAN
    cache = str(registry.directory(config.dir))
    plan = {
        "contents": str(source.directory).removeprefix(cache),
        "records": job.count,
        "shard_records": config.shard_records,
        "format": index.FORMAT,
    }
    if not path.exists():
        files.write_text(path, json.dumps({"source": source.name} | plan, indent=2) + "\n")
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    different = [f"{n} ({there.get(n)} there, {plan[n]} here)" for n in plan if plan[n] != there[n]]
    if different:
        raise UserError(
            f"{job.directory} holds the preparation of {there['source']}, which differs in "
            f"{', '.join(different)}; give another directory as --config.data.shards, or delete "
            "this one."
        )


def _finish(source: Source, job: Job) -> None:
    """Writes what is known of all shards together: facts.json, left_out.txt and the index."""
    directory, entries = job.directory, []
    fingerprint, problems, labels = hashlib.sha256(), [], np.zeros(0, np.int32)
    for task in range(len(job.parts)):
        entry = shard.entry(directory, job.name(task))
        if entry is None:
            raise UserError(
                f"{directory} lacks the shard {job.name(task)}, which no worker has written; run "
                "the same command again: it goes on from the shards that are whole."
            )
        entries.append(entry)
        numbers, texts = shard.all_numbers(directory, entry), shard.read_texts(directory, entry)
        problems += texts["problems"]
        labels = np.union1d(labels, numbers["labels"])
        for each in _identities(numbers, texts):
            fingerprint.update(each)
    unused = [*problems, *(source.left_out() if job.split == "train" else ())]
    images = sum(entry.images for entry in entries)
    known = {
        "source": source.name,
        "split": job.split,
        "load_size": job.load_size if job.config.stored == shard.PIXELS else None,
        "crop": job.config.crop,
        "remarks": list(source.remarks()),
        "left_out": len(unused),
        "images": images,
        "captions": sum(entry.captions for entry in entries),
        "labels": len(labels),
        "damaged": len(problems),
        "records": images + len(problems),
        "fingerprint": fingerprint.hexdigest(),
    }
    lines = "".join(f"{line}\n" for line in unused)
    (directory / LEFT_OUT).write_bytes(lines.encode("utf-8", errors="surrogateescape"))
    files.write_text(directory / FACTS, json.dumps(known, indent=2) + "\n")
    index.write(directory, job.config.stored, entries)
    for left in directory.glob(".*.partial"):  # of processes that were killed
        left.unlink()


def _identities(numbers: Any, texts: Any) -> Iterator[bytes]:
    """What each picture of a shard adds to the fingerprint, as in a local preparation."""
    attributes = {n.removeprefix("attribute/"): v for n, v in numbers.items() if "attribute/" in n}
    for i, captions in enumerate(texts["captions"]):
        digest, label = bytes(numbers["image_digests"][i]), int(numbers["labels"][i])
        own = {name: int(values[i]) for name, values in attributes.items()}
        yield identity(digest.ljust(16, b"\0"), captions, label, own)

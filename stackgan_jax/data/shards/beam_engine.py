"""Runs a preparation on Apache Beam: each shard is an element, which one of the workers writes.

The records of a folder are listed once, here, and written beside the shards as plans. A worker
reads the plan of its shard, and the pictures from the disk that all share. Of a TFDS builder each
worker reads its part of the prepared set.
"""

import dataclasses
import functools
import json
import shlex
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from stackgan_jax.data import registry
from stackgan_jax.data.folder.source import FolderSource
from stackgan_jax.data.records import Location, Record, Source
from stackgan_jax.data.shards import writing
from stackgan_jax.data.shards.writing import Job
from stackgan_jax.runtime import packages
from stackgan_jax.runtime.errors import UserError, reason

PLANS = "plans"


def run(source: Source, job: Job) -> None:
    """Writes every shard of a split that is not whole.

    Args:
        source: of the records.
        job: the preparation; its `config.beam` has the runner's options: "--runner=DirectRunner
            --direct_num_workers=4 --direct_running_mode=multi_processing".

    Raises:
        UserError: Beam is not installed, an option is wrong, or the pipeline failed.
    """
    by = f"config.data.beam={job.config.beam}"
    with packages.needed("Apache Beam", by, install="-e '.[beam]'"):
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    if isinstance(source, FolderSource):
        _write_plans(source, job)
    try:
        options = PipelineOptions(shlex.split(job.config.beam), save_main_session=False)
        with beam.Pipeline(options=options) as pipeline:
            tasks = pipeline | beam.Create(range(len(job.parts))) | beam.Reshuffle()
            _ = tasks | beam.Map(functools.partial(write_planned, job))
    except (Exception, SystemExit) as error:  # a wrong option ends the program; workers raise all
        raise UserError(
            f"Apache Beam ({job.config.beam}) has not prepared {job.directory}: {_cause(error)}. "
            "Run the same command again: it goes on from the shards that are whole."
        ) from error
    if isinstance(source, FolderSource):
        _remove_plans(job)


def write_planned(job: Job, task: int) -> int:
    """Writes a shard on a worker; returns its number."""
    plan = _plan(job, task)
    if plan.exists():
        known = json.loads(plan.read_text(encoding="utf-8"))
        writing.write_shard(job, task, lambda: map(_of_json, known))
    else:
        source = _source(job.data)
        writing.write_shard(job, task, lambda: source.part(job.split, *job.parts[task]))
    return task


def _write_plans(source: Source, job: Job) -> None:
    (job.directory / PLANS).mkdir(parents=True, exist_ok=True)
    for task, part in enumerate(job.parts):
        known = [_as_json(record) for record in source.part(job.split, *part)]
        _plan(job, task).write_text(json.dumps(known), encoding="utf-8")


def _remove_plans(job: Job) -> None:
    for plan in (job.directory / PLANS).iterdir():
        plan.unlink()
    (job.directory / PLANS).rmdir()


def _plan(job: Job, task: int) -> Any:
    return job.directory / PLANS / f"{job.name(task)}.json"


@functools.lru_cache(maxsize=1)
def _source(data: str) -> Source:
    """The source of a `config.data` as JSON, made once by each worker."""
    return registry.source(ConfigDict(json.loads(data)))


def _as_json(record: Record) -> dict[str, Any]:
    """A record whose image is a place on a disk; one that can't be used has no image."""
    image = None
    if isinstance(record.image, Location):
        image = dataclasses.asdict(record.image) | {"path": str(record.image.path)}
    bare = dataclasses.replace(record, image=b"")
    return dataclasses.asdict(bare) | {"image": image}


def _of_json(known: dict[str, Any]) -> Record:
    """The record of `_as_json`."""
    image = known["image"] and Location(**known["image"] | {"path": Path(known["image"]["path"])})
    box = known["box"] and tuple(known["box"])
    return Record(**known | {"image": image or b"", "box": box})


def _cause(error: BaseException) -> str:
    """What a failed pipeline says, which may have the stack of a worker in it: its last line."""
    if isinstance(error, SystemExit):
        return "its options are wrong"
    lines = [line for line in str(error).splitlines() if line.strip()]
    wanted = [line for line in lines if "Error: " in line and not line.startswith(" ")]
    return reason(Exception((wanted or lines or [type(error).__name__])[-1]), 300)

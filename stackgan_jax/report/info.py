"""What a run is, in one screen: stages, data, steps, networks, size, time and last scores."""

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from stackgan_jax.evaluation import records
from stackgan_jax.evaluation.stamps import number, title
from stackgan_jax.runtime import configuration, paths, run_files
from stackgan_jax.training import metrics_log
from stackgan_jax.training.checkpoint import Checkpoints


def describe(workdir: Path) -> str:
    """Returns lines of text about a run, or about all trainings of a quickstart.

    Args:
        workdir: of a quickstart, a stage or a text encoder.

    Raises:
        UserError: there is no run, or its config or scores can't be read.
    """
    config = configuration.of_workdir(workdir)
    if "kind" in config:
        return "\n".join([f"{workdir}: a run of {config.kind}", *_lines(workdir, config)])
    trainings = configuration.stages(config)
    heading = f"{workdir}: {config.name}, {len(trainings)} trainings, {_size(workdir)}"
    lines = [heading]
    for training in trainings:
        lines += ["", training.kind, *_lines(workdir / training.kind, training)]
    return "\n".join(lines)


def _lines(folder: Path, config: ConfigDict) -> Iterator[str]:
    """What is known about one training, a fact in each line."""
    facts = {
        "data": ", ".join(filter(None, (config.data.name, config.data.builder_config))),
        "recipe": _recipe(config),
        "steps": f"none of {config.steps:,}",
    }
    if steps := run_files.saved_steps(folder / "checkpoints"):
        facts |= _trained(folder, config, steps)
    for name, fact in facts.items():
        if fact:
            yield f"  {name:<11}  {fact}"
    yield from _scores(folder)


def _trained(folder: Path, config: ConfigDict, steps: list[int]) -> dict[str, str]:
    """What is known once a checkpoint was saved."""
    log = metrics_log.read(folder / metrics_log.FILE)
    # The time of the files: folders on gs:// have none.
    written = map(_modified, paths.files(folder / "checkpoints" / str(steps[-1])))
    ended = datetime.datetime.fromtimestamp(max(written, default=0), datetime.UTC)
    seconds = datetime.timedelta(seconds=round(log[-1]["seconds"])) if log else "?"
    kept = ", ".join(f"{step:,}" for step in steps)
    checkpoints = Checkpoints(folder / "checkpoints", **config.get("keep", {}), read_only=True)
    drawn_from = f"; drawn from {checkpoints.best:,}" if configuration.is_stage(config) else ""
    return {
        "steps": f"{steps[-1]:,} of {config.steps:,}, {config.batch_size} pictures each",
        "checkpoints": f"{kept}{drawn_from}",
        "trained": f"{seconds} h, until {ended:%Y-%m-%d %H:%M} UTC",
        "networks": _parameters(folder / run_files.PARAMETERS),
        "size": _size(folder),
    }


def _modified(file: Any) -> float:
    """When a file was written; gs:// names it otherwise."""
    stat = file.stat()
    return stat.st_mtime if hasattr(stat, "st_mtime") else stat.mtime


def _recipe(config: ConfigDict) -> str:
    """The networks and losses that a training has, by their names."""
    if not configuration.is_stage(config):
        return f"encoder {config.encoder}"
    training = config.training
    return ", ".join(
        [
            f"{config.generator.network} and {config.discriminator.network}",
            f"{training.adversarial} loss",
            *([f"penalty {training.penalty}"] if training.get("penalty") else []),
            *([f"augmentation {training.augmentation}"] if training.get("augmentation") else []),
        ]
    )


def _parameters(path: Path) -> str:
    """The networks with their numbers of parameters, by the table that training wrote."""
    if not path.is_file():
        return ""
    table = path.read_text(encoding="utf-8")
    names = re.findall(r"^(\w[^:|+\n]*)$", table, re.MULTILINE)
    totals = re.findall(r"^Total: ([\d,]+)", table, re.MULTILINE)
    return (
        ", ".join(f"{name.lower()} {total}" for name, total in zip(names, totals, strict=False))
        + " parameters"
    )


def _size(folder: Path) -> str:
    """The size of all files in a folder."""
    return f"{sum(paths.size(file) for file in paths.files(folder)) / 1e6:,.1f} MB"


def _scores(folder: Path) -> Iterator[str]:
    """The scores of the newest step that was evaluated, and what they were measured with."""
    evaluated = records.read(folder / records.FILE)
    if not evaluated:
        return
    last = max(evaluated, key=lambda record: (record.step or 0, record.date))
    yield f"  scores       step {last.step or 0:,}, protocol {last.protocol}, {last.date}"
    for name, score in last.scores.items():
        stamp = score.stamp
        yield (
            f"    {title(name):<22} {number(name, score.value):>9}  {stamp.generated} pictures, "
            f"{stamp.split}, by {stamp.features}"
        )

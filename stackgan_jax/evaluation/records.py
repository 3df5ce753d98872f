"""Records of evaluations: metrics.json, metrics.txt for people, and TensorBoard."""

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stackgan_jax.evaluation.stamps import Score, results, stamp_lines, table
from stackgan_jax.runtime import files, tensorboard
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.loggers.tensorboard import TensorBoardLogger

FILE = "metrics.json"
TABLE = "metrics.txt"


@dataclasses.dataclass(frozen=True)
class Record:
    """One evaluation.

    Attributes:
        step: of the checkpoint; None for pictures in a folder.
        protocol: its name, with the changes to it.
        date: in UTC.
        seconds: how long it took.
        scores: by the name of the metric.
        left_out: metric → why it couldn't be measured.
    """

    step: int | None
    protocol: str
    date: str
    seconds: float
    scores: Mapping[str, Score]
    left_out: Mapping[str, str]

    @classmethod
    def of(
        cls,
        step: int | None,
        protocol: str,
        seconds: float,
        scores: Sequence[Score],
        left_out: Mapping[str, UserError],
    ) -> "Record":
        """Returns the record of an evaluation that has just ended."""
        date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        named = {score.name: score for score in scores}
        reasons = {name: str(error) for name, error in left_out.items()}
        return cls(step, protocol, date, round(seconds, 1), named, reasons)

    def completed_by(self, old: "Record") -> "Record":
        """Adds the scores of an older record that this one lacks, if the weights are the same."""
        weights = {score.stamp.checkpoint for score in self.scores.values()}
        kept = {n: s for n, s in old.scores.items() if s.stamp.checkpoint in weights}
        scores = kept | self.scores
        left_out = {n: reason for n, reason in self.left_out.items() if n not in scores}
        return dataclasses.replace(self, scores=scores, left_out=left_out)

    def as_json(self) -> dict[str, Any]:
        """Returns the record as metrics.json holds it."""
        scores = {name: score.as_json() for name, score in self.scores.items()}
        return {**vars(self), "scores": scores}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Record":
        """Returns the record that `as_json` stored; raises as `Score.from_json`."""
        scores = {name: Score.from_json(one) for name, one in stored["scores"].items()}
        return cls(**{**stored, "scores": scores})

    def __str__(self) -> str:
        """Returns the record as text for people, with all stamps, as metrics.txt holds it."""
        return f"{self._heading}\n{table(list(self.scores.values()), self.left_out)}"

    def results(self) -> str:
        """Returns the scores as the terminal shows them, without stamps."""
        return f"{self._heading}\n{results(list(self.scores.values()), self.left_out)}"

    def stamps(self) -> str:
        """Returns what the scores were measured with."""
        return "\n".join(stamp_lines(list(self.scores.values())))

    @property
    def _heading(self) -> str:
        step = "" if self.step is None else f"step {self.step:,}, "
        return f"{step}protocol {self.protocol}, {self.date}, {self.seconds:.0f} s"


def read(path: Path) -> list[Record]:
    """Returns the evaluations in a metrics.json; none if there is no such file.

    Raises:
        UserError: for a damaged file, or a score without a complete stamp.
    """
    if not path.is_file():
        return []
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["evaluations"]
        return [Record.from_json(one) for one in stored]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} was not written by an evaluation, or a score in it has no complete stamp "
            f"({error}); move it away and evaluate again."
        ) from error


def add(folder: Path, record: Record) -> None:
    """Adds an evaluation to a folder's metrics.json and rewrites its metrics.txt.

    It replaces an earlier one of the same step and protocol. Scores that only the earlier one has
    are kept if the generator's weights are the same: FID, for example, when Inception's weights
    weren't given this time.
    """
    path = folder / FILE
    earlier = read(path)
    same = [r for r in earlier if (r.step, r.protocol) == (record.step, record.protocol)]
    for old in same:
        record = record.completed_by(old)
    others = [each for each in earlier if each not in same]
    records = sorted([*others, record], key=lambda r: (r.protocol, r.step or 0))
    write(path, records)
    save(folder / TABLE, "\n\n".join(map(str, reversed(records))) + "\n")


def write(path: Path, records: Sequence[Record]) -> None:
    """Writes a metrics.json."""
    content = {"evaluations": [record.as_json() for record in records]}
    save(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def to_tensorboard(folder: Path, record: Record) -> None:
    """Writes the scores next to the run's losses, with their stamps as text."""
    writer = tensorboard.writer(folder)
    if writer is None:
        return
    scalars = {f"evaluation/{name}": score.value for name, score in record.scores.items()}
    logger = TensorBoardLogger(writer)
    logger.scalars(record.step or 0, scalars)
    logger.text(record.step or 0, "evaluation", f"```\n{record}\n```")
    logger.close()


def save(path: Path, content: str) -> None:
    """Writes a file, whole or not at all.

    Raises:
        UserError: where the disk is full or the folder not writable.
    """
    try:
        files.write_text(path, content)
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({error.strerror}); free space, or choose another folder."
        ) from error

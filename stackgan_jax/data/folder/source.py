"""A folder of someone's own pictures and captions as a source of records."""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stackgan_jax.data import splitting
from stackgan_jax.data.folder import layouts
from stackgan_jax.data.folder.annotations import IMAGES, readable
from stackgan_jax.data.records import Record
from stackgan_jax.runtime.errors import UserError

FORMAT = 1  # of how a folder is read; another number reads it anew
LAYOUTS = (
    "metadata.jsonl or metadata.csv (file_name, text), a .txt beside each image, sub-folders named "
    "as their classes, or .tar shards"
)
A_RUN = {"config.json", "checkpoints"}  # what tells a run's folder from a folder of pictures


@dataclasses.dataclass(frozen=True)
class Contents:
    """What was read from a folder: records by split, what is left out, and remarks."""

    records: dict[str, list[Record]]
    left_out: list[str]
    remarks: list[str]


class FolderSource:
    """See records.Source. Its directory is named by the folder's contents, so that a changed
    folder (names, sizes, times of change) is prepared anew and a moved one is not."""

    def __init__(self, data: Any, directory: Path):
        """`data` is `config.data`: path, classes, test_fraction, split_seed. UserError where the
        path is no folder or there are no pictures in it."""
        self.path = _require_folder(data.path)
        self.name = f"the folder {readable(str(data.path))}"
        self._data = data
        self._listing = listing(self.path)
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", self.path.resolve().name)[:40] or "root"
        self.directory = directory / "folder" / f"{stem}-{self._key()}"

    def count(self, split: str) -> int:
        return len(self.contents.records[split])

    def records(self, split: str) -> Iterator[Record]:
        return iter(self.contents.records[split])

    def left_out(self) -> Sequence[str]:
        return self.contents.left_out

    def remarks(self) -> Sequence[str]:
        return self.contents.remarks

    def finish(self) -> None:
        if listing(self.path) != self._listing:
            raise UserError(f"Files changed in {self.name} while it was prepared; start again.")

    @functools.cached_property
    def contents(self) -> Contents:
        """The folder's records, read when they are first asked for."""
        left: list[str] = []
        try:
            rows = layouts.read({name: self.path / name for name in self._listing}, left)
        except OSError as error:
            raise _unreadable(error.filename, error) from error
        if not rows:
            raise UserError(
                f"There are no pictures in {self.name}: files ending in {', '.join(IMAGES)} and "
                ".tar were looked for, in its sub-folders too."
            )
        broken = [row for row in rows if row.problem]
        usable = [row for row in rows if not row.problem and row.annotation.captions]
        without = [row.name for row in rows if not row.problem and not row.annotation.captions]
        if not usable and not broken:
            raise UserError(
                f"None of the {len(rows):,} pictures in {self.name} has a caption; write them in "
                f"{LAYOUTS}."
            )
        if len(usable) < 2 and broken:
            reasons = "; ".join(f"{row.name}: {row.problem}" for row in broken[:3])
            raise UserError(
                f"{len(broken):,} of {len(rows):,} pictures in {self.name} can't be used, and too "
                f"few are left: {reasons}{' …' if len(broken) > 3 else ''}. Mend them."
            )
        left += [f"{name}: no caption" for name in without]
        return self._sorted_out(usable, broken, left)

    def _sorted_out(self, usable: list, broken: list, left: list[str]) -> Contents:
        data = self._data
        records: dict[str, list[Record]] = {"train": [], "test": []}
        for row in broken:  # counted with the training images, whatever they were meant for
            records["train"].append(Record(row.name, b"", (), 0, problem=row.problem))
        labels, given = splitting.labels(usable, data.classes)
        where = splitting.splits(usable, given, data.test_fraction, data.split_seed)
        for row, label, split in zip(usable, labels, where, strict=True):
            told = row.annotation
            records[split].append(Record(row.name, row.image, told.captions, label, told.box))
        return Contents(records, left, splitting.remarks(usable, where, given))

    def _key(self) -> str:
        """16 hex digits for what makes the records what they are."""
        data = self._data
        settings = [FORMAT, data.classes, data.test_fraction, data.split_seed]
        whole = json.dumps([settings, list(self._listing.items())])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Path below the folder → (bytes, time of change in ns) of the files that count, sorted.

    Hidden files are left aside, and runs of this program that are kept there. Links are followed,
    each folder is visited once. A link that leads nowhere has size -1.
    """
    found = {}
    visited = set()
    waiting = collections.deque([""])
    while waiting:
        below = waiting.popleft()
        here = folder / below
        try:
            real = os.path.realpath(here)
            if real in visited:
                continue
            visited.add(real)
            with os.scandir(here) as entries:
                entries = [e for e in entries if not e.name.startswith((".", "__MACOSX"))]
            if {entry.name for entry in entries} >= A_RUN:
                continue
            for entry in entries:
                name = f"{below}/{entry.name}" if below else entry.name
                if entry.is_dir():
                    waiting.append(name)
                elif layouts.counts(name):
                    found[name] = _stamp(entry)
        except OSError as error:
            raise _unreadable(here, error) from error
    return dict(sorted(found.items()))


def _unreadable(path: str | Path, error: OSError) -> UserError:
    return UserError(
        f"{readable(str(path))} can't be read ({error.strerror}); change its rights, or take it "
        "out of the folder."
    )


def _stamp(entry: os.DirEntry) -> tuple[int, int]:
    try:
        told = entry.stat()
    except OSError:
        return -1, 0
    return told.st_size, told.st_mtime_ns


def _require_folder(path: str) -> Path:
    if not path:
        raise UserError(
            "The data set `folder` needs the folder with your pictures: --config.data.path=…"
        )
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "is not there"
        raise UserError(
            f"The folder {readable(path)} {what}; give the folder with your pictures as "
            "--config.data.path."
        )
    return folder

"""Turns a folder of the user's own pictures and captions into a source of records."""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stackgan_jax.data import picture_files, splitting
from stackgan_jax.data.folder import folder_files, layouts, remarks
from stackgan_jax.data.folder.annotations import Row
from stackgan_jax.data.picture_files import printable
from stackgan_jax.data.records import Record
from stackgan_jax.runtime.errors import UserError

FORMAT = 2  # of how a folder is read; folders are prepared again under another format
LAYOUTS = (
    "metadata.jsonl, .json or .csv (file_name, text), a .txt of the same name for each image, "
    "sub-folders named after their classes, or .tar shards"
)


@dataclasses.dataclass(frozen=True)
class Contents:
    """Everything that was read from a folder.

    Attributes:
      records: split → its records.
      left_out: one line for each file that is not used.
      remarks: sentences about the layout, captions, classes and splits.
    """

    records: dict[str, list[Record]]
    left_out: list[str]
    remarks: list[str]


class FolderSource:
    """The records of a folder; see `records.Source`.

    Its directory is named after the folder's contents. A changed folder (names, sizes, times of
    change) is therefore prepared again, and a moved folder is not.
    """

    def __init__(self, data: Any, directory: Path) -> None:
        """Lists the files of the folder.

        Args:
          data: `config.data`, with `path`, `classes`, `test_fraction` and `split_seed`.
          directory: where prepared data sets are kept.

        Raises:
          UserError: the path is not a folder, or a sub-folder can't be read.
        """
        self.path = _require_folder(data.path)
        self.name = f"the folder {printable(str(data.path))}"
        self._data = data
        self._listing = picture_files.listing(self.path, folder_files.unread)
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", self.path.resolve().name)[:40] or "root"
        self.directory = directory / "folder" / f"{stem}-{self._key()}"

    def count(self, split: str) -> int:
        """Returns the number of records in a split."""
        return len(self.contents.records[split])

    def records(self, split: str) -> Iterator[Record]:
        """Returns the records of a split, always in the same order."""
        return iter(self.contents.records[split])

    def part(self, split: str, start: int, stop: int) -> Iterator[Record]:
        """Returns the records from number `start` to before `stop` of a split."""
        return iter(self.contents.records[split][start:stop])

    def left_out(self) -> Sequence[str]:
        """Returns one line for each file that is not used."""
        return self.contents.left_out

    def remarks(self) -> Sequence[str]:
        """Returns sentences about layout, captions, classes and splits for the user."""
        return self.contents.remarks

    def finish(self) -> None:
        """Raises UserError if the folder changed while it was read."""
        if picture_files.listing(self.path, folder_files.unread) != self._listing:
            raise UserError(f"Files changed in {self.name} while it was prepared; start again.")

    @functools.cached_property
    def contents(self) -> Contents:
        """The folder's contents, read on first use.

        Raises:
          UserError: a file can't be read, or fewer than two images can be used.
        """
        try:
            read = layouts.read({name: self.path / name for name in self._listing.files})
        except OSError as error:
            raise picture_files.unreadable(error.filename, error) from error
        broken = [row for row in read.rows if row.problem]
        usable = [row for row in read.rows if not row.problem and row.annotation.captions]
        self._require_usable(read.rows, broken, usable)
        without = [r.name for r in read.rows if not r.problem and not r.annotation.captions]
        left_out = [*self._listing.left_out, *read.left_out]
        left_out += [f"{name}: no caption" for name in without]
        warnings = remarks.warnings(usable, len(without))
        return self._split(usable, broken, left_out, [*read.remarks, *warnings])

    def _require_usable(self, rows: list[Row], broken: list[Row], usable: list[Row]) -> None:
        if not rows:
            raise UserError(
                f"There are no pictures in {self.name}: no file in it or its sub-folders is of "
                f"type {picture_files.KINDS} or tar{self._instead()}; give the folder with your "
                "pictures as --config.data.path."
            )
        if not usable and not broken:
            raise UserError(
                f"None of the {len(rows):,} pictures in {self.name} has a caption; write the "
                f"captions in one of these forms: {LAYOUTS}."
            )
        if len(usable) < 2 and broken:
            reasons = "; ".join(f"{row.name}: {row.problem}" for row in broken[:3])
            raise UserError(
                f"{len(broken):,} of {len(rows):,} pictures in {self.name} can't be used, and too "
                f"few are left: {reasons}{' …' if len(broken) > 3 else ''}. Repair them."
            )

    def _instead(self) -> str:
        """Returns what there is instead of pictures: ` (images.zip: packed; unpack it)`."""
        lines = self._listing.left_out
        return f" ({lines[0]}{' …' if len(lines) > 1 else ''})" if lines else ""

    def _split(
        self, usable: list[Row], broken: list[Row], left_out: list[str], said: list[str]
    ) -> Contents:
        data = self._data
        records: dict[str, list[Record]] = {"train": [], "test": []}
        for row in broken:  # counted as training images, whatever their split
            records["train"].append(Record(row.name, b"", (), 0, problem=row.problem))
        labels, given = splitting.labels(usable, data.classes)
        where = splitting.splits(usable, given, data.test_fraction, data.split_seed)
        for row, label, split in zip(usable, labels, where, strict=True):
            found = row.annotation
            records[split].append(Record(row.name, row.image, found.captions, label, found.box))
        return Contents(records, left_out, [*said, *splitting.remarks(usable, where, given)])

    def _key(self) -> str:
        """Returns 16 hex digits: a hash of the settings and files that the records depend on."""
        data = self._data
        settings = [FORMAT, data.classes, data.test_fraction, data.split_seed]
        whole = json.dumps([settings, list(self._listing.files.items()), self._listing.left_out])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _require_folder(path: str) -> Path:
    if not path:
        raise UserError(
            "The data set `folder` needs the folder with your pictures; set --config.data.path."
        )
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(
            f"The folder {printable(path)} {what}; give the folder with your pictures as "
            "--config.data.path."
        )
    return folder

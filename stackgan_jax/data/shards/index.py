"""The index of a prepared split: where it is, which shards it has, and whether they are there."""

import concurrent.futures
import dataclasses
import json
from collections.abc import Collection, Sequence
from typing import Any

from ml_collections import ConfigDict

from stackgan_jax.data.shards import shard
from stackgan_jax.data.shards.shard import Entry
from stackgan_jax.runtime import files, paths
from stackgan_jax.runtime.errors import UserError, reason

FILE = "index.json"
FORMAT = 1
_AT_ONCE = 32  # files looked at; a bucket answers in some hundredths of a second


@dataclasses.dataclass(frozen=True)
class Index:
    """A prepared split.

    Attributes:
        directory: its folder, which may be on gs://.
        stored: one of `shard.STORED`.
        shards: in the order of the source.
    """

    directory: Any
    stored: str
    shards: tuple[Entry, ...]

    @property
    def most(self) -> int:
        """The largest number of captions of one picture."""
        return max(entry.most for entry in self.shards)


def place(data: ConfigDict, split: str, load_size: int) -> Any:
    """The folder of a prepared split, whether it exists or not.

    Args:
        data: `config.data`: `shards`, the directory; `stored`, `crop`.
        split: "train" or "test".
        load_size: side of the pictures in pixels; only pixels depend on it.

    Raises:
        UserError: `stored` is unknown.
    """
    if data.stored not in shard.STORED:
        choices = ", ".join(shard.STORED)
        raise UserError(f"Unknown config.data.stored {data.stored!r}; choose from {choices}.")
    kind = f"pixels-{load_size}" if data.stored == shard.PIXELS else data.stored
    return paths.absolute(data.shards) / f"{kind}-{data.crop}" / split


def write(directory: Any, stored: str, shards: Sequence[Entry]) -> None:
    """Writes the index, which comes after everything else: a split that has one is whole."""
    known = {"format": FORMAT, "stored": stored}
    known["shards"] = [dataclasses.asdict(entry) for entry in shards]
    files.write_text(directory / FILE, json.dumps(known, indent=1) + "\n")


def exists(directory: Any) -> bool:
    """Whether a split has been prepared whole.

    Raises:
        UserError: the directory can't be read, for example without the right to.
    """
    try:
        return (directory / FILE).exists()
    except Exception as error:
        raise _unreadable(directory, error) from error


def read(directory: Any, leave_out: str = "") -> Index:
    """Reads the index of a prepared split.

    Args:
        directory: its folder.
        leave_out: names of shards to do without, separated by commas.

    Raises:
        UserError: it can't be read, or there is no shard of such a name.
    """
    try:
        known = json.loads((directory / FILE).read_text(encoding="utf-8"))
        if known["format"] != FORMAT:
            raise ValueError(f"format {known['format']}")
        shards = tuple(Entry(**entry) for entry in known["shards"])
    except Exception as error:
        raise _unreadable(directory, error) from error
    names = {name.strip() for name in leave_out.split(",") if name.strip()}
    _require_known(directory, shards, names)
    kept = tuple(entry for entry in shards if entry.images and entry.name not in names)
    return Index(directory, known["stored"], kept)


def require_whole(index: Index, shards: Sequence[Entry]) -> None:
    """Looks at the size of the shards' files.

    Raises:
        UserError: one is missing or has another size.
    """
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        problems = pool.map(lambda entry: shard.problem(index.directory, entry), shards)
        for entry, problem in zip(shards, problems, strict=True):
            if problem:
                raise shard.changed(index.directory, entry, problem)


def _require_known(directory: Any, shards: Sequence[Entry], names: Collection[str]) -> None:
    """Raises UserError if a name to leave out is of no shard; the other split has its own."""
    others = {"train", "test"} - {directory.name}
    own = {name for name in names if name.partition("-")[0] not in others}
    if unknown := sorted(own - {entry.name for entry in shards}):
        raise UserError(
            f"{directory} has no shard {unknown[0]!r}, which --config.data.leave_out names; its "
            f"shards are called {shards[0].name} and so on."
        )


def _unreadable(directory: Any, error: Exception) -> UserError:
    return UserError(
        f"The prepared set {directory} can't be read ({reason(error)}); check --config.data.shards "
        "and the right to read it, or prepare it again with --mode=prepare."
    )

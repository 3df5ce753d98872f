"""Paths of runs: local folders, or folders on Google Cloud Storage (gs://)."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stackgan_jax.runtime.errors import UserError

REMOTE = "gs://"


def folder(path: str | os.PathLike) -> Any:
    """Returns a `Path`, or for gs:// an `etils.epath.Path`, which has the same methods.

    Raises:
        UserError: the path has another scheme, for example ftp://.
    """
    text = os.fspath(path)
    if text.startswith(REMOTE):
        from etils import epath

        return epath.Path(text)
    if "://" in text:
        raise UserError(f"{text} can't be used; give a local folder, or one on {REMOTE}.")
    return Path(text)


def absolute(path: str | os.PathLike) -> Any:
    """Returns `folder(path)` as an absolute path.

    epath's own `absolute` would put gs:// paths below the current folder.
    """
    found = folder(path)
    return found.absolute() if isinstance(found, Path) else found


def require_local(path: str | os.PathLike, what: str) -> None:
    """Checks that `path` is on a local disk.

    Args:
        path: the path that was given.
        what: the option that gave it, as the error names it.

    Raises:
        UserError: the path is on gs://.
    """
    if os.fspath(path).startswith(REMOTE):
        raise UserError(
            f"{what} is {os.fspath(path)}, but has to be on a local disk; copy it there first "
            "(gcloud storage cp --recursive), or omit the option."
        )


def files(folder: Any) -> Iterator[Any]:
    """Every file below a folder, in order; a `Path`, or an `epath.Path`, whose `glob` can't."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def size(file: Any) -> int:
    """The size of a file in bytes; gs:// names it otherwise."""
    stat = file.stat()
    return stat.st_size if hasattr(stat, "st_size") else stat.length


def output_file(path: str | os.PathLike, option: str, default: str) -> Path:
    """Returns the file that an option names, checked before the work whose result it gets.

    Args:
        path: a file, or a folder in which the file gets its default name.
        option: that gave it, as the error names it: "--output".
        default: the file's name in a folder.

    Raises:
        UserError: the file's folder does not exist or is not writable, or is on gs://.
    """
    require_local(path, option)
    file = Path(path).expanduser()
    if file.is_dir():
        file /= default
    if not file.parent.is_dir():
        create = shlex.join(["mkdir", "-p", str(file.parent)])
        raise UserError(
            f"{option}={os.fspath(path)} can't be written: there is no folder {file.parent}; "
            f"create it with `{create}`, or choose another path."
        )
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UserError(f"{option}={file} can't be written; choose another path.")
    return file

"""Paths of runs: local folders, or folders on Google Cloud Storage (gs://)."""

import os
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

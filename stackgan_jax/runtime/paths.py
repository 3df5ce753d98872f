"""Folders of runs: local ones, or on Google Cloud Storage (gs://), as JAX's libraries read them."""

import os
from pathlib import Path
from typing import Any

from stackgan_jax.runtime.errors import UserError

REMOTE = "gs://"


def folder(path: str | os.PathLike) -> Any:
    """A `Path`, or for gs:// an `etils.epath.Path`, which has the same methods.

    Raises UserError for another scheme.
    """
    text = os.fspath(path)
    if text.startswith(REMOTE):
        from etils import epath

        return epath.Path(text)
    if "://" in text:
        raise UserError(f"{text} can't be used; give a local folder, or one on {REMOTE}.")
    return Path(text)


def absolute(path: str | os.PathLike) -> Any:
    """`folder(path)`, from the root; epath's own `absolute` puts gs:// below the current folder."""
    found = folder(path)
    return found.absolute() if isinstance(found, Path) else found


def require_local(path: str | os.PathLike, what: str) -> None:
    """Raises UserError for a path on gs://."""
    if os.fspath(path).startswith(REMOTE):
        raise UserError(
            f"{what} is {os.fspath(path)}, but has to be on a local disk; copy it there first "
            "(gcloud storage cp --recursive), or leave the setting out."
        )

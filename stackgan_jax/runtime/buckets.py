"""Google Cloud Storage (gs://): what training there needs, and which errors come from there.

TensorFlow, TensorStore and Google's own library each reach it, and each raises errors of its own.
"""

import importlib.util
import re
from typing import Any

from stackgan_jax.runtime import paths
from stackgan_jax.runtime.errors import UserError, reason

_PLACE = re.compile(r"gs://[^\s'\",;]+")
_GOOGLE = ("google.api_core", "google.auth", "google.cloud")


def require_library(folder: Any) -> None:
    """Raises UserError if checkpoints in a folder on gs:// need a package that is not installed."""
    if not str(folder).startswith(paths.REMOTE):
        return
    try:
        found = importlib.util.find_spec("google.cloud.storage")
    except ModuleNotFoundError:  # of "google.cloud"
        found = None
    if found is None:
        raise UserError(
            f"Saving checkpoints in {folder} needs google-cloud-storage; install it with "
            "`pip install -e '.[gcs]'`, or give a local --workdir."
        )


def is_of_files(error: BaseException) -> bool:
    """Whether an error is one of reading or writing files, on a disk or on gs://."""
    return isinstance(error, OSError) or type(error).__module__.startswith(("tensorflow", *_GOOGLE))


def is_missing(error: BaseException) -> bool:
    """Whether an error means that a file is not there."""
    return isinstance(error, FileNotFoundError) or type(error).__name__ == "NotFoundError"


def is_of_bucket(error: BaseException) -> bool:
    """Whether an error came from gs://."""
    google = type(error).__module__.startswith(_GOOGLE)
    return google or (is_of_files(error) and bool(_PLACE.search(str(error))))


def sentence(error: BaseException) -> str:
    """What to tell about an error that came from gs://, and what to do."""
    place = _PLACE.search(str(error))
    return (
        f"{place[0] if place else 'The bucket'} can't be used ({reason(error, 300)}). Check that "
        "the bucket exists, that you may read and write it (`gcloud auth application-default "
        "login`), and the network; then run the same command again: it goes on from what was saved."
    )

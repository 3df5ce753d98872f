"""Packages that only parts of the program need: one sentence where one is missing."""

import contextlib
from collections.abc import Iterator

from stackgan_jax.runtime.errors import UserError

EVERYTHING = "-e ."  # brings what a light installation leaves out, in the versions of setup.cfg


@contextlib.contextmanager
def needed(package: str, by: str, install: str = EVERYTHING) -> Iterator[None]:
    """Lets the imports inside fail with a sentence instead of a traceback.

    Args:
        package: the package's name, as its own pages write it.
        by: what needs it, as the subject of the sentence.
        install: the arguments of the `pip install` that brings it.

    Raises:
        UserError: an import failed.
    """
    try:
        yield
    except ImportError as error:
        raise missing(package, by, install, f" ({error})") from error


def missing(
    package: str, by: str, install: str = EVERYTHING, details: str = "", instead: str = ""
) -> UserError:
    """Returns the error that `needed` raises.

    Args:
        package: see `needed`.
        by: see `needed`.
        install: see `needed`.
        details: what Python says of it, with a space in front.
        instead: what can be done without the package, as an imperative; "" for nothing.
    """
    choice = f", or {instead}" if instead else ""
    return UserError(
        f"{by} needs {package}, which is not installed{details}; install it with "
        f"`pip install {install}`{choice}."
    )

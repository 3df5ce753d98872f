"""Full disks: which errors mean one, whatever library raises them, and the sentence for them."""

import errno
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TEXTS = re.compile("No space left on device|Disk quota exceeded|File too large", re.IGNORECASE)
_PATH = re.compile(r"""["'](/[^"']+)["']|(?:^|\s)(/[^\s;:,]+)""")
REASON = "no space left on device"


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that it was raised for, means that a disk is full."""
    return any(_means_full(each) for each in _chain(error))


def sentence(error: BaseException) -> str:
    """What to tell about an error of a full disk: the place, as far as it is known, and what to do.

    Nothing that was saved is lost: every file is written whole or not at all.
    """
    place = next((found for each in _chain(error) if (found := _place(each))), "")
    return (
        f"{place + ': ' if place else ''}{REASON}. Free space, then run the same command again; "
        "it goes on from what was saved."
    )


def silence_libraries() -> None:
    """Keeps what libraries log of a full disk, with their stacks, away from the sentence."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(_says_something_else)
    sys.unraisablehook = _print_uncaught


def _print_uncaught(error: Any) -> None:
    """Prints an error that nothing can catch, but for those of writes that Orbax has given up.

    TensorStore reports the end of such a write to an event loop that is closed by then, and Python
    would print a stack for each.

    Args:
        error: see `sys.unraisablehook`.
    """
    value = error.exc_value
    if not (isinstance(value, RuntimeError) and str(value) == "Event loop is closed"):
        sys.__unraisablehook__(error)


def _says_something_else(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not (_TEXTS.search(record.getMessage()) or (error and is_full(error)))


def _means_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _CODES
    return bool(_TEXTS.search(str(error)))


def _place(error: BaseException) -> str:
    """The path that an error names, or ""."""
    if not _means_full(error):
        return ""
    if isinstance(error, OSError) and error.filename:
        return str(error.filename)
    found = _PATH.search(str(error))
    return (found[1] or found[2]) if found else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__

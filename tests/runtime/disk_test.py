"""Full disks are recognised in any library's errors, and their place is named."""

import errno
import logging
import sys

import pytest

from stackgan_jax.runtime import disk

TENSORSTORE = (
    'RESOURCE_EXHAUSTED: Error writing "w/0.0" in OCDBT database at local file "/runs/a/4/d/": '
    'Failed writing: "/runs/a/4/d/x" [OS error 28: ENOSPC No space left on device]'
)


def raised_for(error):
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("a save failed") from cause
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/runs/a/log"), "/runs/a/log: "),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/home/b"), "/home/b: "),
        (ValueError(TENSORSTORE), "/runs/a/4/d/: "),
        (raised_for(OSError(errno.ENOSPC, "No space left on device", "/c")), "/c: "),
        (RuntimeError("No space left on device"), ""),
    ],
)
def test_a_full_disk_is_recognised_and_named(error, place):
    assert disk.is_full(error)
    assert disk.sentence(error).startswith(f"{place}no space left on device. Free space")


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), ValueError("x")])
def test_other_errors_are_none(error):
    assert not disk.is_full(error)


def test_libraries_logs_of_a_full_disk_are_kept_away_and_others_are_not(caplog):
    disk.silence_libraries()
    log = logging.getLogger("asyncio")
    log.error("Task exception was never retrieved", exc_info=ValueError(TENSORSTORE))
    log.error("another")
    assert [record.getMessage() for record in caplog.records] == ["another"]


class Ends:
    """Raises where nothing can catch the error."""

    def __init__(self, sentence):
        self.sentence = sentence

    def __del__(self):
        raise RuntimeError(self.sentence)


@pytest.mark.parametrize(
    ("sentence", "printed"), [("Event loop is closed", False), ("A bug", True)]
)
def test_stacks_of_given_up_writes_are_not_printed(sentence, printed, capsys, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", None)
    disk.silence_libraries()
    Ends(sentence)
    assert (sentence in capsys.readouterr().err) == printed

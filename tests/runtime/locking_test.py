"""The lock of a preparation: one process at a time, released when the process ends."""

import subprocess
import sys

from stackgan_jax.runtime.locking import LOCK_FILE, locked

HOLD = """
import pathlib, sys, time
from stackgan_jax.runtime.locking import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    if sys.argv[2] == "wait":
        time.sleep(600)
"""


def start(path, then):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), then],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_lock_is_free_again_after_the_block(tmp_path, capsys):
    path = tmp_path / "new" / "data"
    for _ in range(2):
        with locked(path):
            assert (tmp_path / "new" / LOCK_FILE).exists()
    assert not path.exists()
    assert not capsys.readouterr().err


def test_a_second_process_waits_and_says_so_until_the_first_is_killed(tmp_path):
    path = tmp_path / "data"
    first = start(path, "wait")
    try:
        assert first.stdout.readline() == "held\n"
        second = start(path, "end")
        try:
            waiting = second.stderr.readline()
            assert waiting == f"Waiting for the process that prepares {path}.\n"
            assert second.poll() is None
            first.kill()
            assert second.communicate(timeout=60)[0] == "held\n"
        finally:
            second.kill()
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 0

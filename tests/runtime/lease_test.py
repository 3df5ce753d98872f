"""One trainer a folder: a second is refused, and what a dead one left is taken over."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from stackgan_jax.runtime import lease
from stackgan_jax.runtime.errors import UserError

HOLDER = """
import sys, time
from pathlib import Path
from stackgan_jax.runtime import lease
with lease.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lease of the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_by_name(holder, tmp_path):
    assert lease.is_held(tmp_path)
    with pytest.raises(UserError, match=rf"trained by Process {holder.pid} on .*, since 20"):
        lease.hold(tmp_path).__enter__()


@pytest.mark.parametrize("waited_for", [True, False])
def test_what_a_killed_process_left_is_taken_over_at_once(waited_for, holder, tmp_path):
    """Also while its parent has not asked for its status."""
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | (0 if waited_for else os.WNOWAIT))
    assert not lease.is_held(tmp_path)
    began = time.monotonic()
    with lease.hold(tmp_path):
        assert time.monotonic() - began < lease.BEAT


def test_a_process_may_hold_a_folder_twice_and_leaves_nothing(tmp_path):
    with lease.hold(tmp_path), lease.hold(tmp_path):
        assert lease.is_held(tmp_path)
    assert not lease.is_held(tmp_path) and not (tmp_path / lease.FILE).exists()


def write_foreign(folder, seen):
    one = {"host": "tpu-7", "pid": 12, "where": "tpu-7 x", "started": "1", "since": "today"}
    (folder / lease.FILE).write_text(json.dumps({**one, "seen": seen}))


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(lease, "WATCH", 0.6)


def test_a_trainer_on_another_machine_is_refused_while_it_writes(hasty, tmp_path):
    write_foreign(tmp_path, time.time())
    later = threading.Timer(0.2, write_foreign, (tmp_path, time.time() + 1))
    later.start()
    assert lease.is_held(tmp_path)
    with pytest.raises(UserError, match="trained by Process 12 on tpu-7, since today"):
        lease.hold(tmp_path).__enter__()
    later.join()


def test_a_silent_trainer_on_another_machine_is_taken_over(hasty, tmp_path, capsys):
    write_foreign(tmp_path, time.time() - 10)
    assert not lease.is_held(tmp_path)
    with lease.hold(tmp_path):
        assert json.loads((tmp_path / lease.FILE).read_text())["host"] != "tpu-7"
    assert "Process 12 on tpu-7 has trained in" in capsys.readouterr().out


def test_an_unreadable_lease_counts_as_none(tmp_path):
    (tmp_path / lease.FILE).write_text('{"host": ')
    with lease.hold(tmp_path):
        pass

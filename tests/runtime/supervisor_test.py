"""A process that a signal ends says why in one sentence; the libraries' stacks are in a file."""

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
from stackgan_jax.runtime import supervisor
supervisor.supervise(sys.argv[1])
print("a warning", file=sys.stderr)
sys.stderr.write("E1126 17:00:00.1 12 client.cc:1] Heartbeat failed\\n    @ 0x55 abort\\n")
sys.stderr.write("F1126 17:00:00 1 a.cc:2] End\\n*** Check failure\\n  @ 0x1\\n")
sys.stderr.write("E1126 17:00:02.1 12 coordination_service_agent.cc:289] Polled:\\n1\\nCrashed\\n")
sys.stderr.write("Traceback (most recent call last):\\n  File\\nTimeoutError: a barrier\\n")
sys.stderr.flush()
{end}
"""


def ended(folder, end):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{end}", end), str(folder)],
        capture_output=True,
        text=True,
    )


def test_the_sentence_is_alone_and_names_the_file_of_what_libraries_reported(tmp_path):
    done = ended(tmp_path, "os.abort()")
    first, sentence = done.stderr.splitlines()
    assert done.returncode == 1 and first == "a warning"
    assert sentence.startswith("stackgan_jax: Another process of this run ended")
    reported = Path(re.search(r"libraries reported is in (\S+)\.$", sentence)[1])
    assert reported.parent == tmp_path
    for part in ("Heartbeat failed", "@ 0x1", "Crashed", "TimeoutError: a barrier"):
        assert part in reported.read_text()


def test_a_sentence_of_the_program_is_printed_though_a_peer_is_gone(tmp_path):
    done = ended(tmp_path, "print('stackgan_jax: Stopped.', file=sys.stderr); sys.exit(1)")
    assert done.stderr.splitlines() == ["a warning", "stackgan_jax: Stopped."]


def test_without_a_signal_the_status_is_the_childs(tmp_path):
    done = ended(tmp_path, "sys.exit(3)")
    assert done.returncode == 3 and done.stderr == "a warning\n"

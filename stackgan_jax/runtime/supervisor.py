"""A parent process for each process of a run of several; it reports why its child ended.

When the peers of a process are gone, JAX ends the process with abort() from a thread of its own, so
the process cannot print the reason. A process that the kernel kills cannot either.
"""

import ctypes
import faulthandler
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # Linux: sets the signal that a process gets when its parent ends.


def supervise(workdir: str) -> None:
    """Forks: the child returns, and the parent waits for it and exits with its status.

    The parent passes SIGTERM on to the child. Call it before anything starts a thread.

    Args:
        workdir: the folder of the run, for the sentence that the parent prints.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if not child:
        _end_with(parent)
        # absl enables it; on abort() its stacks would hide the parent's sentence.
        faulthandler.disable()
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A terminal sends it to the child too.
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        print(f"stackgan_jax: {_reason(-code, workdir)}", file=sys.stderr, flush=True)
    os._exit(code if code >= 0 else 1)


def _end_with(parent: int) -> None:
    """Makes the kernel kill this process when its parent ends; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _reason(number: int, workdir: str) -> str:
    """Returns why the signal `number` ended the child, and what to do."""
    again = (
        "Start all processes again with the same command: training continues from the last "
        f"checkpoint in {workdir}."
    )
    if number == signal.SIGABRT:
        return (
            "Another process of this run ended or never started, or the connection to it broke, "
            f"so this one ended too. {again}"
        )
    name = signal.Signals(number).name
    memory = ", perhaps because memory ran out" if number == signal.SIGKILL else ""
    return f"This process was ended by {name}{memory}. {again}"

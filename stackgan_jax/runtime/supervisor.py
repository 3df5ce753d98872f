"""A parent for each process of several: it says in a sentence why its child had to end.

JAX ends a process whose peers are gone by abort(), from a thread of its own, so nothing in that
process can speak; and a process that the kernel kills says nothing either.
"""

import ctypes
import faulthandler
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when its parent ends


def supervise(workdir: str) -> None:
    """Goes on in a child process; the parent stays behind, and ends as the child did.

    To be called before anything starts a thread. SIGTERM is passed on to the child.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if not child:
        _end_with(parent)
        faulthandler.disable()  # absl's; on abort() it would bury the sentence under all stacks
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the child as well
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        print(f"stackgan_jax: {_reason(-code, workdir)}", file=sys.stderr, flush=True)
    os._exit(code if code >= 0 else 1)


def _end_with(parent: int) -> None:
    """The kernel kills this process when its parent ends (Linux; elsewhere it may live on)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _reason(number: int, workdir: str) -> str:
    again = f"Start all processes again with the same command: training goes on from the last \
checkpoint in {workdir}."
    if number == signal.SIGABRT:
        return (
            "Another process of this run is gone or never came, or the connection to it broke, so "
            f"this one ended too. {again}"
        )
    name = signal.Signals(number).name
    memory = ", perhaps for want of memory" if number == signal.SIGKILL else ""
    return f"This process was ended by {name}{memory}. {again}"

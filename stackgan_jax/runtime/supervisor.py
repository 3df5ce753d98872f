"""A parent process for each process of a run of several; it reports why its child ended.

When the peers of a process are gone, JAX ends the process with abort() from a thread of its own, so
the process cannot print the reason. A process that the kernel kills cannot either.
"""

import ctypes
import faulthandler
import os
import re
import signal
import sys
import tempfile
import threading

# An error in the form of Google's logging, and the lines of a stack that may follow it.
_REPORT = re.compile(r"[EF]\d{4} \d\d:\d\d|\*\*\* |Fatal Python error|terminate called")
_CONTINUED = re.compile(r"\s|@|#|\*\*\*|Thread 0x|Current thread|Extension modules|$")
# After this report a process ends; until then its threads report of each other over many lines.
_PEER_GONE = re.compile(r"[EF]\d{4} \d\d:\d\d.* coordination_service")
_SENTENCE = "stackgan_jax: "
PR_SET_PDEATHSIG = 1  # Linux: sets the signal that a process gets when its parent ends.


def supervise(workdir: str, trains: bool = True) -> None:
    """Forks: the child returns, and the parent waits for it and exits with its status.

    The parent passes SIGTERM to the child, and on to the terminal what the child writes to stderr.
    If a signal ends the child, the errors and stacks that C++ libraries reported are in a file, so
    that the parent's sentence stands alone. Call it before anything starts a thread.

    Args:
        workdir: the folder of the run, for the sentence that the parent prints.
        trains: whether the run is trained, so that the sentence may speak of checkpoints.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.dup2(writing, sys.__stderr__.fileno())
        os.close(writing)
        _end_with(parent)
        # absl enables it; on abort() its stacks would hide the parent's sentence.
        faulthandler.disable()
        return
    os.close(writing)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A terminal sends it to the child too.
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
    held: list[str] = []
    passing = threading.Thread(target=_pass_on, args=(reading, held), daemon=True)
    passing.start()
    _, status = os.waitpid(child, 0)
    passing.join(timeout=2)  # A process that the child has left may keep the pipe open.
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        again = "Start all processes again with the same command"
        if trains:
            again += f": training continues from the last checkpoint in {workdir}"
        sentence = f"{_reason(-code)} {again}.{_kept(held, workdir)}"
        print(f"{_SENTENCE}{sentence}", file=sys.stderr, flush=True)
    os._exit(code if code >= 0 else 1)


def _pass_on(reading: int, held: list[str]) -> None:
    """Prints what the child writes to stderr, but holds back the reports of C++ libraries."""
    of_library = ends = False
    with os.fdopen(reading, errors="replace") as lines:
        for line in lines:
            goes_on = of_library and _CONTINUED.match(line)
            ends = ends or bool(_PEER_GONE.match(line))
            of_library = bool(_REPORT.match(line) or goes_on)
            of_library |= ends and not line.startswith(_SENTENCE)
            if of_library:
                held.append(line)
            else:
                sys.stderr.write(line)
                sys.stderr.flush()


def _kept(held: list[str], workdir: str) -> str:
    """Writes the held lines to a file; → the sentence that names it, "" if there are none."""
    if not held:
        return ""
    folder = workdir if os.path.isdir(workdir) else tempfile.gettempdir()
    path = os.path.join(folder, f"libraries_of_process_{os.getpid()}.log")
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(held)
    except OSError:
        return ""
    return f" What the libraries reported is in {path}."


def _end_with(parent: int) -> None:
    """Makes the kernel kill this process when its parent ends; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _reason(number: int) -> str:
    """Returns why the signal `number` ended the child."""
    if number == signal.SIGABRT:
        return (
            "Another process of this run ended or never started, or the connection to it broke, "
            "so this one ended too."
        )
    name = signal.Signals(number).name
    memory = ", perhaps because memory ran out" if number == signal.SIGKILL else ""
    return f"This process was ended by {name}{memory}."

"""The lease of a folder: one program at a time works in it, also on shared disks and gs://.

A lease is a file that names its holder and is rewritten every few seconds. On a local disk a lock
that the kernel releases decides; elsewhere a lease whose file no longer changes is stale.
"""

import contextlib
import datetime
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stackgan_jax.runtime import buckets, files
from stackgan_jax.runtime.errors import UserError

LOCK = ".training"
FILE = ".trainer.json"
BEAT = 5.0  # Seconds between two writings.
WATCH = 4 * BEAT  # Seconds without one after which a lease is stale.
_held: set[str] = set()  # Folders that this process holds.


@contextlib.contextmanager
def hold(folder: Any) -> Iterator[None]:
    """Holds the lease of a folder; a process that holds it already may take it once more.

    Args:
        folder: a `Path`, or an `epath.Path` on gs://; it must exist.

    Raises:
        UserError: another process holds it; the sentence says which, and since when.
    """
    if str(folder) in _held:
        yield
        return
    with _locked(folder):
        _refuse_holder(folder)
        ended = threading.Event()
        beats = _beats()
        with _tolerated():  # It informs others; the folder itself may still do.
            _write(folder, next(beats))
        writer = threading.Thread(target=_keep, args=(folder, beats, ended), daemon=True)
        writer.start()
        _held.add(str(folder))
        try:
            yield
        finally:
            _held.discard(str(folder))
            ended.set()
            writer.join()
            with _tolerated():
                (folder / FILE).unlink(missing_ok=True)


def is_held(folder: Any) -> bool:
    """Whether a process holds the lease of a folder at this moment."""
    if isinstance(folder, Path) and (folder / LOCK).exists():
        try:
            with FileLock(folder / LOCK, thread_local=False).acquire(blocking=False):
                pass
        except Timeout:
            return True
        except (OSError, NotImplementedError):
            pass
    holder = _read(folder)
    if holder is None or holder["where"] == _where():
        return bool(holder) and _runs(holder)
    return time.time() - holder["seen"] < WATCH


@contextlib.contextmanager
def _locked(folder: Any) -> Iterator[None]:
    """Holds the lock of a local folder; elsewhere, and on disks without locks, nothing."""
    if not isinstance(folder, Path):
        yield
        return
    lock = FileLock(folder / LOCK, is_singleton=True, thread_local=False)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lock.acquire(timeout=1))  # `is_held` holds it for a moment.
        except Timeout:
            raise _refusal(folder, _read(folder)) from None
        except (OSError, NotImplementedError):
            pass
        yield


def _refuse_holder(folder: Any) -> None:
    """Raises UserError if the lease that is in a folder is alive."""
    holder = _read(folder)
    if holder is None:
        return
    if holder["where"] == _where():
        if _runs(holder):
            raise _refusal(folder, holder)
        return
    print(
        f"{_name(holder)} has trained in {folder}; looking for {WATCH:.0f} s whether it still "
        "does.",
        flush=True,
    )
    deadline = time.monotonic() + WATCH
    while time.monotonic() < deadline:
        time.sleep(BEAT / 2)
        now = _read(folder)
        if now is None:
            return
        if now != holder:
            raise _refusal(folder, now)


def _refusal(folder: Any, holder: dict[str, Any] | None) -> UserError:
    who = f"{_name(holder)}, since {holder['since']}" if holder else "another process"
    return UserError(
        f"{folder} is being trained by {who}; wait until it has ended, stop it, or give another "
        "--workdir."
    )


def _name(holder: dict[str, Any]) -> str:
    return f"Process {holder['pid']} on {holder['host']}"


def _beats() -> Iterator[dict[str, Any]]:
    """This process's leases, each with another time."""
    own = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "where": _where(),
        "started": _started(os.getpid()),
        "since": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }
    while True:
        yield {**own, "seen": time.time()}


def _keep(folder: Any, beats: Iterator[dict[str, Any]], ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with _tolerated():  # A full disk: the next may succeed.
            _write(folder, next(beats))


@contextlib.contextmanager
def _tolerated() -> Iterator[None]:
    """Lets errors of files pass, on disks and on gs://."""
    try:
        yield
    except Exception as error:
        if not buckets.is_of_files(error):
            raise


def _write(folder: Any, lease: dict[str, Any]) -> None:
    files.write_text(folder / FILE, json.dumps(lease, indent=1) + "\n")


def _read(folder: Any) -> dict[str, Any] | None:
    """The lease in a folder, of another process; None if there is none or it can't be read."""
    try:
        lease = json.loads((folder / FILE).read_text(encoding="utf-8"))
        complete = {"host", "pid", "where", "started", "since", "seen"} <= lease.keys()
    except Exception as error:
        if buckets.is_of_files(error) or isinstance(error, ValueError | AttributeError):
            return None
        raise
    return lease if complete else None


def _runs(holder: dict[str, Any]) -> bool:
    """Whether the holder, a process of this machine, still runs."""
    return holder["started"] is not None and _started(holder["pid"]) == holder["started"]


def _started(pid: int) -> str | None:
    """When a process of this machine began, in the kernel's ticks; None if there is none.

    One that has ended stays in the list until its parent asks for its status, which in many
    containers nobody does.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]


def _where() -> str:
    """What numbers processes: the machine since its start, or a container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()

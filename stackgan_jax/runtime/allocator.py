"""When the C library keeps freed memory, and when it returns it to the system.

Training keeps it, so that the next step can reuse it; a server returns it.

XLA's CPU runtime allocates the working memory of a step when the step begins and frees it when the
step ends. glibc returns blocks of this size to the system at once, and the next step pays a page
fault for every 4 KiB of them: a quarter of the time of a step of narrow networks.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

# Parameters of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
# Bytes. Larger blocks still come from the system, and so do blocks that do not fit the 64 MiB of a
# thread's arena: `restart_with_huge_pages` makes them cost fewer page faults.
_LARGEST = 1 << 30
# What Linux does with pages of 2 MiB; the chosen word is in brackets.
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_TUNABLE = "glibc.malloc.hugetlb"


def restart_with_huge_pages() -> None:
    """Starts this program again with pages of 2 MiB, where Linux gives them to who asks.

    The new program replaces this one: same process, same command line. glibc reads the setting,
    which is in the environment, only at its own start. Nothing happens if the setting is there
    already, if Linux gives such pages to all or to none, if glibc is older than 2.35, or if
    another program runs this one inside itself.
    """
    given = os.environ.get("GLIBC_TUNABLES", "")
    if _TUNABLE in given or not (_is_the_program() and _can_ask_for_huge_pages()):
        return
    os.environ["GLIBC_TUNABLES"] = f"{given}:{_TUNABLE}=1".lstrip(":")
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:
        return  # Pages of 4 KiB do as well.


def _is_the_program() -> bool:
    """Whether Python was started for one of this project's programs."""
    first, *rest = *sys.orig_argv[1:], ""
    module = rest[0] if first == "-m" else ""
    return module.startswith("stackgan_jax.") or Path(first).name == "stackgan-jax"


def _can_ask_for_huge_pages() -> bool:
    library, version = platform.libc_ver()
    try:
        asked = "[madvise]" in _HUGE_PAGES.read_text()
    except OSError:
        return False
    return asked and library == "glibc" and tuple(map(int, version.split("."))) >= (2, 35)


def keep_freed_memory() -> bool:
    """Makes this process reuse freed memory from now on.

    The process then stays as large as it was at its peak. Each thread keeps its own arena: with one
    arena for all, threads wait for each other, and a step of narrow networks takes twice as long.

    Returns:
        Whether the C library can do this; glibc can.
    """
    mallopt = _glibc("mallopt")
    # glibc before 2.35 rejects a threshold this high, but it can be stopped from mapping blocks.
    reuses = mallopt(_M_MMAP_THRESHOLD, _LARGEST) or mallopt(_M_MMAP_MAX, 0)
    return bool(reuses and mallopt(_M_TRIM_THRESHOLD, -1))


def give_back_freed_memory() -> None:
    """Returns to the system what this process has freed and still keeps, where glibc can.

    A server that calls this now and then stays about as large as what it uses.
    """
    _glibc("malloc_trim")(0)


def share_arenas() -> None:
    """Makes the threads that start from now on allocate from two common arenas.

    For a server: each of its many short-lived threads would leave an arena of its own behind.
    """
    _glibc("mallopt")(_M_ARENA_MAX, 2)


def _glibc(name: str) -> Callable[..., int]:
    """A function of the C library; does nothing and returns 0 where the library has none."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return lambda *_: 0

"""Keeps memory that was freed, so that a training step doesn't fetch it from the system anew.

XLA's CPU runtime allocates a step's working memory when the step begins and frees it at its end.
glibc gives blocks that large back to the system at once, and the next step pays a page fault for
every 4 KiB of them: a quarter of the time of a step of narrow networks.
"""

import ctypes

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
# Larger blocks still come from the system, and so does what doesn't fit the 64 MiB of a thread's
# arena: the work on them dwarfs the faults.
_LARGEST = 1 << 30


def keep_freed_memory() -> bool:
    """Has this process reuse freed memory from now on → whether its C library can (glibc does).

    The process then stays as large as it was at its largest. Threads keep arenas of their own: in
    one for all of them they wait for each other, and a step of narrow networks takes twice as long.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # glibc before 2.35 refuses so high a threshold, but can be kept from mapping blocks at all.
    inside = mallopt(_M_MMAP_THRESHOLD, _LARGEST) or mallopt(_M_MMAP_MAX, 0)
    return bool(inside and mallopt(_M_TRIM_THRESHOLD, -1))

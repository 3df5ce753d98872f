"""Makes the C library keep freed memory, so that the next training step can reuse it.

XLA's CPU runtime allocates the working memory of a step when the step begins and frees it when the
step ends. glibc returns blocks of this size to the system at once, and the next step pays a page
fault for every 4 KiB of them: a quarter of the time of a step of narrow networks.
"""

import ctypes

# Parameters of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
# Bytes. Larger blocks still come from the system, and so do blocks that do not fit the 64 MiB of a
# thread's arena: the work on such blocks takes much longer than their page faults.
_LARGEST = 1 << 30


def keep_freed_memory() -> bool:
    """Makes this process reuse freed memory from now on.

    The process then stays as large as it was at its peak. Each thread keeps its own arena: with one
    arena for all, threads wait for each other, and a step of narrow networks takes twice as long.

    Returns:
        Whether the C library can do this; glibc can.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # glibc before 2.35 rejects a threshold this high, but it can be stopped from mapping blocks.
    reuses = mallopt(_M_MMAP_THRESHOLD, _LARGEST) or mallopt(_M_MMAP_MAX, 0)
    return bool(reuses and mallopt(_M_TRIM_THRESHOLD, -1))

"""The processor cores that this process may use."""

import os


def usable() -> int:
    """Returns their number; on systems without affinities, that of all cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

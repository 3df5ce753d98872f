"""TensorBoard's event files, written where TensorFlow is installed."""

from pathlib import Path
from typing import Any


def writer(folder: Path) -> Any:
    """Returns clu's TensorBoard writer for `folder`, or None where TensorFlow is not installed.

    It prints a note in the second case.
    """
    try:
        import tensorflow  # noqa: F401
        from clu import metric_writers
    except ImportError:
        print("TensorFlow is not installed: TensorBoard logs are not written.", flush=True)
        return None
    return metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(folder)))

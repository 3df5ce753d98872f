"""TensorBoard's event files, where TensorFlow is installed."""

from pathlib import Path
from typing import Any


def writer(folder: Path) -> Any:
    """clu's TensorBoard writer, or None with a word where TensorFlow is not installed."""
    try:
        import tensorflow  # noqa: F401
        from clu import metric_writers
    except ImportError:
        print("TensorFlow is not installed: no TensorBoard log, only files of text.", flush=True)
        return None
    return metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(folder)))

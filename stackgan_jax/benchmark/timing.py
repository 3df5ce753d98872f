"""Repeating something and telling how long it takes: the median and the spread."""

import time
from collections.abc import Callable, Sequence

import numpy as np

LEAST = 3  # samples, however long they take
SHORTEST = 0.1  # seconds of a sample, so that starting and waiting weigh little


def seconds_of(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def times_per_sample(run: Callable[[int], float]) -> int:
    """How many repetitions last SHORTEST; the first, which may compile, is not timed."""
    run(1)
    return max(1, round(SHORTEST / max(run(1), 1e-6)))


def interleaved(
    runs: Sequence[Callable[[int], float]], seconds: float
) -> tuple[np.ndarray, list[int]]:
    """Takes samples of each in turn.

    Args:
      runs: each does its work n times and returns how many seconds that took.
      seconds: how long to go on, for all of them together.
    Returns:
      seconds of one repetition, `[samples, runs]`, and how many repetitions made a sample.
    """
    times = [times_per_sample(run) for run in runs]
    samples = []
    end = time.monotonic() + seconds
    while len(samples) < LEAST or time.monotonic() < end:
        samples.append([run(n) / n for run, n in zip(runs, times, strict=True)])
    return np.array(samples), times


def summary(samples: np.ndarray) -> dict[str, float]:
    """`[n]` seconds → milliseconds: median, quartiles, smallest, and how many samples."""
    first, middle, third = np.percentile(samples, [25, 50, 75]) * 1e3
    return {
        "median": round(float(middle), 4),
        "first_quartile": round(float(first), 4),
        "third_quartile": round(float(third), 4),
        "smallest": round(float(samples.min() * 1e3), 4),
        "samples": len(samples),
    }

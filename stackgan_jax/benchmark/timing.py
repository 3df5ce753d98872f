"""Repeats a computation and measures its time: the median and the spread."""

import time
from collections.abc import Callable, Sequence

import numpy as np

LEAST = 3  # samples, however long they take
SHORTEST = 0.1  # seconds of a sample; longer than the overhead of starting and waiting


def seconds_of(function: Callable[[], object]) -> float:
    """Calls `function` and returns how many seconds that took."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def repetitions_per_sample(run: Callable[[int], float]) -> int:
    """Returns how many repetitions last SHORTEST; the first one may compile and is not timed."""
    run(1)
    return max(1, round(SHORTEST / max(run(1), 1e-6)))


def interleaved(
    runs: Sequence[Callable[[int], float]], seconds: float
) -> tuple[np.ndarray, list[int]]:
    """Takes samples of several computations in turn.

    Args:
        runs: functions that do their work n times and return how many seconds that took.
        seconds: how long to continue, for all computations together.

    Returns:
        The seconds of one repetition, `[samples, runs]`, and the number of repetitions in each
        run's samples.
    """
    repetitions = [repetitions_per_sample(run) for run in runs]
    samples = []
    end = time.monotonic() + seconds
    while len(samples) < LEAST or time.monotonic() < end:
        samples.append([run(n) / n for run, n in zip(runs, repetitions, strict=True)])
    return np.array(samples), repetitions


def summary(samples: np.ndarray) -> dict[str, float]:
    """Summarises samples for the JSON file.

    Args:
        samples: seconds, `[n]`.

    Returns:
        Milliseconds (median, quartiles and smallest), and the number of samples.
    """
    first, middle, third = np.percentile(samples, [25, 50, 75]) * 1e3
    return {
        "median": round(float(middle), 4),
        "first_quartile": round(float(first), 4),
        "third_quartile": round(float(third), 4),
        "smallest": round(float(samples.min() * 1e3), 4),
        "samples": len(samples),
    }

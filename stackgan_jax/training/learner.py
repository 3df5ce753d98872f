"""What the loop trains: the interface of every learner."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from stackgan_jax.data import batches

Step = Callable[[Any, Mapping[str, jax.Array]], tuple[Any, Mapping[str, jax.Array]]]


@dataclasses.dataclass(frozen=True)
class Preview:
    """A page of pictures, and what was measured along with it.

    Attributes:
        rows: of uint8 pictures `[s, s, 3]`.
        captions: one for each row.
        headings: one for each column.
        scalars: numbers by name.
        histograms: arrays by name, of which the distribution matters.
    """

    rows: Sequence[Sequence[np.ndarray]]
    captions: Sequence[str]
    headings: Sequence[str]
    scalars: Mapping[str, float] = dataclasses.field(default_factory=dict)
    histograms: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Learner:
    """All that the loop knows of what it trains.

    Attributes:
        init: key → state, on the devices.
        step: (state, batch) → (state, scalars); the state is donated.
        batches: (start, stop) → for each step this process's part of the batch that `step` takes.
        parameters: state → network name → its parameters.
        preview: state → a page, always of the same captions and noise; None for no pictures.
        finish: called with the final state; None for nothing to do.
        steps: (state, stacked batches) → (state, stacked scalars): several steps in one dispatch.
        together: how many steps one dispatch should hold; 1 for `step` alone.
    """

    init: Callable[[jax.Array], Any]
    step: Step
    batches: Callable[[int, int], Iterator[batches.Batch]]
    parameters: Callable[[Any], Mapping[str, Any]]
    preview: Callable[[Any], Preview] | None = None
    finish: Callable[[Any], None] | None = None
    steps: Step | None = None
    together: int = 1

"""Progress of long work: a bar on a terminal, a line now and then in a file or a pipe."""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

LINE_EVERY = 5.0  # seconds between two lines in a file or a pipe


class Bar:
    """A bar on the terminal with counts, rate and remaining time, and lines of details below it.

    The rate and the remaining time count from the first call of `draw`: the time before it, for
    example the start of workers or a compilation, is left out.

    Args:
        what: the work, at the left end of the bar.
        total: the number of units of the whole work.
        verb: what happens to a unit, as a participle: "drawn".
        unit: the plural of what is counted: "images".
        times: rate and remaining time, in tqdm's format.
    """

    def __init__(
        self,
        what: str,
        total: int,
        verb: str,
        unit: str,
        times: str = "{rate_noinv_fmt}, {remaining} left",
    ) -> None:
        self.what, self.total, self.verb, self.unit, self.times = what, total, verb, unit, times
        self._lines: list[tqdm] = []  # the bar, then a line for each of the details

    def draw(self, done: int, details: Sequence[str] = (), at_once: bool = False) -> None:
        """Shows that `done` units are done, ten times a second at most.

        Args:
            done: the number of units.
            details: what stands below the bar from now on, for example losses; a line each, which
                is cut at the width of the terminal.
            at_once: whether the bar is redrawn now in any case.
        """
        if not self._lines:
            self._lines.append(self._open(done))
        while len(self._lines) <= len(details):
            self._lines.append(_tqdm(bar_format="{desc}"))
        self._write_below(details)
        bar = self._lines[0]
        if bar.update(done - bar.n) or at_once:
            for line in self._lines:
                line.refresh()

    def clear(self) -> None:
        """Removes the bar from the terminal, for other output, until it is drawn again."""
        for line in self._lines:
            line.clear()

    def close(self, details: Sequence[str] = ()) -> None:
        """Leaves the last state of the bar on the terminal and ends its lines.

        Args:
            details: as for `draw`, if the bar has been drawn with some.
        """
        self._write_below(details)
        for line in self._lines:  # From top to bottom: each ends where the next one begins.
            line.close()

    def _write_below(self, details: Sequence[str]) -> None:
        width = shutil.get_terminal_size().columns - 1
        for line, text in zip(self._lines[1:], details, strict=False):
            # To the end of the line, over what an earlier bar has left there.
            line.set_description_str(text[:width].ljust(width), refresh=False)

    def _open(self, done: int) -> tqdm:
        counts = f"{{n:,}} of {{total:,}} {self.unit} {self.verb}"
        return _tqdm(
            desc=self.what,
            total=self.total,
            initial=done,
            unit=f" {self.unit}",
            bar_format=f"{{desc}}: {{bar}} {counts}, {self.times}",
        )


def _tqdm(**options: Any) -> tqdm:
    # tqdm's monitor thread would redraw a cleared line without miniters=1.
    return tqdm(dynamic_ncols=True, miniters=1, file=sys.stderr, **options)


class Progress:
    """Reports how far a piece of work is, on stderr.

    Call it with the number of units that are done. On a terminal it draws a `Bar`; in a file or a
    pipe it prints a line every five seconds and one at the end. The remaining time counts from the
    first call, so that the start of workers is left out.

    Args:
        what: the work, as the line begins: "synthetic_birds, train".
        total: the number of units of the whole work.
        verb: what happens to a unit, as a participle: "drawn".
        unit: the plural of what is counted.
    """

    def __init__(self, what: str, total: int, verb: str, unit: str = "images") -> None:
        self.what, self.total, self.verb, self.unit = what, total, verb, unit
        self._bar = Bar(what, total, verb, unit) if sys.stderr.isatty() else None
        self._printed_at = time.monotonic()
        self._first: tuple[int, float] | None = None  # units done at the first call, and its time

    def __call__(self, done: int) -> None:
        """Reports that `done` of the units are done."""
        if self._bar is None:
            self._print(done)
            return
        self._bar.draw(done)
        if done >= self.total:
            self._bar.close()

    def _print(self, done: int) -> None:
        now = time.monotonic()
        if self._first is None:  # The start of the workers was before this call.
            self._first = done, now
        first_done, first_time = self._first
        ahead = done - first_done
        if done < self.total and (now - self._printed_at < LINE_EVERY or not ahead):
            return
        self._printed_at = now
        left = (now - first_time) * (self.total - done) / max(ahead, 1)
        counts = f"{done:,} of {self.total:,} {self.unit} {self.verb}"
        print(f"{self.what}: {counts}, {left:.0f} s left", file=sys.stderr, flush=True)


def print_line(sentence: str) -> None:
    """Prints a line on stdout; on a terminal, bars move below it."""
    if sys.stdout.isatty():
        tqdm.write(sentence)
    else:
        print(sentence, flush=True)

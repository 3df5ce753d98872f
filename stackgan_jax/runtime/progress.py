"""Progress of long work: a bar on a terminal, a line now and then in a file or a pipe."""

import sys
import time

from tqdm import tqdm

LINE_EVERY = 5.0  # seconds between two lines in a file or a pipe


class Bar:
    """A bar on the terminal with counts, rate, remaining time and details.

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
        self._tqdm: tqdm | None = None

    def draw(self, done: int, details: str = "", at_once: bool = False) -> None:
        """Shows that `done` units are done, ten times a second at most.

        Args:
            done: the number of units.
            details: what stands at the right end from now on, for example losses.
            at_once: whether the bar is redrawn now in any case.
        """
        if self._tqdm is None:
            self._tqdm = self._open(done)
        if details:
            self._tqdm.set_postfix_str(details, refresh=False)
        self._tqdm.update(done - self._tqdm.n)
        if at_once:
            self._tqdm.refresh()

    def clear(self) -> None:
        """Removes the bar from the terminal, for other output, until it is drawn again."""
        if self._tqdm is not None:
            self._tqdm.clear()

    def close(self) -> None:
        """Leaves the last state of the bar on the terminal and ends the line."""
        if self._tqdm is not None:
            self._tqdm.close()

    def _open(self, done: int) -> tqdm:
        counts = f"{{n:,}} of {{total:,}} {self.unit} {self.verb}"
        return tqdm(
            desc=self.what,
            total=self.total,
            initial=done,
            unit=f" {self.unit}",
            bar_format=f"{{desc}}: {{bar}} {counts}, {self.times}{{postfix}}",
            dynamic_ncols=True,
            miniters=1,  # tqdm's monitor thread would otherwise redraw a cleared bar.
            file=sys.stderr,
        )


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

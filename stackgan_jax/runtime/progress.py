"""How far a preparation is and how long the rest will take, on the terminal."""

import sys
import time


class Progress:
    """Called with how many images are done, says so now and then.

    Args:
      what: the data set, as the line begins.
      total: how many images there are.
      verb: what is done to them: "drawn".
    """

    def __init__(self, what: str, total: int, verb: str):
        self.what, self.total, self.verb = what, total, verb
        self.terminal = sys.stderr.isatty()
        self.pause = 0.5 if self.terminal else 5.0
        self.said = time.monotonic()
        self.first = 0, 0.0  # how many were done at the first call, and when

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if not self.first[0]:  # what came before it was the start of the workers
            self.first = done, now
        ahead = done - self.first[0]
        if done < self.total and (now - self.said < self.pause or not ahead):
            return
        self.said = now
        left = (now - self.first[1]) * (self.total - done) / max(ahead, 1)
        text = f"{self.what}: {done:,} of {self.total:,} images {self.verb}, {left:.0f} s left"
        end = "" if self.terminal and done < self.total else "\n"
        print(f"\r{text:<70}" if self.terminal else text, end=end, file=sys.stderr, flush=True)

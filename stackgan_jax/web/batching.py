"""Draws for several visitors at once: all that waits goes into one call of the networks."""

import queue
import threading
from concurrent.futures import Future

import jax
import numpy as np

from stackgan_jax.sample import Sampler
from stackgan_jax.training.gan import Noise

Drawn = dict[str, np.ndarray]  # every stage's pictures, as `Sampler.draw` returns them
Work = tuple[np.ndarray, Noise, "Future[Drawn]"]


class Batcher:
    """Draws what several threads ask for, in one thread of its own.

    While it draws, requests wait; then all that fit are drawn together. Every call has the same
    size, because each size is a program to compile; what is missing is filled up.

    Args:
        sampler: draws.
        chunk: pictures of one program's call.
        most: pictures that are drawn before the first request of them is answered.
    """

    def __init__(self, sampler: Sampler, chunk: int = 8, most: int = 32) -> None:
        self._sampler, self._chunk, self._most = sampler, chunk, most
        self._waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._held: Work | None = None  # was taken, and did not fit any more
        threading.Thread(target=self._serve, daemon=True).start()

    def draw(self, embeddings: np.ndarray, noise: Noise) -> Drawn:
        """Draws one picture for each embedding; returns when they are drawn.

        Args:
            embeddings: `[n, t]` float32.
            noise: of n pictures.

        Raises:
            UserError: as `Sampler.draw`.
        """
        result: Future[Drawn] = Future()
        self._waiting.put((embeddings, noise, result))
        return result.result()

    def _serve(self) -> None:
        while True:
            works = self._together()
            try:
                drawn = self._drawn(works)
            except Exception as error:  # It belongs to those who wait for these pictures.
                for *_, result in works:
                    result.set_exception(error)
                continue
            start = 0
            for embeddings, _, result in works:
                end = start + len(embeddings)
                result.set_result({name: array[start:end] for name, array in drawn.items()})
                start = end

    def _together(self) -> list[Work]:
        """Waits for one request, then takes others that fit beside it."""
        works = [self._held or self._waiting.get()]
        self._held = None
        count = len(works[0][0])
        while count < self._most:
            try:
                work = self._waiting.get_nowait()
            except queue.Empty:
                break
            count += len(work[0])
            if count > self._most:
                self._held = work
                break
            works.append(work)
        return works

    def _drawn(self, works: list[Work]) -> Drawn:
        parts = [(embeddings, noise) for embeddings, noise, _ in works]
        embeddings, noise = jax.tree.map(lambda *each: self._filled(np.concatenate(each)), *parts)
        return self._sampler.draw(embeddings, noise, chunk=self._chunk)

    def _filled(self, rows: np.ndarray) -> np.ndarray:
        missing = -len(rows) % self._chunk
        return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])

"""A logger that can neither stop nor delay the training: a server may be away, a network slow."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stackgan_jax.runtime import disk
from stackgan_jax.runtime.errors import reason
from stackgan_jax.runtime.progress import print_line
from stackgan_jax.training.loggers.interface import Logger


class Guarded:
    """A logger behind a thread of its own.

    When it fails, one sentence says so, and it is not called again. A full disk is different: it
    stops the run, as it does wherever else it is met.

    Args:
        name: in `config.loggers`.
        logger: what is guarded.
    """

    def __init__(self, name: str, logger: Logger) -> None:
        self.name, self._logger = name, logger
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._problem: Exception | None = None

    def do(self, write: Callable[[Logger], Any]) -> None:
        """Calls `write` with the logger, later.

        Raises:
            Exception: an earlier call met a full disk.
        """
        self._raise_full_disk()
        if self._problem is None:
            self._thread.submit(self._call, write)

    def close(self) -> None:
        """Waits for all calls and closes the logger.

        Raises:
            Exception: a call met a full disk.
        """
        self._thread.submit(self._close)
        self._thread.shutdown()
        self._raise_full_disk()

    def _call(self, write: Callable[[Logger], Any]) -> None:
        if self._problem is not None:
            return
        try:
            write(self._logger)
        except Exception as error:
            self._problem = error
            if not disk.is_full(error):
                print_line(
                    f"The logger {self.name} failed ({reason(error)}); training goes on without "
                    "it. metrics.jsonl has everything, and the next start tries it again."
                )

    def _close(self) -> None:
        if self._problem is None:
            self._call(lambda logger: logger.close())
            return
        with contextlib.suppress(Exception):  # That it failed has been said.
            self._logger.close()

    def _raise_full_disk(self) -> None:
        if self._problem is not None and disk.is_full(self._problem):
            raise self._problem

"""Preview pages of a run: pictures with captions, written while training continues."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from stackgan_jax.data import images
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.learner import Preview
from stackgan_jax.training.loggers import Loggers

PREVIEW_CELL = 128  # Pixels; pictures of every size are shown at this size.
FOLDER = "previews"


def early(every: int) -> tuple[int, ...]:
    """The steps of the previews before the first regular one: 1, 4, 16, 64 and so on.

    Args:
        every: the steps between regular previews.
    """
    powers = (4**i for i in range(every.bit_length()))
    return tuple(power for power in powers if power < every)


class PreviewWriter:
    """Writes pages of pictures in a thread of its own, as PNG files and to the loggers.

    Args:
        workdir: the folder of the run; the pages go to its folder previews/.
        loggers: of the run, or None.

    Attributes:
        latest: the newest page that lies in `workdir`, as a path from there; "" before the first.
    """

    def __init__(self, workdir: Path, loggers: Loggers | None) -> None:
        self.workdir, self.latest = workdir, ""
        self._loggers = loggers
        self._thread = ThreadPoolExecutor(1)
        self._started: list[Future] = []

    def write(self, page: Preview, done: int) -> None:
        """Starts to write the page drawn after `done` steps."""
        self._started.append(self._thread.submit(self._write, page, done))

    def check(self, wait: bool = False) -> None:
        """Checks the pages that have been written; with `wait`, all that have been started.

        Raises:
            UserError: a page could not be written.
        """
        finished = [future for future in self._started if wait or future.done()]
        self._started = [future for future in self._started if future not in finished]
        try:
            for future in finished:
                future.result()
        except OSError as error:
            raise UserError(
                f"A preview can't be written to {self.workdir / FOLDER} ({error.strerror}); free "
                "disk space or correct the path, then run again."
            ) from error

    def close(self) -> None:
        """Waits for all pages and checks them."""
        try:
            self.check(wait=True)
        finally:
            self._thread.shutdown()

    def _write(self, page: Preview, done: int) -> None:
        grid = images.captioned_grid(page.rows, page.captions, page.headings, cell=PREVIEW_CELL)
        folder = self.workdir / FOLDER
        folder.mkdir(exist_ok=True)
        name = f"step_{done:07d}.png"
        images.save_png(folder / name, grid)
        self.latest = f"{FOLDER}/{name}"
        if self._loggers:
            self._loggers.image(done, "preview", grid)
            self._loggers.text(done, "captions", "\n\n".join(page.captions))

"""Preview pages of a run: pictures with captions, written while training continues."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stackgan_jax.data import images
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.learner import Preview

PREVIEW_CELL = 128  # Pixels; pictures of every size are shown at this size.


class PreviewWriter:
    """Writes pages of pictures in a thread of its own, as PNG files and to TensorBoard.

    Args:
        workdir: the folder of the run; the pages go to its folder previews/.
        tensorboard: clu's writer, or None.
    """

    def __init__(self, workdir: Path, tensorboard: Any) -> None:
        self.workdir = workdir
        self._tensorboard = tensorboard
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
                f"The preview in {self.workdir} can't be written ({error.strerror}); "
                "free disk space or correct the path, then run again."
            ) from error

    def close(self) -> None:
        """Waits for all pages and checks them."""
        try:
            self.check(wait=True)
        finally:
            self._thread.shutdown()

    def _write(self, page: Preview, done: int) -> None:
        grid = images.captioned_grid(page.rows, page.captions, page.headings, cell=PREVIEW_CELL)
        folder = self.workdir / "previews"
        folder.mkdir(exist_ok=True)
        images.save_png(folder / f"step_{done:07d}.png", grid)
        if self._tensorboard:
            self._tensorboard.write_images(done, {"preview": grid[None]})
            self._tensorboard.write_texts(done, {"captions": "\n\n".join(page.captions)})

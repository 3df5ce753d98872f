"""The report of a run: what it draws for unseen captions, how right that is, and how it got there
(StackGAN, sec. 4)."""

import contextlib
import dataclasses
import functools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from stackgan_jax import sample
from stackgan_jax.data import augment, input_pipeline
from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.evaluation.attribute_accuracy import Judgement, judge, trained
from stackgan_jax.evaluation.unseen import Unseen, draw_unseen
from stackgan_jax.report import facts, page, pictures
from stackgan_jax.report.page import Example, Strip
from stackgan_jax.report.pictures import Nearest
from stackgan_jax.runtime import paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.sample import Sampler
from stackgan_jax.training.game import title

SEED = 0  # of everything that a report draws
COMPARED = 64  # pixels a side at which pictures are compared with the training images
WAYS = 2  # pairs of captions to go between


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was drawn, and what was found about it.

    Attributes:
      unseen: captions and pictures.
      judgement: the attributes found in them; None for data that has none.
      size: of the pictures when they are compared with the training images.
      training: the split of these, at the load size that belongs to `size`.
      drawn: the training images nearest to the last stage's pictures.
      real: those nearest to the captions' own images.
    """

    unseen: Unseen
    judgement: Judgement | None
    size: int
    training: Split
    drawn: Nearest
    real: Nearest

    def facts(self) -> dict[str, Any]:
        """For report.json."""
        return {
            "seed": SEED,
            "captions_judged": len(self.unseen.captions),
            **(self.judgement.facts() if self.judgement else {}),
            "nearest_training_image": {
                "compared": f"pixels at {self.size}×{self.size}, area-averaged, also in the mirror",
                "drawn": self.drawn.summary(),
                "real": self.real.summary(),
            },
        }


def write(workdir: Path, began: float | None = None) -> Path:
    """Writes report/index.html and report/report.json into a workdir.

    The same workdir gives the same report: captions and noise come from a fixed seed.

    Args:
      workdir: of a quickstart, or of a single Stage-I or Stage-II run.
      began: `time.monotonic()` when the work began. `seconds` are those since then, or those of
        training by the metrics.jsonl of the runs, if more: they may have been trained before.
    Returns: the page's path.
    Raises UserError when there is no trained run in `workdir`, or it can't be written.
    """
    paths.require_local(workdir, "The report's --workdir")
    started, workdir = time.monotonic(), Path(workdir)
    runs = facts.find_runs(workdir)
    sampler = sample.load(runs[-1].folder)
    folder = workdir / "report"
    with _told(folder):
        folder.mkdir(exist_ok=True)
    measured = measure(sampler, folder)
    content = page.Content(
        examples=_examples(sampler, measured),
        noises=_noises(sampler, measured.unseen),
        ways=_ways(sampler, measured.unseen),
        logs={run.kind: run.log for run in runs},
    )
    elapsed = 0.0 if began is None else time.monotonic() - began
    known = {
        "seconds": round(max(elapsed, facts.training_seconds(runs)), 1),
        **facts.of_runs(workdir, runs),
        **facts.of_data(sampler.config.data, measured.training, measured.unseen.test),
        **measured.facts(),
        **facts.of_machine(),
    }
    html = page.render(known, content)
    if jax.process_index() == 0:
        _save(folder / "report.json", json.dumps(known, indent=2, ensure_ascii=False) + "\n")
        _save(folder / "index.html", html)
    print(f"Report in {time.monotonic() - started:.0f} s: {folder / 'index.html'}", flush=True)
    return folder / "index.html"


@contextlib.contextmanager
def classifier_ahead(data: ConfigDict, folder: Path) -> Iterator[None]:
    """Trains the classifier that a report in `folder` needs, on cores that the block leaves idle.

    The block's end waits for it, its failure ends it. What goes wrong with it the report will say.
    """
    failed = threading.Event()

    def heed(done: int, steps: int) -> None:
        if failed.is_set():
            raise InterruptedError

    def train() -> None:
        with contextlib.suppress(Exception):  # A report that needs it meets the same again.
            load = functools.partial(input_pipeline.load, data)
            with _told(folder):
                folder.mkdir(parents=True, exist_ok=True)
            if load("test", augment.load_size(COMPARED)).attributes:
                trained(load, folder, SEED, heed)

    thread = threading.Thread(target=train, name="attribute classifier")
    thread.start()
    try:
        yield
    except BaseException:
        failed.set()
        raise
    finally:
        thread.join()


def measure(sampler: Sampler, folder: Path) -> Measured:
    """Draws the unseen captions, reads what was drawn and looks for it among the training images.

    The classifier is kept in `folder`.
    """
    print(f"Drawing captions of the test split with {sampler.directory} …", flush=True)
    unseen = draw_unseen(sampler, SEED)
    size = min(unseen.real.shape[1], COMPARED)
    load = functools.partial(input_pipeline.load, sampler.config.data)
    training = load("train", augment.load_size(size))
    drawn, real = (
        pictures.nearest(pictures.shrunk(shown, size), training.images)
        for shown in (unseen.final, unseen.real)
    )
    return Measured(unseen, judge(unseen, load, folder, SEED), size, training, drawn, real)


def _examples(sampler: Sampler, measured: Measured) -> list[Example]:
    unseen, judgement, nearest = measured.unseen, measured.judgement, measured.drawn
    size = unseen.real.shape[1]
    training = input_pipeline.load(sampler.config.data, "train", augment.load_size(size))
    return [
        Example(
            caption=unseen.captions[i],
            drawn={
                title(name): (drawn[i], judgement.found(name, i) if judgement else {})
                for name, drawn in unseen.drawn.items()
            },
            nearest=(nearest.image(training.images, i, size), float(nearest.distance[i])),
            real=unseen.real[i],
        )
        for i in unseen.shown
    ]


def _noises(sampler: Sampler, unseen: Unseen) -> list[Strip]:
    chosen = unseen.shown[: sample.CHUNK // pictures.STRIP]
    rows = pictures.other_noise(sampler, unseen.embeddings[chosen], SEED)
    return [Strip([unseen.captions[i]], row) for i, row in zip(chosen, rows, strict=True)]


def _ways(sampler: Sampler, unseen: Unseen) -> list[Strip]:
    ends = unseen.shown[-2 * WAYS :]
    return [
        Strip(
            [unseen.captions[a], unseen.captions[b]],
            pictures.between(sampler, unseen.embeddings[a], unseen.embeddings[b], SEED),
        )
        for a, b in zip(ends[::2], ends[1::2], strict=False)
    ]


def _save(path: Path, content: str) -> None:
    """Writes a file, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with _told(path):
        partial.write_text(content, encoding="utf-8")
        partial.replace(path)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns a full or unwritable disk into one sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({error.strerror}); free space, or make the workdir writable."
        ) from error

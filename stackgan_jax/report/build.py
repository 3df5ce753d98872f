"""The report of a run: its pictures for unseen captions, how correct they are, and its training.

Source: StackGAN, sec. 4.
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from stackgan_jax import sample
from stackgan_jax.report import facts, pictures, scores
from stackgan_jax.report.measurement import Measurement, measure
from stackgan_jax.report.page import Content, render_report
from stackgan_jax.runtime import configuration, files, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.sample import Sampler
from stackgan_jax.training import hints


def write(workdir: Path, began: float | None = None, data: Mapping[str, Any] | None = None) -> Path:
    """Writes report/index.html and report/report.json into a workdir.

    The same workdir gives the same report: captions and noise come from a fixed seed.

    Args:
        workdir: of a quickstart, or of a run of one stage.
        began: `time.monotonic()` at the start of the work. `seconds` in report.json is the time
            since then or the training time in the runs' metrics.jsonl, whichever is longer,
            because the runs may have been trained before.
        data: values of `config.data` where the data have moved.

    Returns:
        The path of the page.

    Raises:
        UserError: `workdir` is remote, has no trained run that draws, or can't be written.
    """
    paths.require_local(workdir, "The report's --workdir")
    started, workdir = time.monotonic(), Path(workdir)
    runs = facts.find_runs(workdir)
    sampler = sample.load(runs[-1].folder)
    config = configuration.with_data(sampler.config, data)
    sampler = dataclasses.replace(sampler, config=config)
    folder = _make_folder(workdir / "report")
    measurement = measure(sampler)
    record = scores.measure(sampler)
    content = _content(sampler, measurement, runs)
    elapsed = 0.0 if began is None else time.monotonic() - began
    known = {
        "seconds": round(max(elapsed, facts.training_seconds(runs)), 1),
        **facts.of_runs(workdir, runs),
        **facts.of_data(sampler.config.data, measurement.training, measurement.unseen.test),
        **measurement.facts(),
        **scores.facts(record),
        **facts.of_machine(),
    }
    html = render_report(known, content)
    if jax.process_index() == 0:
        _save(folder / "report.json", json.dumps(known, indent=2, ensure_ascii=False) + "\n")
        _save(folder / "index.html", html)
    print(f"Report in {time.monotonic() - started:.0f} s: {folder / 'index.html'}", flush=True)
    return folder / "index.html"


def _content(sampler: Sampler, measurement: Measurement, runs: Sequence[facts.Run]) -> Content:
    return Content(
        examples=pictures.examples(sampler, measurement),
        noise_strips=pictures.noise_strips(sampler, measurement.unseen),
        interpolations=pictures.interpolations(sampler, measurement.unseen),
        logs={run.kind: run.log for run in runs},
        hints={run.kind: hints.read(run.folder) for run in runs},
    )


def _make_folder(folder: Path) -> Path:
    with _write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _save(path: Path, text: str) -> None:
    with _write_errors(path):
        files.write_text(path, text)


@contextlib.contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turns the error of a full or unwritable disk into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({error.strerror}); free space, or make the workdir writable."
        ) from error

"""Sensitivity of the metrics: real images are degraded on purpose and scored like generated ones.

    python -m stackgan_jax.evaluation.sensitivity --workdir=runs/stage1 --inception=…

This makes the tables of docs/evaluation.md. A metric that doesn't react to degraded images can't be
trusted with generated pictures either.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from stackgan_jax import sample
from stackgan_jax.data.choices import mismatched
from stackgan_jax.evaluation import protocols, readers, scoring
from stackgan_jax.evaluation.evaluate import settings_of
from stackgan_jax.evaluation.evidence import Captions, Evidence
from stackgan_jax.evaluation.readers import Features
from stackgan_jax.evaluation.registry import TITLES
from stackgan_jax.evaluation.run_setup import prepare
from stackgan_jax.evaluation.runs import Evaluation, progress_of
from stackgan_jax.evaluation.stamps import Score, measured_with, number, title
from stackgan_jax.runtime.errors import UserError

Degrade = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # uint8 [n, s, s, 3] → same


def _each(change: Callable[[Image.Image], Image.Image]) -> Degrade:
    def degrade(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])

    return degrade


def blurred(radius: float) -> Degrade:
    """Blurs by a Gaussian, whose deviation `radius` is in 64ths of a side, for any picture size."""
    return _each(lambda i: i.filter(ImageFilter.GaussianBlur(radius * i.width / 64)))


def noisy(deviation: float) -> Degrade:
    """Adds normal noise of the given deviation to every value in [0, 255]."""

    def degrade(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = rng.normal(0, deviation, images.shape)
        return np.clip(np.round(images + noise), 0, 255).astype(np.uint8)

    return degrade


def recoloured(degrees: float) -> Degrade:
    """Turns every hue by some degrees."""

    def change(image: Image.Image) -> Image.Image:
        hsv = np.array(image.convert("HSV"))
        hsv[..., 0] += np.uint8(round(degrees / 360 * 256))  # wraps around
        return Image.merge("HSV", [Image.fromarray(c) for c in hsv.transpose(2, 0, 1)]).convert(
            "RGB"
        )

    return _each(change)


DEGRADED: Mapping[str, Degrade] = {
    "blur, σ 0.25/64 of a side": blurred(0.25),
    "blur, σ 0.5/64": blurred(0.5),
    "blur, σ 1/64": blurred(1),
    "blur, σ 2/64": blurred(2),
    "noise, σ 8 of 255": noisy(8),
    "noise, σ 16": noisy(16),
    "noise, σ 32": noisy(32),
    "noise, σ 64": noisy(64),
    "hues turned by 20°": recoloured(20),
    "hues turned by 60°": recoloured(60),
    "hues turned by 180°": recoloured(180),
}

# Degradation → its scores, and for each metric that couldn't be measured the reason.
Rows = dict[str, tuple[list[Score], dict[str, UserError]]]


def measure(
    evaluation: Evaluation, degraded: Mapping[str, Degrade] = DEGRADED, seed: int = 0
) -> Rows:
    """Scores degraded real images, each with one of its captions.

    Args:
        evaluation: of a run, whose test images and readers are used.
        degraded: name → what is done to the images.
        seed: of the noise and of the choice of halves.
    """
    rng = np.random.default_rng((seed, 4))
    labels = evaluation.test.labels
    captions = evaluation.captions.first(len(labels))  # one for each image
    images = captions.images
    real = _read(evaluation, "unchanged", lambda images, _: images, rng)
    rows: Rows = {}

    def score(name: str, made: Features, real: Features, captions: Captions | None) -> None:
        origin = evaluation.origin(f"real images: {name}")
        evidence = Evidence(evaluation.protocol, made, real, origin, captions)
        rows[name] = scoring.score(evidence, evaluation.readers)

    score("the set itself", _rows(real, images), real, captions)
    half, place = len(labels) // 2, rng.permutation(len(labels))
    first, second = _rows(real, place[:half]), _rows(real, place[half:])
    score("one half against the other", first, second, None)
    every_second = np.isin(labels, np.unique(labels)[::2])
    score("half of the images against all", first, real, None)
    score("every second class dropped", _rows(real, np.flatnonzero(every_second)), real, None)
    others = mismatched(np.random.default_rng((seed, 5)), labels)
    score("captions shuffled", _rows(real, others[images]), real, captions)
    for name, degrade in degraded.items():
        score(name, _rows(_read(evaluation, name, degrade, rng), images), real, captions)
    return rows


def table(rows: Rows) -> str:
    """Returns the scores as Markdown, with their stamps and the reasons for missing scores."""
    known: dict[str, Score] = {}
    for scores, _ in rows.values():
        known = {score.name: score for score in scores} | known
    names = [name for name in TITLES if name in known]
    heads = ["", "pictures, real ones", *(TITLES[name] for name in names)]
    lines = [_line(heads), "|---" * len(heads) + "|"]
    for row, (scores, _) in rows.items():
        found = {score.name: number(score.name, score.value) for score in scores}
        counts = f"{scores[0].stamp.generated:,}, {scores[0].stamp.real:,}" if scores else "–"
        lines.append(_line([row, counts, *(found.get(name, "–") for name in names)]))
    stamps = measured_with([_of_any_row(known[name]) for name in names]) if names else []
    return "\n".join([*lines, "", *stamps, *_left_out(rows, known)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _of_any_row(score: Score) -> Score:
    """The score with a stamp for all rows; rows differ only in their names and counts."""
    stamp = dataclasses.replace(score.stamp, pictures="real images, degraded as each row says")
    return dataclasses.replace(score, stamp=stamp)


def _left_out(rows: Rows, known: Container[str]) -> list[str]:
    """A line for each metric that is missing in some rows, with the reason of the first of them."""
    reasons: dict[str, dict[str, UserError]] = {}
    for row, (_, left_out) in rows.items():
        for name, error in left_out.items():
            reasons.setdefault(name, {})[row] = error
    lines = []
    for name, of in reasons.items():
        where = f" ({'; '.join(of)})" if name in known else ""
        lines.append(f"left out: {title(name)}{where}: {next(iter(of.values()))}")
    return lines


def _read(
    evaluation: Evaluation, name: str, degrade: Degrade, rng: np.random.Generator
) -> Features:
    progress = progress_of(name, len(evaluation.test), "read")
    parts, done = [], 0
    for block in readers.blocks(evaluation.real):
        part: Features = {}
        for reader in evaluation.readers:
            part |= reader.read(degrade(block, rng))
        parts.append(part)
        done += len(block)
        progress(done)
    return readers.joined(parts)


def _rows(features: Features, rows: np.ndarray) -> Features:
    return {name: values[rows] for name, values in features.items()}


def main() -> None:
    """Prints the table for the run in --workdir."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="a run, whose test images are degraded")
    parser.add_argument("--inception", default="", help="FID's Inception-v3, a .pth file")
    given = parser.parse_args()
    try:
        directory, config = sample.find_run(Path(given.workdir))
        settings = settings_of(directory, {"inception": given.inception})
        evaluation = prepare(config, directory, protocols.resolve(settings))
        rows = measure(evaluation)
    except UserError as error:
        raise SystemExit(f"stackgan_jax: {error}") from error
    except KeyboardInterrupt:
        sys.exit(130)
    print(table(rows))
    for name, reason in evaluation.left_out.items():
        print(f"left out: {title(name)}: {reason}")


if __name__ == "__main__":
    main()

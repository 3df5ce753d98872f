"""A run's checkpoints evaluated: test captions drawn, read, scored (StackGAN, sec. 4.1)."""

import dataclasses
import functools
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import sample, text
from stackgan_jax.data import augment, images, input_pipeline, preparation
from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.evaluation import inception_weights
from stackgan_jax.evaluation.protocols import METRICS_SEED, Protocol
from stackgan_jax.evaluation.readers import (
    BLOCK,
    AttributeReader,
    Features,
    InceptionReader,
    Reader,
    TowerReader,
    joined,
    real_features,
    sha256,
)
from stackgan_jax.evaluation.records import FILE, Record, add, to_tensorboard
from stackgan_jax.evaluation.scoring import Captions, Evidence, measured_by, score
from stackgan_jax.evaluation.stamps import here
from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.sample import Sampler
from stackgan_jax.text import scorer

SAY_EVERY = 5.0  # seconds between lines of progress


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Everything about a run's evaluation that is the same for all its checkpoints.

    Attributes:
      protocol: how.
      directory: of the run.
      data: what its data are, for stamps.
      test: the split, at the load size of the run's pictures.
      size: of these, in pixels.
      readers: of pictures.
      captions: to draw.
      embeddings: `[n, t]` of the captions, as the generator takes them.
      left_out: metric → why it can't be measured.
    """

    protocol: Protocol
    directory: Path
    data: str
    test: Split
    size: int
    readers: Sequence[Reader]
    captions: Captions
    embeddings: np.ndarray
    left_out: dict[str, UserError]

    @property
    def real(self) -> np.ndarray:
        """uint8 [m, size, size, 3], on disk: the middles of the test images."""
        corner = (self.test.images.shape[1] - self.size) // 2
        middle = slice(corner, corner + self.size)
        return self.test.images[:, middle, middle]

    @property
    def metrics(self) -> list[str]:
        """What can be measured, as far as that is known beforehand."""
        return [name for reader in self.readers for name in measured_by(reader)]

    def of(self, sampler: Sampler, abandoned: Callable[[], bool] = lambda: False) -> Record | None:
        """Draws, reads and scores; None where `abandoned` came true while drawing.

        Raises UserError when nothing can be scored.
        """
        began = time.monotonic()
        generated = self._read_generated(sampler, abandoned)
        if generated is None:
            return None
        real: Features = {}
        for reader in self.readers:
            saying = Progress("real images read", len(self.test))
            real |= real_features(reader, self.real, self.test.directory, saying)
        evidence = Evidence(self.protocol, generated, real, self._drawn_by(sampler), self.captions)
        scores, left_out = score(evidence, self.readers)
        if not scores:
            raise next(iter(left_out.values()))
        seconds = time.monotonic() - began
        return Record.of(
            sampler.step, self.protocol.name, seconds, scores, self.left_out | left_out
        )

    def _read_generated(self, sampler: Sampler, abandoned: Callable[[], bool]) -> Features | None:
        rows = mesh.own_rows(len(self.embeddings))
        say, parts = Progress("pictures drawn and read", len(rows)), []
        for done, block in draw(sampler, self.embeddings, rows, self.protocol):
            part: Features = {}
            for reader in self.readers:
                part |= reader.read(block)
            parts.append(part)
            say(done)
            if jax.process_count() == 1 and abandoned():  # of many, each would wait for the others
                return None
        read = joined(parts)
        return {name: mesh.gather_rows(a, len(self.embeddings)) for name, a in read.items()}

    def origin(self, pictures: str) -> dict[str, Any]:
        """What a stamp tells of real pictures and the machine; `drawn_by` adds the generator."""
        return {
            "seed": f"{self.protocol.seed} (captions, noise), {METRICS_SEED} (subsets, splits)",
            "pictures": pictures,
            "size": f"{self.size}×{self.size}, 8 bits, not stored",
            "data": self.data,
            "split": "test",
            "captions": "one of each test image in turn, one picture each",
            **dict.fromkeys(("truncation", "averaged", "batch_norm", "step"), "none: not drawn"),
            "checkpoint": "none: not drawn",
            **here(),
        }

    def _drawn_by(self, sampler: Sampler) -> dict[str, Any]:
        truncation = "none"
        if self.protocol.truncation:
            truncation = f"z from a normal cut at ±2, times {self.protocol.truncation:g}"
        decay = sampler.config.training.ema_decay
        return {
            **self.origin(str(sampler.directory)),
            "truncation": truncation,
            "averaged": f"the generator's moving average, decay {decay:g}",
            "batch_norm": "moving averages (inference)",
            "step": sampler.step,
            "checkpoint": sha256([sampler.state.ema, *sampler.state.priors])[:16],
        }


def prepare(config: ConfigDict, directory: Path, protocol: Protocol) -> Evaluation:
    """Opens what evaluating a run needs.

    Raises UserError when its encoder is missing, Inception's weights are another's, or there is no
    network to read pictures with.
    """
    size = config.discriminator.size
    load = functools.partial(input_pipeline.load, config.data)
    test = load("test", augment.load_size(size))
    chosen, left_out = [], {}
    if protocol.inception:
        chosen.append(InceptionReader.of(protocol))
    else:
        left_out["fid"] = UserError(f"{inception_weights.HOW_TO_GET}.")
    try:
        pair = scorer.load(directory)
        chosen.append(TowerReader(pair))
    except UserError as error:
        pair, left_out["r_precision"] = None, error
    if protocol.attributes and test.attributes:
        # Of the synthetic birds, so only imported for data that have attributes.
        from stackgan_jax.evaluation import attribute_accuracy

        judge = attribute_accuracy.trained(load, test.directory.parents[1], seed=0)
        chosen.append(AttributeReader(judge))
    if not chosen:
        raise UserError(" ".join(str(error) for error in left_out.values()))
    captions, embeddings = _choose_captions(test, directory, protocol, pair)
    return Evaluation(
        protocol,
        directory,
        _described(config, test),
        test,
        size,
        chosen,
        captions,
        embeddings,
        left_out,
    )


def _described(config: ConfigDict, test: Split) -> str:
    """The data with their fingerprint, and how the pictures are cut out of them."""
    known = preparation.facts(test.directory)
    cut = f"crop {config.data.crop}, middle of {test.images.shape[1]}"
    return f"{known['source']} ({known['fingerprint'][:16]}), {cut}"


def _choose_captions(
    test: Split, directory: Path, protocol: Protocol, pair: scorer.Scorer | None
) -> tuple[Captions, np.ndarray]:
    """One caption for each picture, of the test images in a random order, again and again."""
    rng = np.random.default_rng((protocol.seed, 3))
    chosen = np.resize(rng.permutation(len(test)), protocol.images)
    places = np.array([rng.integers(len(test.captions[image])) for image in chosen])
    sentences = [test.captions[image][place] for image, place in zip(chosen, places, strict=True)]
    known = input_pipeline.embed_captions(test, text.load_encoder(directory))
    embeddings = np.asarray(known.flat[known.offsets[chosen] + places], np.float32)
    joint = None
    if pair is not None:
        unique, back = np.unique(sentences, return_inverse=True)
        joint = pair.embed_captions([str(sentence) for sentence in unique])[back]
    return Captions(sentences, chosen, test.labels[chosen], joint), embeddings


def draw(
    sampler: Sampler, embeddings: np.ndarray, rows: np.ndarray, protocol: Protocol
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (pictures drawn so far, uint8 [b, s, s, 3]): those of `rows` of the embeddings."""
    key = jax.random.key(protocol.seed)
    noise = sampler.game.noise(key, len(embeddings))
    if protocol.truncation:
        cut = jax.random.truncated_normal(key, -2.0, 2.0, noise.z.shape)
        noise = noise._replace(z=protocol.truncation * cut)
    noise = jax.device_get(noise)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        own = jax.tree.map(operator.itemgetter(part), noise)
        drawn = sample.final_images(sampler.draw(embeddings[part], own))
        yield start + len(part), images.to_uint8(drawn)


def publish(evaluation: Evaluation, record: Record) -> Record:
    """Writes an evaluation into its run, to TensorBoard and to the terminal."""
    if jax.process_index() == 0:
        add(evaluation.directory, record)
        to_tensorboard(evaluation.directory, record)
        print(f"{evaluation.directory}, {record}\n", flush=True)
        print(f"Written to {evaluation.directory / FILE}.", flush=True)
    return record


class Progress:
    """Says now and then how much is done and how long the rest will take."""

    def __init__(self, what: str, total: int):
        self.what, self.total = what, total
        self.began = self.said = time.monotonic()
        self.first = 0  # what was done when the clock was started: before, it was compiled

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if not self.first:
            self.began = self.said = now
            self.first = done
        elif now - self.said >= SAY_EVERY and jax.process_index() == 0:
            self.said = now
            left = (now - self.began) / (done - self.first) * (self.total - done)
            print(f"{self.what}: {done:,}/{self.total:,} | ETA {left:.0f} s", flush=True)

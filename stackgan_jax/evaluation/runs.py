"""Evaluation of a run's checkpoints: draws pictures for test captions, reads and scores them.

The number of pictures and their captions follow the paper (StackGAN, sec. 4.1).
"""

import dataclasses
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from stackgan_jax import sample
from stackgan_jax.data import images
from stackgan_jax.data.split import Split
from stackgan_jax.evaluation.evidence import Captions, Evidence, Groups
from stackgan_jax.evaluation.protocols import METRICS_SEED, Protocol
from stackgan_jax.evaluation.readers import (
    BLOCK,
    Features,
    Reader,
    joined,
    read_all,
    sha256,
)
from stackgan_jax.evaluation.real_features import real_features
from stackgan_jax.evaluation.records import FILE, Record, add, to_tensorboard
from stackgan_jax.evaluation.scoring import measured_by, score
from stackgan_jax.evaluation.spread_scores import Sample
from stackgan_jax.evaluation.stamps import here
from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.progress import Progress
from stackgan_jax.sample import Sampler


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Everything in the evaluation of a run that all its checkpoints share.

    Attributes:
        protocol: how to evaluate.
        directory: of the run.
        data: the description of the data for stamps.
        test: the test split, at the load size of the run's pictures.
        size: of the run's pictures, in pixels.
        readers: the networks that read pictures.
        captions: the captions to draw.
        embeddings: `[n, t]`, of the captions, for the generator.
        left_out: metric → why it can't be measured.
        repeated: the sentences that are drawn several times, for the spread; None for none.
        spread_readers: the networks that read those pictures.
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
    repeated: Sample | None = None
    spread_readers: Sequence[Reader] = ()

    @property
    def real(self) -> np.ndarray:
        """The centre crops of the test images, uint8 `[m, size, size, 3]`, on disk."""
        corner = (self.test.images.shape[1] - self.size) // 2
        middle = slice(corner, corner + self.size)
        return self.test.images[:, middle, middle]

    @property
    def metrics(self) -> list[str]:
        """The metrics that can be measured, as far as that is known in advance."""
        readers = (*self.readers, *self.spread_readers)
        return [name for reader in readers for name in measured_by(reader)]

    def of(self, sampler: Sampler, abandoned: Callable[[], bool] = lambda: False) -> Record | None:
        """Draws pictures with one checkpoint, reads and scores them.

        Args:
            sampler: of the checkpoint.
            abandoned: checked after each block of pictures; True ends the evaluation.

        Returns:
            The record; None where `abandoned` returned True.

        Raises:
            UserError: where no metric can be computed.
        """
        began = time.monotonic()
        generated = self._read_generated(sampler, self.embeddings, self.readers, abandoned)
        grouped = generated and self._grouped(sampler, abandoned)
        if generated is None or grouped is None:
            return None
        real: Features = {}
        for reader in self.readers:
            progress = progress_of("real images", len(self.test), "read")
            real |= real_features(reader, self.real, self.test.directory, progress)
        evidence = Evidence(self.protocol, generated, real, self._drawn_by(sampler), self.captions)
        scores, left_out = score(evidence, self.readers)
        for found, missing in (score(each, self.spread_readers) for each in grouped):
            scores, left_out = scores + found, left_out | missing
        if not scores:
            raise next(iter(left_out.values()))
        seconds = time.monotonic() - began
        return Record.of(
            sampler.step, self.protocol.name, seconds, scores, self.left_out | left_out
        )

    def _grouped(self, sampler: Sampler, abandoned: Callable[[], bool]) -> list[Evidence] | None:
        """The evidence of the spread, if it is measured; None where `abandoned` returned True."""
        if not self.repeated or not self.spread_readers:
            return []
        numbers = np.arange(len(self.repeated.rows))
        made = np.repeat(numbers, self.protocol.repeats)
        embeddings = self.embeddings[self.repeated.rows[made]]
        generated = self._read_generated(sampler, embeddings, self.spread_readers, abandoned)
        if generated is None:
            return None
        chosen, real = self.real[np.concatenate(self.repeated.real)], {}
        for reader in self.spread_readers:
            real |= read_all(reader, chosen)
        groups = Groups(
            made,
            np.repeat(numbers, [len(each) for each in self.repeated.real]),
            self.repeated.compared,
        )
        origin = self._drawn_by(sampler) | {
            "captions": f"one of each of {len(numbers)} test images, {self.protocol.repeats} "
            "pictures each"
        }
        return [Evidence(self.protocol, generated, real, origin, groups=groups)]

    def _read_generated(
        self,
        sampler: Sampler,
        embeddings: np.ndarray,
        readers: Sequence[Reader],
        abandoned: Callable[[], bool],
    ) -> Features | None:
        rows = mesh.own_rows(len(embeddings))
        progress, parts = progress_of("evaluation", len(rows), "drawn and read"), []
        for done, block in draw(sampler, embeddings, rows, self.protocol):
            part: Features = {}
            for reader in readers:
                part |= reader.read(block)
            parts.append(part)
            progress(done)
            # Not with several processes: the others would wait for the one that stops.
            if jax.process_count() == 1 and abandoned():
                return None
        read = joined(parts)
        return {name: mesh.gather_rows(a, len(embeddings)) for name, a in read.items()}

    def origin(self, pictures: str) -> dict[str, Any]:
        """Returns the fields of a stamp for real pictures.

        Args:
            pictures: the description of the pictures.
        """
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
        """The fields of a stamp for pictures that a generator drew."""
        truncation = "none"
        if self.protocol.truncation:
            truncation = f"z from a normal cut at ±2, times {self.protocol.truncation:g}"
        training = sampler.config.training
        average = f"decay {training.ema_decay:g}"
        if training.ema_images:
            average = f"half-life of {training.ema_images:,} images"
        return {
            **self.origin(str(sampler.directory)),
            "truncation": truncation,
            "averaged": f"the generator's moving average, {average}",
            "batch_norm": "moving averages (inference)",
            "step": sampler.step,
            "checkpoint": sha256([sampler.state.ema, *sampler.state.priors])[:16],
        }


def draw(
    sampler: Sampler, embeddings: np.ndarray, rows: np.ndarray, protocol: Protocol
) -> Iterator[tuple[int, np.ndarray]]:
    """Draws pictures block by block, on all devices of this process.

    Args:
        sampler: of the checkpoint.
        embeddings: `[n, t]`, of all captions.
        rows: indices of the captions to draw; the noise of a caption doesn't depend on them.
        protocol: gives the seed and the truncation of the noise.

    Yields:
        The number of pictures drawn so far, and a block of them, uint8 `[b, s, s, 3]`.
    """
    noise = jax.device_get(sampler.noise(len(embeddings), protocol.seed, protocol.truncation))
    sampler = sampler.on_all_devices()
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        own = jax.tree.map(operator.itemgetter(part), noise)
        drawn = sample.final_images(sampler.draw(embeddings[part], own))
        yield start + len(part), images.to_uint8(drawn)


def publish(evaluation: Evaluation, record: Record, in_training: bool = False) -> Record:
    """Writes a record into its run, to TensorBoard and to the terminal, and returns it.

    In training the run's loggers get the scores instead.
    """
    if jax.process_index() == 0:
        add(evaluation.directory, record)
        if not in_training:
            to_tensorboard(evaluation.directory, record)
        print(f"{evaluation.directory}, {record.results()}\n", flush=True)
        print(
            f"Written to {evaluation.directory / FILE}, with what each score was measured with; "
            "--mode=evaluate --stamps prints that too.",
            flush=True,
        )
    return record


def progress_of(what: str, total: int, verb: str) -> Callable[[int], None]:
    """Returns the progress display of process 0; other processes display nothing."""
    return Progress(what, total, verb) if jax.process_index() == 0 else lambda done: None

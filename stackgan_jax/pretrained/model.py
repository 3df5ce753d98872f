"""A trained model as a Python object: sentences in, PIL images out."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from stackgan_jax import sample
from stackgan_jax.data import images
from stackgan_jax.pretrained.pictures import Pictures
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text import Encoder
from stackgan_jax.training import gan

MOST_LETTERS = 1000  # of a sentence; the published encoder reads 201

Captions = str | Sequence[str] | np.ndarray


@dataclasses.dataclass(frozen=True, repr=False)
class Model:
    """Draws pictures of sentences.

    Attributes:
        sampler: the networks and their weights.
        configs: of all stages, in order.
        encoder: of the sentences; None for weights that were imported without one.
        captions: some sentences of the test set, which no training has seen; may be empty.
        facts: where the model comes from: data set, steps, scores and so on.
    """

    sampler: sample.Sampler
    configs: tuple[ConfigDict, ...]
    encoder: Encoder | None
    captions: tuple[str, ...]
    facts: Mapping[str, Any]

    def __call__(
        self, caption: Captions, n: int = 1, seed: int = 0, truncation: float = 0.0
    ) -> Pictures:
        """Draws `n` pictures of each sentence, the same ones as `--mode=sample` with this seed.

        Args:
            caption: a sentence, or several; or their embeddings, `[sentences, t]` float32.
            n: pictures of each sentence.
            seed: of the noise.
            truncation: of the noise, as in `Sampler.noise`; 0 for none.

        Returns:
            The pictures of the last stage: all of the first sentence, then of the next.

        Raises:
            UserError: a sentence is empty or in letters that the model can't read, or a number is
                out of range.
        """
        if n < 1:
            raise UserError(f"n is {n}; ask for one picture or more.")
        embeddings = np.repeat(self.embed(caption), n, axis=0)
        return self._drawn(embeddings, self.sampler.noise(len(embeddings), seed, truncation))

    def draw(
        self,
        captions: Captions,
        seeds: Sequence[int] | None = None,
        stage: int | None = None,
        truncation: float = 0.0,
    ) -> Pictures:
        """Draws one picture of each sentence, each with a seed of its own.

        A picture depends on its sentence and its seed alone, bit by bit, not on the others;
        `--mode=sample --seeds=…` draws the same.

        Args:
            captions: n sentences, or one for all seeds; or their embeddings.
            seeds: one for each picture; by default 0, 1, 2 …
            stage: whose pictures: 1, 2 …; by default the last.
            truncation: of the noise, as in `Sampler.noise`; 0 for none.

        Raises:
            UserError: as `__call__`, or there are not as many seeds as sentences.
        """
        # Alone, because the last bits of embeddings differ with the batch.
        several = isinstance(captions, list | tuple) and captions
        alone = map(self.embed, captions) if several else [self.embed(captions)]
        embeddings = np.concatenate(list(alone))
        seeds = range(len(embeddings)) if seeds is None else list(seeds)
        if len(embeddings) == 1:
            embeddings = np.repeat(embeddings, len(seeds), axis=0)
        if len(seeds) != len(embeddings) or not len(seeds):
            raise UserError(
                f"There are {len(embeddings):,} sentences and {len(seeds):,} seeds; give one seed "
                "for each sentence."
            )
        return self._drawn(embeddings, self.sampler.noise_of(seeds, truncation), stage, chunk=1)

    def interpolate(
        self,
        first: Captions,
        last: Captions,
        steps: int = 8,
        seed: int = 0,
        stage: int | None = None,
        truncation: float = 0.0,
    ) -> Pictures:
        """Draws pictures on the way from one sentence to another, all with the same noise.

        Args:
            first: a sentence, or its embedding `[1, t]`.
            last: likewise.
            steps: the number of pictures, the two ends included.
            seed: of the noise.
            stage: as in `draw`.
            truncation: of the noise, as in `Sampler.noise`; 0 for none.

        Raises:
            UserError: as `__call__`.
        """
        if steps < 2:
            raise UserError(f"steps is {steps}; a way needs at least 2 pictures, its ends.")
        ends = self.embed(first), self.embed(last)
        return self._drawn(*sample.way(self.sampler, *ends, steps, seed, truncation), stage)

    def embed(self, captions: Captions) -> np.ndarray:
        """Embeds sentences.

        Args:
            captions: a sentence or n of them. Embeddings `[n, t]` are returned as float32.

        Returns:
            `[n, t]` float32.

        Raises:
            UserError: as `__call__`.
        """
        if isinstance(captions, np.ndarray) and captions.dtype.kind == "f":
            return np.asarray(captions, np.float32)
        if self.encoder is None:
            raise UserError(
                f"There is no text encoder in {self.sampler.directory}, so it can't read "
                "sentences; give embeddings [n, t] of the encoder that it was trained with."
            )
        captions = [captions] if isinstance(captions, str) else list(captions)
        if (longest := max(map(len, captions), default=0)) > MOST_LETTERS:
            raise UserError(f"A sentence has {longest:,} letters; give at most {MOST_LETTERS:,}.")
        embeddings = self.encoder.embed(captions)
        self.encoder.require_read(captions)
        return embeddings

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.configs)

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the stages' pictures in pixels."""
        return self.sampler.game.cascade.sizes

    @property
    def info(self) -> dict[str, Any]:
        """What the model is: name, sizes, numbers of parameters, and `facts`."""
        networks = (*self.sampler.state.priors, self.sampler.state.ema)
        counts = [sum(a.size for a in jax.tree.leaves(each["params"])) for each in networks]
        return {
            "source": str(self.sampler.directory),
            "name": self.configs[-1].name,
            "sizes": self.sizes,
            "parameters": counts,
            "text_encoder": self.encoder.name if self.encoder else None,
            "step": self.sampler.step,
            **self.facts,
        }

    def save(self, path: str | os.PathLike[str], dtype: str = "float32") -> Path:
        """Writes the model as one safetensors file, which `stackgan_jax.load` reads.

        Args:
            path: of the file.
            dtype: of the stored weights: "float32", or "bfloat16" for half the size.

        Returns:
            The path.

        Raises:
            UserError: the file can't be written, or the type is unknown.
        """
        from stackgan_jax.pretrained import model_file

        return model_file.write(self, Path(path), dtype)

    def save_hub(
        self, folder: str | os.PathLike[str], dtype: str = "float32", license: str = ""
    ) -> Path:
        """Writes a folder as model hubs expect it: weights, a card with sample pictures.

        Args:
            folder: a new or empty folder.
            dtype: as in `save`.
            license: of the model, as hubs name it: "apache-2.0", "cc-by-4.0" and so on; "" leaves
                it open.

        Returns:
            The folder.

        Raises:
            UserError: the folder holds something, or can't be written.
        """
        from stackgan_jax.pretrained import hub

        return hub.write(self, Path(folder), dtype, license)

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Writes the model as a program that draws without this project; see docs/export.md.

        Args:
            path: of the program: ONNX if it ends in .onnx, else StableHLO. A JSON file beside it
                says how to call it.

        Returns:
            The path.

        Raises:
            UserError: a file can't be written; for ONNX also, that onnx is not installed or a
                network can't be converted.
        """
        from stackgan_jax.pretrained import onnx_program, program

        path = Path(path)
        return (onnx_program if path.suffix == onnx_program.SUFFIX else program).write(self, path)

    def _drawn(
        self,
        embeddings: np.ndarray,
        noise: gan.Noise,
        stage: int | None = None,
        chunk: int = sample.CHUNK,
    ) -> Pictures:
        """Pictures of embeddings `[n, t]`; only one chunk of them is in memory as floats."""
        stage = self.stages if stage is None else stage
        if not 1 <= stage <= self.stages:
            raise UserError(f"stage is {stage}; this model has 1 to {self.stages}.")
        chunks = self.sampler.chunks(embeddings, noise, chunk)
        arrays = (images.to_uint8(chunk[f"stage{stage}"]) for chunk in chunks)
        return Pictures(Image.fromarray(picture) for array in arrays for picture in array)

    def __repr__(self) -> str:
        """One line."""
        sizes = " → ".join(f"{size}×{size}" for size in self.sizes)
        return f"<stackgan_jax model {self.sampler.directory}: {sizes}, step {self.sampler.step:,}>"

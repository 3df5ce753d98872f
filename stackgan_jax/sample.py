"""Captions, or embeddings, to pictures: from any trained run, in inference mode."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.data import images
from stackgan_jax.models import convolution
from stackgan_jax.runtime import configuration, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders.precomputed import PrecomputedEncoder
from stackgan_jax.training import gan, learners
from stackgan_jax.training.checkpoint import Checkpoints

ROWS = 8  # of a page, where a file of embeddings is given and no caption
CHUNK = 32  # pictures drawn at once: 256-px activations are large


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A trained run, ready to draw.

    Attributes:
      config: of the run.
      game: its networks.
      state: with the averaged generator, and Stage I where this is Stage II.
      step: of the checkpoint.
      directory: of the run.
    """

    config: ConfigDict
    game: gan.Gan
    state: Any
    step: int
    directory: Path

    def draw(
        self,
        embedding: np.ndarray,
        z: np.ndarray | None = None,
        epsilon: np.ndarray | None = None,
        stage2_epsilon: np.ndarray | None = None,
        seed: int = 0,
    ) -> dict[str, np.ndarray]:
        """As `generate`."""
        embedding = np.asarray(embedding, np.float32)
        drawn = self.game.noise(jax.random.key(seed), len(embedding))
        given = gan.Noise(z, epsilon, stage2_epsilon)
        noise = [
            np.asarray(own if mine is None else mine, np.float32)
            for mine, own in zip(given, drawn, strict=True)
            if own is not None
        ]
        self._refuse_other_widths(embedding, noise, [own for own in drawn if own is not None])
        chunks = [
            _draw(self.game, self.state, *(_chunk(a, start) for a in (embedding, *noise)))
            for start in range(0, len(embedding), CHUNK)
        ]
        return {
            name: np.concatenate([chunk[name] for chunk in chunks])[: len(embedding)]
            for name in chunks[0]
        }

    def _refuse_other_widths(
        self, embedding: np.ndarray, noise: Sequence[np.ndarray], expected: Sequence[jax.Array]
    ) -> None:
        width = _embedding_width(self)
        names = ("embedding", "z", "epsilon", "stage2_epsilon")
        shapes = [(len(embedding), width), *(own.shape for own in expected)]
        for name, array, shape in zip(names, (embedding, *noise), shapes, strict=False):
            if array.shape != shape:
                raise UserError(
                    f"{name} has shape {list(array.shape)}, but {self.directory} takes "
                    f"{list(shape)}; use embeddings of the encoder it was trained with."
                )


def load(workdir: str | Path, step: int | None = None) -> Sampler:
    """Opens a run of either stage, or a quickstart, for its last stage.

    Raises UserError when there is no run or no checkpoint in it, or it is a text encoder's.
    """
    directory, config = find_run(paths.folder(workdir))
    checkpoints = Checkpoints(directory / "checkpoints", read_only=True)
    parts = ("ema", "prior") if config.kind == "stage2" else ("ema",)
    part = checkpoints.restore_part(parts, step)
    stage1_config = None
    if config.kind == "stage2":
        stage1_config = configuration.read(directory / learners.STAGE1_CONFIG)
    state = gan.GanState(
        step=None, generator=None, discriminator=None, ema=part["ema"], prior=part.get("prior")
    )
    return Sampler(
        config=config,
        game=learners.build(config, stage1_config),
        state=state,
        step=checkpoints.latest if step is None else step,
        directory=directory,
    )


def find_run(workdir: Path) -> tuple[Path, ConfigDict]:
    """The folder and config of a GAN's run; for a quickstart, of its last stage."""
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"There is no run in {workdir}: it holds no config.json; train one first.")
    config = configuration.read(path)
    if "kind" not in config:
        return find_run(workdir / "stage2")
    if config.kind not in learners.NETWORKS:
        raise UserError(
            f"{workdir} is a {config.kind} run, which draws no pictures; give the workdir of "
            "stage 1 or stage 2."
        )
    return workdir, config


def generate(
    workdir: str | Path,
    embedding: np.ndarray,
    z: np.ndarray | None = None,
    epsilon: np.ndarray | None = None,
    stage2_epsilon: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Draws one picture for each embedding, by the averaged generator in inference mode.

    Args:
      workdir: of a Stage-I or Stage-II run, or a quickstart.
      embedding: `[n, t]` float32, of the run's text encoder.
      z: `[n, nz]` noise, used as it is; drawn from `seed` if None.
      epsilon: `[n, c]` noise of Stage I's conditioning augmentation, likewise.
      stage2_epsilon: `[n, c]` noise of Stage II's, likewise.
      seed: of the noise that is not given.
    Returns:
      "stage1": `[n, 64, 64, 3]`, and from a Stage II also "stage2": `[n, 256, 256, 3]`; float32
      in [-1, 1].
    """
    return load(workdir).draw(embedding, z, epsilon, stage2_epsilon, seed)


def sample(
    workdir: Path,
    captions: Sequence[str],
    num: int,
    seed: int,
    output: Path,
    interpolate: bool = False,
    embeddings_file: str | Path | None = None,
) -> None:
    """Writes a PNG page: a row of `num` pictures for each caption.

    With `interpolate`, a row for each two neighbouring captions: `num` pictures of the same noise
    on the way from one embedding to the other. With `embeddings_file`, captions are those of that
    file, or `#0`, `#1` … for its rows; none stands for its first rows.
    """
    if not captions and embeddings_file is None:
        raise UserError('Sampling needs a caption: --text="a small red bird".')
    if interpolate and len(captions) < 2:
        raise UserError("--interpolate needs at least two captions: give --text twice.")
    _require_writable(output)
    sampler = load(workdir)
    if embeddings_file is None:
        embeddings = text.embed(sampler.directory, captions)
    else:
        captions, embeddings = _of_file(embeddings_file, captions, sampler.directory)
    if interpolate:
        titles = [f"{a} → {b}" for a, b in itertools.pairwise(captions)]
        pairs = itertools.pairwise(embeddings)
        rows = [interpolation(sampler, a, b, num, seed) for a, b in pairs]
    else:
        titles = list(captions)
        drawn = final_images(sampler.draw(np.repeat(embeddings, num, axis=0), seed=seed))
        rows = images.to_uint8(drawn).reshape(len(captions), num, *drawn.shape[1:])
    images.save_png(output, images.captioned_grid(rows, titles))
    print(f"{len(rows)} × {num} pictures of step {sampler.step:,} of {sampler.directory}: {output}")


def _of_file(
    path: str | Path, captions: Sequence[str], run: Path
) -> tuple[Sequence[str], np.ndarray]:
    """The captions, or the first ROWS, of a file of embeddings, and theirs as the run takes them.

    A run that was imported without its text encoder takes them as they are.
    """
    own = text.load_encoder(run) if text.exists(run) else None
    encoder = PrecomputedEncoder.of_file(path, own)
    captions = captions or encoder.captions[:ROWS]
    return captions, encoder.embed(captions)


def interpolation(
    sampler: Sampler, first: np.ndarray, last: np.ndarray, num: int, seed: int
) -> np.ndarray:
    """uint8 `[num, s, s, 3]`: the same noise, the embedding `[t]` going from `first` to `last`."""
    way = np.linspace(0, 1, num, dtype=np.float32)[:, None]
    noise = sampler.game.noise(jax.random.key(seed), 1)
    same = [None if part is None else np.repeat(part, num, axis=0) for part in noise]
    return images.to_uint8(final_images(sampler.draw((1 - way) * first + way * last, *same)))


def final_images(drawn: dict[str, np.ndarray]) -> np.ndarray:
    """The last stage's pictures."""
    return drawn.get("stage2", drawn["stage1"])


def _require_writable(output: Path) -> None:
    if not output.parent.is_dir():
        raise UserError(f"--output={output} can't be written: there is no folder {output.parent}.")


def _embedding_width(sampler: Sampler) -> int:
    return sampler.state.ema["params"]["conditioning"]["dense"]["kernel"].shape[0]


def _chunk(array: np.ndarray, start: int) -> np.ndarray:
    """CHUNK rows from `start`, the last repeated, so that one compilation serves every chunk."""
    rows = array[start : start + CHUNK]
    if len(array) <= CHUNK:
        return rows
    return np.concatenate([rows, np.repeat(rows[-1:], CHUNK - len(rows), axis=0)])


def _draw(game: gan.Gan, state: Any, *inputs: np.ndarray) -> dict[str, np.ndarray]:
    return jax.device_get(_compiled(game)(state, *inputs))


@functools.cache
def _compiled(game: gan.Gan):
    return jax.jit(game.generate, compiler_options=convolution.compiler_options())

"""Captions or embeddings to pictures, by any trained run in inference mode."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from stackgan_jax import text
from stackgan_jax.data import images
from stackgan_jax.models import convolution
from stackgan_jax.runtime import configuration, files, paths, run_files
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders.precomputed import PrecomputedEncoder
from stackgan_jax.training import gan
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.game import load_game

ROWS = 8  # of a page, where a file of embeddings is given and no caption
CHUNK = 32  # pictures drawn at once: 256-px activations are large
FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")  # of a page
EPSILONS = ("epsilon", "stage2_epsilon")  # as `generate` names them


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A trained run, ready to draw.

    Attributes:
        config: of the run.
        game: its networks.
        state: the averaged generator and the earlier stages.
        step: of the checkpoint.
        directory: of the run.
    """

    config: ConfigDict
    game: gan.Gan
    state: Any
    step: int
    directory: Path

    def noise(self, count: int, seed: int, truncation: float = 0.0) -> gan.Noise:
        """Draws the noise of pictures.

        Args:
            count: of the pictures.
            seed: of the noise.
            truncation: z is a normal variable cut at two deviations, times this; 0 for no cut. With
                less than 1, pictures are more typical and less different (Brock et al., ICLR 2019,
                "BigGAN", sec. 3.1).
        """
        key = jax.random.key(seed)
        noise = self.game.noise(key, count)
        if truncation:
            cut = jax.random.truncated_normal(key, -2.0, 2.0, noise.z.shape)
            noise = noise._replace(z=truncation * cut)
        return noise

    def draw(
        self,
        embedding: np.ndarray,
        noise: gan.Noise | None = None,
        seed: int = 0,
        truncation: float = 0.0,
    ) -> dict[str, np.ndarray]:
        """Draws one picture for each embedding.

        Args:
            embedding: `[n, t]` float32, of the run's text encoder.
            noise: used as it is; parts that are None are drawn from `seed`.
            seed: of the noise that is not given.
            truncation: of the noise that is not given, as in `noise`.

        Returns:
            Every stage's pictures in order, "stage1", "stage2" and so on: `[n, s, s, 3]` float32 in
            [-1, 1].

        Raises:
            UserError: an array has another shape than the run takes, or a picture is not finite.
        """
        embedding = np.asarray(embedding, np.float32)
        drawn = self.noise(len(embedding), seed, truncation)
        noise = _completed(noise, drawn)
        self._refuse_other_shapes(embedding, noise, drawn)
        chunks = [
            _draw(self.game, self.state, *_chunk((embedding, noise), start))
            for start in range(0, len(embedding), CHUNK)
        ]
        drawn = {
            name: np.concatenate([chunk[name] for chunk in chunks])[: len(embedding)]
            for name in chunks[0]
        }
        self._refuse_broken(drawn, embedding)
        return drawn

    def _refuse_broken(self, drawn: dict[str, np.ndarray], embedding: np.ndarray) -> None:
        """Raises UserError if a picture has values that are no numbers."""
        if all(np.isfinite(pictures).all() for pictures in drawn.values()):
            return
        if not np.isfinite(embedding).all():
            raise UserError("An embedding has values that are not finite; give others.")
        raise UserError(
            f"Step {self.step:,} of {self.directory} draws pictures with values that are not "
            "finite, so its weights are broken; go back to an earlier checkpoint, or train again "
            "with smaller learning rates."
        )

    def _refuse_other_shapes(
        self, embedding: np.ndarray, noise: gan.Noise, expected: gan.Noise
    ) -> None:
        width = self.state.ema["params"]["conditioning"]["dense"]["kernel"].shape[0]
        more = (f"epsilons[{i}]" for i in range(len(EPSILONS), len(noise.epsilons)))
        names = ("embedding", "z", *EPSILONS[: len(noise.epsilons)], *more)
        shapes = [(len(embedding), width), *(each.shape for each in jax.tree.leaves(expected))]
        arrays = (embedding, *jax.tree.leaves(noise))
        for name, array, shape in zip(names, arrays, shapes, strict=True):
            if array.shape != shape:
                raise UserError(
                    f"{name} has shape {list(array.shape)}, but {self.directory} takes "
                    f"{list(shape)}; use embeddings of the encoder it was trained with."
                )


def _completed(given: gan.Noise | None, drawn: gan.Noise) -> gan.Noise:
    """The given noise; parts that are None come from what was drawn."""
    z, epsilons = given or (None, ())
    choose = lambda mine, own: np.asarray(own if mine is None else mine, np.float32)
    missing = [None] * (len(drawn.epsilons) - len(epsilons))
    pairs = zip((*epsilons, *missing), drawn.epsilons, strict=False)
    return gan.Noise(choose(z, drawn.z), tuple(choose(mine, own) for mine, own in pairs))


def load(workdir: str | Path, step: int | None = None) -> Sampler:
    """Opens a stage's run; of a quickstart the last stage's.

    Args:
        workdir: of the run.
        step: of the checkpoint; by default the best by `config.keep.best`, or the newest.

    Raises:
        UserError: there is no run or no sound checkpoint in it, or it is a text encoder's.
    """
    directory, config = find_run(paths.folder(workdir))
    checkpoints = Checkpoints(directory / "checkpoints", **config.get("keep", {}), read_only=True)
    saved = checkpoints.restore_part(("ema", "priors"), step)
    return Sampler(
        config=config,
        game=load_game(directory),
        state=gan.GanState.to_draw(saved.state["ema"], saved.state["priors"]),
        step=saved.step,
        directory=directory,
    )


def find_run(workdir: Path) -> tuple[Path, ConfigDict]:
    """The folder and config of a stage's run; of a quickstart's last stage.

    Raises:
        UserError: there is no run, or it draws no pictures.
    """
    path = workdir / "config.json"
    if not run_files.exists(path):
        raise UserError(f"There is no run in {workdir}: it holds no config.json; train one first.")
    config = configuration.read(path)
    if trainings := "kind" not in config and configuration.stages(config):
        return find_run(workdir / trainings[-1].kind)
    if not configuration.is_stage(config):
        raise UserError(
            f"{workdir} is a {config.get('kind', 'quickstart without stages')} run, which draws no "
            "pictures; give the workdir of a stage, or of a quickstart."
        )
    return workdir, config


def generate(
    workdir: str | Path,
    embedding: np.ndarray,
    z: np.ndarray | None = None,
    epsilon: np.ndarray | None = None,
    stage2_epsilon: np.ndarray | None = None,
    seed: int = 0,
    epsilons: Sequence[np.ndarray | None] | None = None,
) -> dict[str, np.ndarray]:
    """Draws one picture for each embedding, by the averaged generator in inference mode.

    Args:
        workdir: of a stage's run, or of a quickstart.
        embedding: `[n, t]` float32, of the run's text encoder.
        z: `[n, nz]` noise, used as it is; drawn from `seed` if None.
        epsilon: `[n, c]` noise of Stage I's conditioning augmentation, likewise.
        stage2_epsilon: `[n, c]` noise of Stage II's, likewise.
        seed: of the noise that is not given.
        epsilons: the noise of every stage in order, instead of the two.

    Returns:
        "stage1": `[n, 64, 64, 3]`, from a Stage II also "stage2": `[n, 256, 256, 3]`, and so on;
        float32 in [-1, 1].
    """
    sampler = load(workdir)
    given = (epsilon, stage2_epsilon) if epsilons is None else tuple(epsilons)
    return sampler.draw(embedding, gan.Noise(z, given), seed)


def sample(
    workdir: Path,
    captions: Sequence[str],
    num: int,
    seed: int,
    output: Path,
    interpolate: bool = False,
    truncation: float = 0.0,
    embeddings_file: str | Path | None = None,
) -> None:
    """Writes a page: a row of `num` pictures for each caption.

    Args:
        workdir: of a stage's run, or of a quickstart.
        captions: sentences; with `embeddings_file` captions of that file, or "#0", "#1" … for its
            rows, and none for its first rows.
        num: pictures for each caption.
        seed: of the noise.
        output: the file, whose name ends in one of FORMATS; or a folder, for samples.png in it.
        interpolate: a row for each two neighbouring captions instead: `num` pictures of the same
            noise on the way from one embedding to the other.
        truncation: of the noise, as in `Sampler.noise`.
        embeddings_file: embeddings to use instead of the text encoder.

    Raises:
        UserError: there are too few captions, the file can't be written, or as `load`.
    """
    if not captions and embeddings_file is None:
        raise UserError('Sampling needs a caption: --text="a small red bird".')
    if interpolate and len(captions) < 2:
        raise UserError("--interpolate needs at least two captions: give --text twice.")
    output = _output(output)
    sampler = load(workdir)
    if embeddings_file is None:
        embeddings = text.embed(sampler.directory, captions)
    else:
        captions, embeddings = _of_file(embeddings_file, captions, sampler.directory)
    if interpolate:
        titles = [f"{a} → {b}" for a, b in itertools.pairwise(captions)]
        pairs = itertools.pairwise(embeddings)
        rows = [interpolation(sampler, a, b, num, seed, truncation) for a, b in pairs]
    else:
        titles = list(captions)
        repeated = np.repeat(embeddings, num, axis=0)
        drawn = final_images(sampler.draw(repeated, seed=seed, truncation=truncation))
        rows = images.to_uint8(drawn).reshape(len(captions), num, *drawn.shape[1:])
    _save(output, images.captioned_grid(rows, titles))
    print(f"{len(rows)} × {num} pictures of step {sampler.step:,} of {sampler.directory}: {output}")


def _of_file(
    path: str | Path, captions: Sequence[str], run: Path
) -> tuple[Sequence[str], np.ndarray]:
    """Captions of a file of embeddings, by default the first ROWS, and their embeddings.

    The embeddings are normalised like the run's; a run that was imported without its text encoder
    takes them as they are.
    """
    own = text.load_encoder(run) if text.exists(run) else None
    encoder = PrecomputedEncoder.of_file(path, own)
    captions = captions or encoder.captions[:ROWS]
    return captions, encoder.embed(captions)


def interpolation(
    sampler: Sampler,
    first: np.ndarray,
    last: np.ndarray,
    num: int,
    seed: int,
    truncation: float = 0.0,
) -> np.ndarray:
    """Draws `num` pictures from one embedding `[t]` to another: uint8 `[num, s, s, 3]`.

    All have the same noise.
    """
    way = np.linspace(0, 1, num, dtype=np.float32)[:, None]
    noise = sampler.noise(1, seed, truncation)
    same = jax.tree.map(lambda part: np.repeat(part, num, axis=0), noise)
    return images.to_uint8(final_images(sampler.draw((1 - way) * first + way * last, same)))


def final_images(drawn: dict[str, np.ndarray]) -> np.ndarray:
    """The last stage's pictures."""
    return drawn[list(drawn)[-1]]


def _output(output: Path) -> Path:
    """The file of --output; raises UserError if it can't be written, before anything is drawn."""
    output = paths.output_file(output, "--output", "samples.png")
    if output.suffix.lower() not in FORMATS:
        raise UserError(
            f"--output={output} is no kind of picture that can be written; choose a name that ends "
            f"in {', '.join(FORMATS)}."
        )
    return output


def _save(output: Path, page: np.ndarray) -> None:
    """Writes `[h, w, 3]` uint8 in the format of the file's name, whole or not at all."""
    kind = Image.registered_extensions()[output.suffix.lower()]
    try:
        with files.replacing(output) as partial, partial.open("wb") as file:
            Image.fromarray(page).save(file, kind, quality=95)
    except (OSError, ValueError) as error:  # A format may not hold so large a page.
        raise UserError(
            f"--output={output} can't be written ({error}); free space, choose another path, or a "
            "name that ends in .png."
        ) from error


def _chunk(arrays: Any, start: int) -> Any:
    """CHUNK rows from `start` of each array.

    The last row is repeated where rows are missing, so that all chunks share a compilation.
    """

    def rows_of(array: np.ndarray) -> np.ndarray:
        rows = array[start : start + CHUNK]
        if len(array) <= CHUNK:
            return rows
        return np.concatenate([rows, np.repeat(rows[-1:], CHUNK - len(rows), axis=0)])

    return jax.tree.map(rows_of, arrays)


def _draw(
    game: gan.Gan, state: Any, embedding: np.ndarray, noise: gan.Noise
) -> dict[str, np.ndarray]:
    return jax.device_get(_compiled(game)(state, embedding, noise))


@functools.cache
def _compiled(game: gan.Gan) -> Callable[..., dict[str, jax.Array]]:
    return jax.jit(game.generate, compiler_options=convolution.compiler_options())

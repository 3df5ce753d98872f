"""Captions or embeddings to pictures, by any trained run in inference mode."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stackgan_jax.models import convolution
from stackgan_jax.runtime import configuration, mesh, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import gan
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.game import load_game

CHUNK = 32  # pictures drawn at once: 256-px activations are large
EPSILONS = ("epsilon", "stage2_epsilon")  # as `generate` names them


@dataclasses.dataclass(frozen=True, repr=False)
class Sampler:
    """A trained run, ready to draw.

    Attributes:
        config: of the run.
        game: its networks.
        state: the averaged generator and the earlier stages.
        step: of the checkpoint.
        directory: of the run.
        devices: that share the drawing; None for the first one.
    """

    config: ConfigDict
    game: gan.Gan
    state: Any
    step: int
    directory: Path
    devices: Mesh | None = None

    def __repr__(self) -> str:
        """One line."""
        return f"<Sampler of {self.directory}, step {self.step:,}>"

    def on_all_devices(self) -> "Sampler":
        """The same sampler, of which every device of this process draws a part."""
        devices = mesh.local_mesh()
        state = jax.device_put(self.state, mesh.replicated(devices))
        return dataclasses.replace(self, state=state, devices=devices)

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
        noise = self.game.cascade.noise(key, count)
        if truncation:
            cut = jax.random.truncated_normal(key, -2.0, 2.0, noise.z.shape)
            noise = noise._replace(z=truncation * cut)
        return noise

    def noise_of(self, seeds: Sequence[int], truncation: float = 0.0) -> gan.Noise:
        """Draws the noise of one picture for each seed, the same whatever the other seeds are.

        With `chunk=1`, `draw` then also draws the same picture bit for bit.

        Args:
            seeds: one or more; a seed gives the noise of `noise(1, seed, truncation)`.
            truncation: as in `noise`.
        """
        each = [self.noise(1, seed, truncation) for seed in seeds]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *each)

    def draw(
        self,
        embedding: np.ndarray,
        noise: gan.Noise | None = None,
        seed: int = 0,
        truncation: float = 0.0,
        chunk: int = CHUNK,
    ) -> dict[str, np.ndarray]:
        """Draws one picture for each embedding.

        Args:
            embedding: `[n, t]` float32, of the run's text encoder.
            noise: used as it is; parts that are None are drawn from `seed`.
            seed: of the noise that is not given.
            truncation: of the noise that is not given, as in `noise`.
            chunk: pictures that a device draws at once. Their last bits can differ with the number;
                1 makes them independent of each other and takes up to twice as long.

        Returns:
            Every stage's pictures in order, "stage1", "stage2" and so on: `[n, s, s, 3]` float32 in
            [-1, 1].

        Raises:
            UserError: an array has another shape than the run takes, or a picture is not finite.
        """
        embedding = np.asarray(embedding, np.float32)
        noise = _completed(noise, self.noise(len(embedding), seed, truncation))
        chunks = list(self.chunks(embedding, noise, chunk))
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def chunks(
        self, embedding: np.ndarray, noise: gan.Noise, chunk: int = CHUNK
    ) -> Iterator[dict[str, np.ndarray]]:
        """Draws as `draw` does, some pictures at a time, so that any number needs little memory.

        Args:
            embedding: `[n, t]` float32.
            noise: of n pictures, all parts of it.
            chunk: as in `draw`.

        Yields:
            The pictures of the next embeddings, as `draw` returns them.

        Raises:
            UserError: as `draw`.
        """
        self._refuse_other_shapes(embedding, noise)
        devices = self.devices.size if self.devices else 1
        count = len(embedding)
        size = devices * (chunk if count > chunk else -(-count // devices))
        for start in range(0, count, size):
            rows = embedding[start : start + size]
            drawn = self._draw(*_chunk((embedding, noise), start, size))
            drawn = {name: pictures[: len(rows)] for name, pictures in drawn.items()}
            self._refuse_broken(drawn, rows)
            yield drawn

    def _draw(self, embedding: np.ndarray, noise: gan.Noise) -> dict[str, np.ndarray]:
        given = embedding, noise
        if self.devices:
            given = jax.device_put(given, mesh.over_batch(self.devices))
        return jax.device_get(_compiled(self.game)(self.state, *given))

    def require_fit(self) -> None:
        """Raises flax.errors.FlaxError or KeyError unless the weights are the networks' own."""
        one = np.zeros((1, self.width), np.float32)
        jax.eval_shape(self.game.generate, self.state, one, self.noise(1, 0))

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        return self.state.ema["params"]["conditioning"]["dense"]["kernel"].shape[0]

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

    def _refuse_other_shapes(self, embedding: np.ndarray, noise: gan.Noise) -> None:
        expected = jax.eval_shape(lambda: self.noise(len(embedding), 0))
        more = (f"epsilons[{i}]" for i in range(len(EPSILONS), len(noise.epsilons)))
        names = ("embedding", "z", *EPSILONS[: len(noise.epsilons)], *more)
        shapes = [
            (len(embedding), self.width),
            *(each.shape for each in jax.tree.leaves(expected)),
        ]
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
    config = configuration.of_workdir(workdir)
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


def way(
    sampler: Sampler,
    first: np.ndarray,
    last: np.ndarray,
    num: int,
    seed: int,
    truncation: float = 0.0,
) -> tuple[np.ndarray, gan.Noise]:
    """What is drawn on the way from one embedding `[t]` to another, with one noise for all.

    Returns:
        `[num, t]` embeddings, the ends included, and the noise: the arguments of `Sampler.draw`.
    """
    share = np.linspace(0, 1, num, dtype=np.float32)[:, None]
    noise = sampler.noise(1, seed, truncation)
    same = jax.tree.map(lambda part: np.repeat(part, num, axis=0), noise)
    return (1 - share) * first + share * last, same


def final_images(drawn: dict[str, np.ndarray]) -> np.ndarray:
    """The last stage's pictures."""
    return drawn[list(drawn)[-1]]


def _chunk(arrays: Any, start: int, size: int) -> Any:
    """`size` rows from `start` of each array.

    The last row is repeated where rows are missing, so that all chunks share a compilation.
    """

    def rows_of(array: np.ndarray) -> np.ndarray:
        rows = array[start : start + size]
        return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])

    return jax.tree.map(rows_of, arrays)


@functools.cache
def _compiled(game: gan.Gan) -> Callable[..., dict[str, jax.Array]]:
    return jax.jit(game.generate, compiler_options=convolution.compiler_options())

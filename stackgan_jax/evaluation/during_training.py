"""A run evaluated by the very process that trains it, between two steps."""

from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from stackgan_jax.evaluation.metrics import BETTER
from stackgan_jax.evaluation.protocols import resolve
from stackgan_jax.evaluation.runs import prepare, publish
from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.sample import Sampler
from stackgan_jax.training import gan
from stackgan_jax.training.game import load_game


def in_training(config: ConfigDict, workdir: Path) -> "InTraining | None":
    """What the training loop calls at every `config.eval.every` steps; None for never.

    Raises UserError when `config.keep.best` asks for a metric that won't be measured.
    """
    best, mode = config.keep.best, config.keep.best_mode
    if "eval" not in config or not config.eval.every:
        if best in BETTER:
            raise UserError(
                f"config.keep.best={best} needs evaluations in training: set config.eval.every."
            )
        return None
    evaluating = InTraining(config, workdir)
    if best in BETTER and mode != BETTER[best]:
        raise UserError(
            f"{best} is better the {'lower' if BETTER[best] == 'min' else 'higher'} it is; set "
            f"--config.keep.best_mode={BETTER[best]}."
        )
    if best in BETTER and best not in evaluating.metrics:
        raise UserError(
            f"config.keep.best={best} isn't measured here; choose from "
            f"{', '.join(evaluating.metrics)}, or give what it needs (config.eval.inception)."
        )
    return evaluating


class InTraining:
    """Evaluations of a run by the process that trains it."""

    def __init__(self, config: ConfigDict, workdir: Path):
        self._config, self._workdir = config, workdir
        self._game = load_game(workdir)
        self._evaluation = prepare(config, workdir, resolve(config.eval))
        self.metrics = self._evaluation.metrics

    def __call__(
        self, step: int, state: gan.GanState, abandoned: Callable[[], bool]
    ) -> dict[str, float]:
        """Scores the state after `step` steps: name → value; they are written as well.

        Nothing where `abandoned` came true meanwhile, or, with a word, where it can't be done:
        days of training don't end for that.
        """
        drawing = gan.GanState.to_draw(mesh.on_host(state.ema), mesh.on_host(state.priors))
        sampler = Sampler(self._config, self._game, drawing, step, self._workdir)
        try:
            record = self._evaluation.of(sampler, abandoned)
            if record is None:
                return {}
            publish(self._evaluation, record)
        except UserError as error:
            print(f"Step {step:,} isn't evaluated: {error}", flush=True)
            return {}
        return {name: score.value for name, score in record.scores.items()}

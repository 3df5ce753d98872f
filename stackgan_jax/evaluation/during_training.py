"""Evaluation during training: the training process evaluates its run between two steps."""

from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from stackgan_jax.evaluation import inception_weights
from stackgan_jax.evaluation.metrics import METRICS
from stackgan_jax.evaluation.protocols import resolve
from stackgan_jax.evaluation.readers import InceptionReader
from stackgan_jax.evaluation.run_setup import prepare
from stackgan_jax.evaluation.runs import publish
from stackgan_jax.runtime import configuration, mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.sample import Sampler
from stackgan_jax.training import game, gan, joint_embedding


def require_possible(config: ConfigDict) -> None:
    """Checks what `config.keep` and `config.eval` say, as far as the config alone can tell.

    Raises:
        UserError: `config.eval` has a bad value, or `config.keep.best` names a metric that won't be
            measured or that is better the other way.
    """
    best, mode = config.keep.best, config.keep.best_mode
    if mode not in ("min", "max"):
        raise UserError(f"Unknown config.keep.best_mode {mode!r}; choose from min, max.")
    if "eval" in config:
        resolve(config.eval)
    if "eval" in config and best in METRICS:
        _require_measured(config)
    elif best and best not in (known := scalars(config)) and known:
        every = config.save_every
        more = f", or, with --config.eval.every={every}, from {', '.join(METRICS)}"
        raise UserError(
            f"Unknown config.keep.best {best!r}; choose from {', '.join(known)}"
            f"{more if 'eval' in config else ''}."
        )


def _require_measured(config: ConfigDict) -> None:
    """Raises UserError unless the evaluation measures `config.keep.best`, a metric of its."""
    best, mode = config.keep.best, config.keep.best_mode
    metric, inception = METRICS[best], InceptionReader.name
    if metric.reads == inception and not config.eval.inception:
        others = [name for name, each in METRICS.items() if each.reads != inception]
        raise UserError(
            f"config.keep.best={best} won't be measured: {inception_weights.HOW_TO_GET}, or choose "
            f"from {', '.join(others)}."
        )
    if not config.eval.every:
        raise UserError(
            f"config.keep.best={best} needs evaluations in training: set config.eval.every, for "
            f"example --config.eval.every={config.save_every}."
        )
    if mode != metric.mode:
        raise UserError(
            f"{best} is better the {metric.better} it is; set "
            f"--config.keep.best_mode={metric.mode}."
        )


def scalars(config: ConfigDict) -> tuple[str, ...]:
    """What the steps of a training return; () for a kind of training that isn't known here."""
    if configuration.is_stage(config):
        return game.scalars(config)
    return joint_embedding.SCALARS if config.kind == configuration.TEXT_ENCODER else ()


def in_training(config: ConfigDict, workdir: Path) -> "InTraining | None":
    """Prepares the evaluation that the training loop calls every `config.eval.every` steps.

    Args:
        config: of the run.
        workdir: of the run.

    Returns:
        The function to call; None where no evaluation is configured.

    Raises:
        UserError: where `config.keep.best` names a metric that won't be measured.
    """
    require_possible(config)
    if "eval" not in config or not config.eval.every:
        return None
    best, evaluating = config.keep.best, InTraining(config, workdir)
    if best in METRICS and best not in evaluating.metrics:
        why = f" ({evaluating.left_out[best]})" if best in evaluating.left_out else ""
        raise UserError(
            f"config.keep.best={best} isn't measured here{why}; choose from "
            f"{', '.join(evaluating.metrics)}, or set what it needs (config.eval.inception)."
        )
    return evaluating


class InTraining:
    """Evaluates a run in the process that trains it.

    Args:
        config: of the run.
        workdir: of the run.

    Attributes:
        metrics: the names of the metrics that will be measured.
        left_out: metric → why it won't.
    """

    def __init__(self, config: ConfigDict, workdir: Path) -> None:
        self._config, self._workdir = config, workdir
        self._game = game.load_game(workdir)
        self._evaluation = prepare(config, workdir, resolve(config.eval))
        self.metrics, self.left_out = self._evaluation.metrics, self._evaluation.left_out

    def __call__(
        self, step: int, state: gan.GanState, abandoned: Callable[[], bool]
    ) -> dict[str, float]:
        """Scores a state and writes the scores into the run.

        An evaluation that fails prints the reason: it must not end days of training.

        Args:
            step: how many steps the state was trained.
            state: to evaluate.
            abandoned: checked while drawing; True ends the evaluation.

        Returns:
            Metric → value; empty if the evaluation was abandoned or failed.
        """
        drawing = gan.GanState.to_draw(mesh.on_host(state.ema), mesh.on_host(state.priors))
        sampler = Sampler(self._config, self._game, drawing, step, self._workdir)
        try:
            record = self._evaluation.of(sampler, abandoned)
            if record is None:
                return {}
            publish(self._evaluation, record, in_training=True)
        except UserError as error:
            print(f"Step {step:,} isn't evaluated: {error}", flush=True)
            return {}
        return {name: score.value for name, score in record.scores.items()}

"""Weights & Biases (extra `wandb`). Its own variables hold here: WANDB_MODE=offline and others."""

import html
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration
from stackgan_jax.training.loggers.run_ids import keep_run, known_run

PROJECT = "stackgan_jax"  # unless WANDB_PROJECT names another
STEP = "training step"  # the x axis of every curve


class WandbLogger:
    """Logs to a run of Weights & Biases, or to files for `wandb sync`.

    The trainings of a quickstart are three runs of one group.

    Args:
        config: of the run, which becomes the run's config there.
        workdir: the folder of the run.
    """

    def __init__(self, config: ConfigDict, workdir: Path) -> None:
        import wandb

        self._wandb = wandb
        known = known_run(workdir, "wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", config.name),
            group=os.environ.get("WANDB_RUN_GROUP", workdir.parent.name),
            id=known or None,
            resume="allow" if known else None,
            config=configuration.flat(config),
            dir=str(workdir) if isinstance(workdir, Path) else None,
            # The terminal has the progress bar already.
            settings=wandb.Settings(console="off", silent=True),
        )
        # Pictures are logged while later steps are: the order of calls is not that of steps.
        self._run.define_metric("*", step_metric=STEP)
        keep_run(workdir, "wandb", self._run.id)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Draws curves."""
        self._log(step, values)

    def text(self, step: int, name: str, text: str) -> None:
        """Shows a text."""
        self._log(step, {name: self._wandb.Html(f"<pre>{html.escape(text)}</pre>")})

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Shows a picture."""
        self._log(step, {name: self._wandb.Image(picture)})

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Shows histograms over the steps."""
        self._log(step, {n: self._wandb.Histogram(np.ravel(v)) for n, v in values.items()})

    def close(self) -> None:
        """Ends the run there; a later start continues it."""
        self._run.finish()

    def _log(self, step: int, values: Mapping[str, Any]) -> None:
        self._run.log({STEP: step, **values})

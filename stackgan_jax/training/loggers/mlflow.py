"""MLflow (extra `mlflow`). Its own variables hold here: MLFLOW_TRACKING_URI and others."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.progress import print_line
from stackgan_jax.training.loggers.run_ids import keep_run, known_run

EXPERIMENT = "stackgan_jax"  # unless MLFLOW_EXPERIMENT_NAME names another
QUANTILES = (5, 25, 50, 75, 95)  # per cent; MLflow has no histograms
RETRIES = "2"  # of a request to a server that is away: the end of a training waits for them


class MlflowLogger:
    """Logs to a run of MLflow.

    Args:
        config: of the run, which becomes the run's parameters there.
        workdir: the folder of the run.
    """

    def __init__(self, config: ConfigDict, workdir: Path) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        self._metric, self._client = Metric, MlflowClient()
        self._run = self._continued(workdir) or self._begun(config, workdir)

    def _continued(self, workdir: Path) -> str:
        """The id of the run that a resumed training continues; "" for none."""
        known = known_run(workdir, "mlflow")
        if not known:
            return ""
        try:
            self._client.update_run(known, status="RUNNING")
        except Exception:
            self._client.search_experiments(max_results=1)  # Raises where the server is away.
            print_line(f"MLflow has no run {known} any more: the log continues in a new one.")
            return ""
        return known

    def _begun(self, config: ConfigDict, workdir: Path) -> str:
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        title = f"{workdir.parent.name}/{config.name}"
        run = self._client.create_run(number, run_name=title).info.run_id
        keep_run(workdir, "mlflow", run)
        fields = configuration.flat(config).items()
        self._client.log_batch(run, params=[Param(k, str(v)) for k, v in fields])
        return run

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Draws curves."""
        now = _milliseconds()
        metrics = [self._metric(_allowed(n), v, now, step) for n, v in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def text(self, step: int, name: str, text: str) -> None:
        """Keeps a text as a file."""
        self._client.log_text(self._run, text, f"{name}/step_{step:07d}.md")

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Shows a picture."""
        self._client.log_image(self._run, picture, key=name, step=step)

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Draws curves of five quantiles."""
        quantiles = {
            f"{name}/p{share:02d}": float(np.percentile(array, share))
            for name, array in values.items()
            for share in QUANTILES
        }
        self.scalars(step, quantiles)

    def close(self) -> None:
        """Ends the run there; a later start continues it."""
        self._client.set_terminated(self._run)


def _milliseconds() -> int:
    return int(1000 * time.time())


def _allowed(name: str) -> str:
    """A name with only the characters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "", name)

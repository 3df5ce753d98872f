"""The loggers of a run, by the names in `config.loggers`: TensorBoard, Weights & Biases, MLflow.

A logger of your own is one more entry, for example at the top of your config file:

    loggers.LOGGERS["mine"] = loggers.Entry(MyLogger)

metrics.jsonl is written always and is none of them.
"""

import contextlib
import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration, packages
from stackgan_jax.runtime.errors import UserError, reason
from stackgan_jax.runtime.progress import print_line
from stackgan_jax.training.loggers.guarded import Guarded
from stackgan_jax.training.loggers.interface import Logger, field_name
from stackgan_jax.training.loggers.mlflow import MlflowLogger
from stackgan_jax.training.loggers.tensorboard import TensorBoardLogger
from stackgan_jax.training.loggers.wandb import WandbLogger

__all__ = ["LOGGERS", "Entry", "Logger", "Loggers", "require"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One kind of logger.

    Attributes:
        open: (config, workdir) → the logger of a run; None where it can't log, which it has said.
        package: that it needs; it is looked for before any work.
        extra: of this program, which brings the package.
    """

    open: Callable[[ConfigDict, Path], Logger | None]
    package: str = ""
    extra: str = ""


LOGGERS: dict[str, Entry] = {
    "tensorboard": Entry(TensorBoardLogger.open),
    "wandb": Entry(WandbLogger, package="wandb", extra="wandb"),
    "mlflow": Entry(MlflowLogger, package="mlflow", extra="mlflow"),
}


def require(config: ConfigDict) -> list[str]:
    """The names in `config.loggers`, which are separated by commas; "" for none.

    Raises:
        UserError: a name is unknown, or its package is not installed.
    """
    given = str(config.get("loggers", "tensorboard"))
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if name not in LOGGERS:
            raise UserError(
                f"Unknown logger {name!r} in config.loggers; choose from {', '.join(LOGGERS)}, "
                "several with commas between them, or '' for none."
            )
        entry = LOGGERS[name]
        if entry.package and importlib.util.find_spec(entry.package) is None:
            others = ",".join(other for other in names if other != name)
            raise packages.missing(
                entry.package,
                by=f"config.loggers={given}",
                install=f"-e '.[{entry.extra}]'",
                instead=f"set --config.loggers={others or repr('')}",
            )
    return names


class Loggers:
    """All loggers of one run, as one. Metrics get the field's names, see `field_name`.

    Nothing here waits for a logger, and a logger that fails ends nothing, see `Guarded`.

    Args:
        config: of the run.
        workdir: the folder of the run.

    Raises:
        UserError: a logger of a run that begins can't be opened. Where a run resumes, this is
            said, and the run goes on without that logger.
    """

    def __init__(self, config: ConfigDict, workdir: Path) -> None:
        self._loggers: list[Guarded] = []
        for name in require(config):
            try:
                logger = LOGGERS[name].open(config, workdir)
            except Exception as error:
                problem = f"The logger {name} can't be opened ({reason(error)})"
                if not configuration.has_begun(workdir):
                    raise UserError(f"{problem}; leave it out of --config.loggers.") from error
                print_line(f"{problem}; training goes on without it.")
                continue
            if logger is not None:
                self._loggers.append(Guarded(name, logger))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs numbers, by their names in metrics.jsonl."""
        named = {field_name(name): float(value) for name, value in values.items()}
        self._each(lambda logger: logger.scalars(step, named))

    def text(self, step: int, name: str, text: str) -> None:
        """Logs a text."""
        self._each(lambda logger: logger.text(step, name, text))

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Logs a picture, uint8 `[h, w, 3]`."""
        self._each(lambda logger: logger.image(step, name, picture))

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Logs how numbers are distributed, by name."""
        self._each(lambda logger: logger.histograms(step, values))

    def close(self) -> None:
        """Waits until everything has been logged.

        Raises:
            OSError: the disk is full.
        """
        with contextlib.ExitStack() as closing:
            for logger in self._loggers:
                closing.callback(logger.close)

    def _each(self, write: Callable[[Logger], Any]) -> None:
        for logger in self._loggers:
            logger.do(write)

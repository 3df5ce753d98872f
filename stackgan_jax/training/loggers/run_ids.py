"""The names that services gave a run, kept in its folder so that a resumed run continues there."""

import json
from pathlib import Path

from stackgan_jax.runtime import configuration, files

FILE = "loggers.json"


def known_run(workdir: Path, logger: str) -> str:
    """The id under which a logger knows the run in `workdir`; "" for a run that begins.

    A run that has saved nothing begins, even where another start in this folder has logged.
    """
    return _all(workdir).get(logger, "") if configuration.has_begun(workdir) else ""


def keep_run(workdir: Path, logger: str, run: str) -> None:
    """Writes down the id of the run."""
    files.write_text(workdir / FILE, json.dumps({**_all(workdir), logger: run}, indent=2) + "\n")


def _all(workdir: Path) -> dict[str, str]:
    try:
        return dict(json.loads((workdir / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):  # Missing or damaged: the services then show a second run.
        return {}

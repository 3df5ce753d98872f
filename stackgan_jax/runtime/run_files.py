"""The small JSON files of a run, whose copies its checkpoints' seals carry."""

import json
from pathlib import Path
from typing import Any

from stackgan_jax.runtime import seals
from stackgan_jax.runtime.errors import UserError

CONFIG = "config.json"
COMMITTED = "commit_success.txt"  # of a complete checkpoint on gs://
PARAMETERS = "parameters.txt"  # a table of each network's parameters


def exists(path: Any) -> bool:
    """Whether `read` finds the file or a copy of it."""
    return path.is_file() or copy(path) is not None


def read(path: Any) -> dict[str, Any]:
    """Reads a JSON file of a run; where it is damaged or missing, the newest copy, and says so.

    Args:
        path: for example `<workdir>/config.json`.

    Raises:
        UserError: the file can't be read and there is no copy.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no JSON object")
        return content
    except (OSError, ValueError) as error:
        kept = copy(path)
        if kept is None:
            again = ", or delete it and start the training again, which writes it"
            raise UserError(
                f"{path} can't be read ({error}); restore it from a copy of the run"
                f"{again if path.name == CONFIG else ''}."
            ) from error
        print(f"{path} can't be read; the copy in its newest checkpoint is used.", flush=True)
        return kept


def copy(path: Any) -> dict[str, Any] | None:
    """The copy of a run's file in the newest checkpoint that has one; None for none."""
    checkpoints = path.parent / "checkpoints"
    for step in reversed(saved_steps(checkpoints)):
        if text := seals.carried(checkpoints / str(step)).get(path.name):
            return json.loads(text)
    return None


def saved_steps(directory: Any) -> list[int]:
    """The steps with complete checkpoints in a folder, oldest first, without opening them."""
    if not directory.is_dir():
        return []
    steps = (path for path in directory.iterdir() if path.name.isdigit())
    # A folder on gs:// can't be renamed when it is complete; Orbax writes a last file instead.
    return sorted(
        int(step.name) for step in steps if isinstance(step, Path) or (step / COMMITTED).exists()
    )

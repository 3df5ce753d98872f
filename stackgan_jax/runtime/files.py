"""Files and folders that are written whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Any) -> Iterator[Any]:
    """Yields the name of a file to write, beside `path`; the file becomes `path` at the end.

    If the block raises, `path` stays as it was and nothing is left beside it.

    Args:
        path: a `Path`, or an `epath.Path` on gs://. Its folder must exist.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Any, text: str) -> None:
    """Writes UTF-8 text to `path`, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path`, which becomes `path` at the end.

    A folder that stood at `path` is replaced by it. If the block raises, `path` stays as it was.
    Missing folders above `path` are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield made
        made.chmod(0o755)
        if path.exists():
            replaced = made.with_name(made.name + "-replaced")
            os.rename(path, replaced)
            os.rename(made, path)
            shutil.rmtree(replaced)
        else:
            os.rename(made, path)
    finally:
        shutil.rmtree(made, ignore_errors=True)

"""Files and folders that are written whole or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Any, several: bool = False) -> Iterator[Any]:
    """Yields a temporary path in the folder of `path`; its file becomes `path` at the end.

    If the block raises, `path` stays as it was and the temporary file is removed.

    Args:
        path: a `Path`, or an `epath.Path` on gs://. Its folder must exist.
        several: whether several processes may write it at once, each its own temporary file.
    """
    token = f"-{secrets.token_hex(4)}" if several else ""
    partial = path.with_name(f".{path.name}{token}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Any, text: str) -> None:
    """Writes UTF-8 text to `path`, whole or not at all.

    Args:
        path: as for `replacing`.
        text: the whole contents of the file.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary empty folder in the folder of `path`; it becomes `path` at the end.

    A folder that already exists at `path` is replaced. If the block raises, `path` stays as it was
    and the temporary folder is removed. Missing parent folders are created.
    """
    # Not of tempfile.mkdtemp, whose folders only their owner can read.
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            replaced = partial.with_name(partial.name + "-replaced")
            os.rename(path, replaced)
            os.rename(partial, path)
            shutil.rmtree(replaced)
        else:
            os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

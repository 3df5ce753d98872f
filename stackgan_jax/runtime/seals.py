"""Seals: a folder's digests, by which a reader knows that the files are as they were written.

A seal is the file `seal.json` in the folder. It holds the SHA-256 digest of every other file there,
and may carry copies of small texts that belong to the folder's content. A folder of an earlier
version has no seal; it counts as sound.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stackgan_jax.runtime import files, paths

NAME = "seal.json"
_BLOCK = 1 << 20  # Bytes that are read at once.


def seal(
    folder: Any, carried: Mapping[str, str] | None = None, leave_out: Sequence[str] = ()
) -> None:
    """Writes the seal of a folder, whole or not at all.

    Args:
        folder: a `Path`, or an `epath.Path` on gs://. A seal there is replaced.
        carried: texts by name that the seal keeps.
        leave_out: names of files at the top of the folder that may change.
    """
    digests = {name: each for name, each in _digests(folder).items() if name not in leave_out}
    content = {"digests": digests, "carried": dict(carried or {})}
    content["own"] = _own_digest(content)
    files.write_text(folder / NAME, json.dumps(content, indent=1) + "\n")


def damage(folder: Any) -> str:
    """What in a folder differs from its seal, as a part of a sentence; "" for nothing."""
    if not (folder / NAME).exists():
        return ""
    content = _read(folder)
    if content is None:
        return f"{NAME} can't be read"
    try:
        now = _digests(folder)
    except OSError as error:
        return f"{getattr(error, 'filename', '') or folder} can't be read ({error.strerror})"
    sealed = content["digests"]
    if missing := sorted(sealed.keys() - now.keys()):
        return f"{missing[0]} is missing"
    if changed := sorted(name for name, digest in sealed.items() if now[name] != digest):
        return f"{changed[0]} isn't as it was written"
    return ""


def is_sealed(folder: Any) -> bool:
    """Whether a folder has a seal."""
    return (folder / NAME).exists()


def same(folder: Any, other: Any) -> bool:
    """Whether two folders were sealed with the same files."""
    one, two = (_read(each) if is_sealed(each) else None for each in (folder, other))
    return bool(one and two) and one["digests"] == two["digests"]


def carried(folder: Any) -> dict[str, str]:
    """The texts that a folder's seal carries; none without a seal, or if it is damaged."""
    content = _read(folder) if is_sealed(folder) else None
    return content["carried"] if content else {}


def _read(folder: Any) -> dict[str, Any] | None:
    """The seal's content; None if it isn't as it was written."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        own = content.pop("own")
        return content if own == _own_digest(content) else None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def _own_digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digests(folder: Any) -> dict[str, str]:
    """Name → digest of every file below a folder, but of the seal."""
    length = len(f"{folder}/")
    found = {str(path)[length:]: path for path in paths.files(folder) if path != folder / NAME}
    with ThreadPoolExecutor() as pool:
        return dict(zip(found, pool.map(_digest, found.values()), strict=True))


def _digest(path: Any) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()

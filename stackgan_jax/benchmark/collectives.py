"""Reads the communication between devices from a compiled program."""

import collections
import math
import re
from collections.abc import Iterable, Iterator

from stackgan_jax.benchmark import kernels
from stackgan_jax.training.gan import MISMATCH

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
SEVERAL = "several"  # the origin of sums that the compiler joined
_COLLECTIVE = re.compile(rf"= (.+?) ({'|'.join(KINDS)})(?:-start)?\(")

Array = tuple[str, tuple[int, ...]]  # element type and lengths


def read(
    text: str, parameters: Iterable[tuple[int, ...]], images: int
) -> dict[str, dict[str, int]]:
    """Counts what the devices send each other, by kind and origin.

    The origin is one of

    - "gradients", of `parameters`;
    - "normalisation": batch statistics and their gradients;
    - "mismatch": which text goes with which image;
    - "scalars": losses and norms, also one for each of `images`;
    - "several": what a GPU's compiler joined into one operation;
    - any other operation, by its name.

    An operation that the compiler splits, so that it runs during other work, keeps its channel and
    is counted once.

    Args:
        text: the HLO of the compiled program.
        parameters: the shapes of all parameters.
        images: the number of images in a batch.

    Returns:
        "all-reduce of gradients" and the like → {"count": …, "bytes": …}.
    """
    known = {tuple(shape) for shape in parameters}
    found: dict[str, collections.Counter] = {}
    for kind, arrays, operation in _operations(text):
        shapes = [shape for _, shape in arrays if shape in known or shape != (images,)]
        size = sum(kernels.BYTES.get(dtype, 4) * math.prod(shape) for dtype, shape in arrays)
        name = f"{kind} of {_origin(operation, shapes, known)}"
        found.setdefault(name, collections.Counter()).update(count=1, bytes=size)
    return {name: dict(counts) for name, counts in sorted(found.items())}


def _operations(text: str) -> Iterator[tuple[str, list[Array], str]]:
    """Yields the kind, the arrays and the operation's name of each collective, each once."""
    seen = set()
    for line in text.splitlines():
        match, channel = _COLLECTIVE.search(line), re.search(r"channel_id=\d+", line)
        identity = channel[0] if channel else line
        if match and identity not in seen:
            seen.add(identity)
            arrays = [
                (dtype, tuple(int(n) for n in lengths.split(",") if n))
                for dtype, lengths in re.findall(r"(\w+)\[([\d,]*)\]", match[1])
            ]
            name = re.search(r'op_name="([^"]*)"', line)
            yield match[2], arrays, name[1] if name else ""


def _origin(operation: str, shapes: list[tuple[int, ...]], known: set[tuple[int, ...]]) -> str:
    if "/norm/" in operation:
        return "normalisation"
    if f"{MISMATCH}/" in operation or f"{MISMATCH})/" in operation:
        return "mismatch"
    if all(math.prod(shape) == 1 for shape in shapes):
        return "scalars"
    if all(shape in known for shape in shapes) or "transpose(jvp(" in operation:
        return "gradients"
    return operation or SEVERAL

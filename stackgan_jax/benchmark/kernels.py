"""Reads the kernels of a program that XLA compiled for a GPU: bytes and operations of each.

XLA counts neither for a GPU. A kernel's bytes are those of its operands and results, each counted
once. Its operations are those of its convolutions and matrix products, calculated from the shapes.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
# Instructions that launch no kernel: names, views and the bookkeeping of loops.
_NO_KERNEL = {
    "parameter",
    "get-tuple-element",
    "tuple",
    "bitcast",
    "constant",
    "while",
    "after-all",
}
_CONVOLUTION = "__cudnn$conv"
_HEAD = re.compile(r"(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_LINE = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\([^=]*?\)|\S+) ([\w\-]+)\((.*)")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One launch on a GPU.

    Attributes:
        what: "convolution", "product" or "elementwise".
        dtype: the element type that it computes in, as XLA writes it: "bf16".
        bytes: read and written.
        operations: a multiplication and an addition are two.
    """

    what: str
    dtype: str
    bytes: int
    operations: int


@dataclasses.dataclass(frozen=True)
class _Instruction:
    """A line of HLO; `line` is its whole text."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    line: str


def of_a_step(text: str) -> list[Kernel]:
    """Returns the kernels of one training step.

    They are those of the computation with the most convolutions. In a dispatch of several steps
    that is the loop's body.

    Args:
        text: the HLO of the compiled program.
    """
    computations = dict(_computations(text))
    steps = max(
        computations.values(), key=lambda c: sum(_CONVOLUTION in i.line for i in c.values())
    )
    return [
        _kernel(instruction, steps, computations)
        for instruction in steps.values()
        if instruction.opcode not in _NO_KERNEL
    ]


def _computations(text: str) -> Iterator[tuple[str, dict[str, _Instruction]]]:
    """Yields each computation's name, and its instructions by their names."""
    for block in re.split(r"\n\n+", text):
        head, *lines = block.strip("\n").splitlines() or [""]
        matched = _HEAD.match(head)
        if matched:
            parsed = (_LINE.match(line) for line in lines)
            found = [_instruction(match) for match in parsed if match]
            yield matched[1], {instruction.name: instruction for instruction in found}


def _instruction(match: re.Match) -> _Instruction:
    name, shape, opcode, rest = match.groups()
    operands = re.findall(r"%([\w.\-]+)", rest.split(")")[0])
    return _Instruction(name, shape, opcode, tuple(operands), match.string)


def _kernel(instruction: _Instruction, known: Mapping, computations: Mapping) -> Kernel:
    """The kernel of an instruction.

    Args:
        instruction: one that launches a kernel.
        known: the instructions of its computation, by name.
        computations: all computations of the program, by name.
    """
    shapes = [known[name].shape for name in instruction.operands if name in known]
    moved = sum(map(_size, [*shapes, instruction.shape]))
    dtype = _arrays(shapes[0])[0][0] if shapes and _arrays(shapes[0]) else ""
    if _CONVOLUTION in instruction.line:
        return Kernel("convolution", dtype, moved, _of_convolution(instruction, shapes))
    called = re.search(r"calls=%?([\w.\-]+)", instruction.line)
    inside = computations.get(called[1], {}) if called else {instruction.name: instruction}
    products = [
        (inner, inside if called else known)
        for inner in inside.values()
        if inner.opcode == "dot" or "__cublas$" in inner.line
    ]
    operations = sum(_of_product(inner, scope) for inner, scope in products)
    return Kernel("product" if products else "elementwise", dtype, moved, operations)


def _of_convolution(instruction: _Instruction, shapes: list[str]) -> int:
    """Operations of a convolution: two for each tap of the window, input channel and output.

    For a convolution's gradient the outputs are those of the convolution itself: the cotangent.
    """
    window = re.search(r"window=\{size=(\d+)x(\d+)", instruction.line)
    taps = int(window[1]) * int(window[2]) if window else 1
    images, kernel, _ = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.line).groups()
    first, second = (_arrays(shape)[0][1] for shape in shapes[:2])
    result = _arrays(instruction.shape)[0][1]
    if "BackwardInput" in instruction.line:
        outputs, channels = first, result[images.index("f")]
    elif "BackwardFilter" in instruction.line:
        outputs, channels = second, first[images.index("f")]
    else:
        outputs, channels = result, second[kernel.index("i")]
    return 2 * math.prod(outputs) * taps * channels


def _of_product(instruction: _Instruction, known: Mapping) -> int:
    """Operations of a matrix product: two for each output and contracted element."""
    left = known.get(instruction.operands[0])
    if left is None:
        return 0
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.line)
    if contracted:
        axes = [int(axis) for axis in contracted[1].split(",") if axis]
    else:
        found = re.search(r'"lhs_contracting_dimensions":(\[[^\]]*\])', instruction.line)
        axes = [int(axis) for axis in json.loads(found[1])] if found else []
    rows = _arrays(left.shape)[0][1]
    return 2 * math.prod(_arrays(instruction.shape)[0][1]) * math.prod(rows[a] for a in axes)


def _arrays(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """(element type, lengths) of each array in a shape, which may be a tuple."""
    return [
        (kind, tuple(int(n) for n in lengths.split(",") if n))
        for kind, lengths in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shape)
    ]


def _size(shape: str) -> int:
    """Bytes of all arrays in a shape."""
    return sum(BYTES.get(kind, 4) * math.prod(lengths) for kind, lengths in _arrays(shape))

"""A model as one ONNX file, which draws wherever there is an ONNX runtime, without JAX.

Its inputs and outputs are those of the StableHLO program (https://onnx.ai).
"""

from pathlib import Path

from stackgan_jax.pretrained import program
from stackgan_jax.pretrained.model import Model
from stackgan_jax.runtime import packages

SUFFIX = ".onnx"


def write(model: Model, path: Path) -> Path:
    """Writes the file, and beside it the JSON file, as `program.write`.

    Raises:
        UserError: onnx is not installed, the weights are too large, a network has what the
            conversion does not know, or a file can't be written.
    """
    program.require_small_enough(model)
    with packages.needed("onnx", by="Writing an ONNX file", install="onnx"):
        from stackgan_jax.pretrained.to_onnx.conversion import convert
    stages = [f"stage{number}" for number in range(1, model.stages + 1)]
    converted = convert(program.drawing(model), program.inputs(model), stages)
    return program.write_described(model, path, converted.SerializeToString())

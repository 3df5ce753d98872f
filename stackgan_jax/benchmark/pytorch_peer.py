"""The PyTorch process of `--peer=pytorch`: answers each line of JSON on its input with one.

The first line describes the networks, as `peer.description` does; the answer says what runs them.
Each further line, {"steps": n}, is answered with the seconds of n steps. The answer to a problem is
{"error": sentence}, after which the process ends with status 1.
"""

import json
import sys
from typing import Any

from stackgan_jax.runtime import packages
from stackgan_jax.runtime.errors import UserError


def main() -> None:
    """Answers the lines of standard input until it ends."""
    about = json.loads(sys.stdin.readline())
    try:
        with packages.needed("PyTorch", by="The comparison", install="torch"):
            from stackgan_jax.benchmark import pytorch_training
    except UserError as error:
        _fail(str(error))
    try:
        name, trainer, tried = pytorch_training.fastest(about)
    except RuntimeError as error:
        _fail(f"PyTorch failed: {str(error).splitlines()[0]}")
    _answer(
        {
            "program": "pytorch",
            "version": pytorch_training.VERSION,
            "device": trainer.device_name,
            "form": f"channels_last, {name}" + (", autocast bfloat16" if about["bfloat16"] else ""),
            "milliseconds_tried": tried,
        }
    )
    for line in sys.stdin:
        _answer({"seconds": trainer.run(json.loads(line)["steps"])})


def _answer(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _fail(sentence: str) -> None:
    _answer({"error": sentence})
    sys.exit(1)


if __name__ == "__main__":
    main()

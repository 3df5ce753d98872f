"""The same step in PyTorch, in a process of its own: `tests/pytorch_peer.py`, run by turns."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from stackgan_jax.benchmark import device, work
from stackgan_jax.runtime.errors import UserError

PROGRAM = Path(__file__).parents[2] / "tests" / "pytorch_peer.py"


class Peer:
    """A PyTorch process that does n steps when asked.

    Attributes:
      about: what it runs and how, as it says.
    """

    def __init__(self, subject: work.Subject):
        if not PROGRAM.is_file():
            raise UserError(
                f"--peer=pytorch needs {PROGRAM}, which only a checkout of the project has."
            )
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        print("Starting the PyTorch peer, which tries what is fastest for it …", flush=True)
        self.about = self._ask(description(subject))

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def run(self, n: int) -> float:
        """Seconds of n steps."""
        return self._ask({"steps": n})["seconds"]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; what it said is read below
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the PyTorch process ended unexpectedly."}
        if "error" in answer:
            raise UserError(f"--peer=pytorch: {answer['error']}")
        return answer


def description(subject: work.Subject) -> dict[str, Any]:
    """All that the peer needs to build the same networks."""
    config = json.loads(subject.config.to_json_best_effort())
    prior = subject.game.priors[0] if subject.game.priors else None
    fields = ("size", "features", "condition", "residual", "noise_first", "dense_bias")
    fields += ("image_upsamples", "condition_slope", "log_variance")
    return {
        "kind": config["kind"],
        "generator": config["generator"],
        "discriminator": config["discriminator"],
        "prior": prior and {name: getattr(prior, name) for name in fields},
        "training": config["training"],
        "batch_size": config["batch_size"],
        "embedding": subject.embedding,
        "bfloat16": subject.dtype == "bfloat16",
        "try_compiled": True,
        "threads": device.cores(),
    }

"""Runs the same training step in PyTorch, in a process of its own: `pytorch_peer.py`."""

import json
import subprocess
import sys
from typing import Any

from stackgan_jax.benchmark.subject import Subject
from stackgan_jax.runtime import cores
from stackgan_jax.runtime.errors import UserError

COMMAND = (sys.executable, "-m", "stackgan_jax.benchmark.pytorch_peer")
# Of Stage II's prior: what PyTorch needs to build the same Stage I.
PRIOR_FIELDS = (
    "size",
    "features",
    "condition",
    "residual",
    "noise_first",
    "dense_bias",
    "image_upsamples",
    "condition_slope",
    "log_variance",
)


class Peer:
    """A PyTorch process that runs steps when asked; a context manager, which ends the process.

    Attributes:
        about: the program, its version and its device, as the process reports them.
    """

    def __init__(self, subject: Subject) -> None:
        self._process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        print("Starting the PyTorch peer, which tries its fastest settings …", flush=True)
        self.about = self._ask(description(subject))

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def run(self, n: int) -> float:
        """Runs n steps and returns how many seconds they took.

        Raises:
            UserError: PyTorch failed.
        """
        return self._ask({"steps": n})["seconds"]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Writes one line of JSON to the process and reads its answer."""
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended; its last line is read below
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the PyTorch process ended unexpectedly."}
        if "error" in answer:
            raise UserError(f"--peer=pytorch: {answer['error']}")
        return answer


def require_published(subject: Subject) -> None:
    """Raises UserError for a config that the PyTorch program doesn't have."""
    config = subject.config
    if len(subject.game.priors) > 1:
        raise UserError(
            f"--peer=pytorch has the two published stages, not {config['kind']}; give "
            "--config=configs/stage1.py or configs/stage2.py."
        )
    names = {config[part]["network"] for part in ("generator", "discriminator")}
    names |= {config["training"]["adversarial"]}
    if unknown := sorted(names - {"stage1", "stage2", "matching_aware", "published"}):
        raise UserError(
            f"--peer=pytorch trains the published networks by the published loss, not "
            f"{', '.join(unknown)}; give a config without a recipe, or no --peer."
        )


def description(subject: Subject) -> dict[str, Any]:
    """Returns what PyTorch needs to build the same networks, as values for JSON."""
    require_published(subject)
    config = json.loads(subject.config.to_json_best_effort())
    prior = subject.game.priors[0] if subject.game.priors else None
    return {
        "kind": config["kind"],
        "generator": config["generator"],
        "discriminator": config["discriminator"],
        "prior": prior and {name: getattr(prior, name) for name in PRIOR_FIELDS},
        "training": config["training"],
        "batch_size": config["batch_size"],
        "embedding": subject.embedding,
        "bfloat16": subject.dtype == "bfloat16",
        "try_compiled": True,
        "threads": cores.usable(),
    }

"""The benchmark's command line: measures a config and prints the figures as text and JSON.

    python -m stackgan_jax.benchmark --config=configs/stage1.py:birds
    python -m stackgan_jax.benchmark --config=configs/stage1.py:birds --peer=pytorch
    python -m stackgan_jax.benchmark --config=configs/stage2.py:coco --target=v5e:2x2

Networks and batch size are the config's; images and weights are random. No data set is needed, and
TensorFlow only for the input from the host's memory.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

NEEDED = ("absl", "flax", "jax", "ml_collections", "numpy", "optax", "orbax")
PARTS = ("step", "input", "sampling", "training", "inception")


def _require_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(name.replace("_", "-") for name in missing)
        sys.exit(f"stackgan_jax: the benchmark needs packages that are not installed: {names}.")


_require_packages()

from absl import app, flags  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from stackgan_jax.runtime import (  # noqa: E402
    allocator,
    config_ranges,
    entry_point,
    files,
    paths,
)
from stackgan_jax.runtime.errors import UserError  # noqa: E402

entry_point.quiet_tensorflow()

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The config file of a stage: configs/stage1.py:birds"
)
JSON = flags.DEFINE_string("json", None, "Write the figures to this file as well.")
PEER = flags.DEFINE_enum("peer", None, ["pytorch"], "Measure the same step in PyTorch as well.")
TARGET = flags.DEFINE_string(
    "target",
    None,
    "Only compile, for devices that this machine need not have: v5e:1x1, v5e:2x2, v4:2x2x1, "
    "h100:8 …",
)
WHAT = flags.DEFINE_list("what", list(PARTS), f"The parts to measure, of {', '.join(PARTS)}.")
SECONDS = flags.DEFINE_float("seconds", 10, "How many seconds to repeat each part.", lower_bound=0)


def run() -> None:
    """Measures what the flags ask for, and prints and writes the figures.

    Raises:
        UserError: the config or a flag can't be used, or the file of --json can't be written.
    """
    if CONFIG.value is None:
        raise UserError("The benchmark needs --config, for example --config=configs/stage1.py.")
    config_ranges.require(CONFIG.value)
    unknown = set(WHAT.value) - set(PARTS)
    if unknown:
        raise UserError(f"Unknown --what={','.join(unknown)}; choose from {', '.join(PARTS)}.")
    output = JSON.value and paths.output_file(JSON.value, "--json", "benchmark.json")
    _set_environment()
    from stackgan_jax.benchmark import absent_devices, peer, printing, subject

    measured = subject.of_config(CONFIG.value)
    if PEER.value:
        peer.require_published(measured)
    if TARGET.value:
        result = absent_devices.measure(measured, TARGET.value)
    else:
        from stackgan_jax.benchmark import measurements

        result = measurements.measure(measured, WHAT.value, SECONDS.value, PEER.value)
    print("\n".join(printing.lines(result)), flush=True)
    if output:
        _write(output, result)


def _set_environment() -> None:
    """Sets what JAX and the allocator read when they start."""
    if TARGET.value:
        os.environ["JAX_PLATFORMS"] = "cpu"
    if PEER.value:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    allocator.keep_freed_memory()  # as training does


def _write(path: Path, result: dict[str, Any]) -> None:
    try:
        files.write_text(path, json.dumps(result, indent=2) + "\n")
    except OSError as error:
        raise UserError(
            f"--json={path} can't be written: {error.strerror}; name a file in a folder that "
            "exists and is writable."
        ) from error


def main(_: list[str]) -> None:
    """Runs the program; called by absl with the arguments that are not flags."""
    entry_point.run(run)


if __name__ == "__main__":
    allocator.restart_with_huge_pages()  # as training does
    app.run(main, flags_parser=entry_point.parse)

"""The benchmark's command line: what to measure, and the result as text and JSON.

    python -m stackgan_jax.benchmark --config=configs/stage1.py:birds
    python -m stackgan_jax.benchmark --config=configs/stage1.py:birds --peer=pytorch
    python -m stackgan_jax.benchmark --config=configs/stage2.py:coco --target=v5e:2x2

Networks and batches are the config's, pictures and weights random: no data set is needed, and no
TensorFlow but for the input from the host's memory.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

NEEDED = ("absl", "flax", "jax", "ml_collections", "numpy", "optax", "orbax")
PARTS = ("step", "input", "sampling", "training", "inception")


def _require_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(name.replace("_", "-") for name in missing)
        sys.exit(f"stackgan_jax: the benchmark needs what is not installed here: {names}.")


_require_packages()

from absl import app, flags, logging  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from stackgan_jax.runtime import allocator, configuration  # noqa: E402
from stackgan_jax.runtime.command_line import parse  # noqa: E402
from stackgan_jax.runtime.errors import UserError  # noqa: E402

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The config file of a stage: configs/stage1.py:birds"
)
JSON = flags.DEFINE_string("json", None, "Write the figures to this file as well.")
PEER = flags.DEFINE_enum("peer", None, ["pytorch"], "Time the same step in PyTorch beside it.")
TARGET = flags.DEFINE_string(
    "target", None, "Only compile, for what needn't be here: v5e:1x1, v5e:2x2, v4:2x2x1, h100:8 …"
)
WHAT = flags.DEFINE_list("what", list(PARTS), f"Which of {', '.join(PARTS)} to measure.")
SECONDS = flags.DEFINE_float("seconds", 10, "For how long to repeat each.", lower_bound=0)


def measure() -> None:
    """Measures what the flags ask for, and tells."""
    if CONFIG.value is None:
        raise UserError("The benchmark needs --config, for example --config=configs/stage1.py.")
    unknown = set(WHAT.value) - set(PARTS)
    if unknown:
        raise UserError(f"Unknown --what={','.join(unknown)}; choose from {', '.join(PARTS)}.")
    file, *_ = config_flags.get_config_filename(flags.FLAGS["config"]).split(":", 1)
    file = configuration.require_file(file)
    # JAX reads these when it starts.
    if TARGET.value:
        os.environ["JAX_PLATFORMS"] = "cpu"
    if PEER.value:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    allocator.keep_freed_memory()  # as training does
    from stackgan_jax.benchmark import target, words, work

    subject = work.subject(CONFIG.value, configs=file.parent)
    if TARGET.value:
        result = target.measure(subject, TARGET.value)
    else:
        from stackgan_jax.benchmark import here

        result = here.measure(subject, WHAT.value, SECONDS.value, PEER.value)
    print("\n".join(words.lines(result)), flush=True)
    if JSON.value:
        _write(Path(JSON.value), result)


def _write(path: Path, result: dict) -> None:
    try:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--json={path} can't be written: {error.strerror}.") from error


def main(_: list[str]) -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        measure()
    except UserError as error:
        print(f"stackgan_jax: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)

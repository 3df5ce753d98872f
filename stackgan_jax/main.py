"""The command line: flags, process set-up, dispatch on --mode."""

import os
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from stackgan_jax import configuration
from stackgan_jax.command_line import parse
from stackgan_jax.errors import Stopped, UserError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # or TensorFlow tells of it at every start

MODES = ("train", "prepare", "sample", "report")
CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The config file, with its data set where it takes one: configs/stage1.py:birds"
)
MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder; runs/<config name> by default.")
TEXT = flags.DEFINE_multi_string("text", None, "sample: a caption; may be given several times.")
NUM = flags.DEFINE_integer("num", 8, "sample: pictures for each caption.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "sample: of the noise.")
EMBEDDINGS = flags.DEFINE_string(
    "embeddings",
    None,
    'sample: a file of embeddings instead of the encoder; --text takes its captions, or "#3".',
)
OUTPUT = flags.DEFINE_string("output", "samples.png", "sample: the PNG file to write.")
INTERPOLATE = flags.DEFINE_bool(
    "interpolate", False, "sample: --num pictures on the way from one --text to the next."
)


def run() -> None:
    """Dispatches on --mode; imports what the mode needs only then."""
    if MODE.value != "prepare":
        from stackgan_jax import compilation

        compilation.keep_compiled()
    if MODE.value == "train":
        _train()
    elif MODE.value == "prepare":
        _prepare()
    elif MODE.value == "sample":
        from stackgan_jax import sample

        sample.sample(
            _given(WORKDIR, "sample"),
            TEXT.value or [],
            num=NUM.value,
            seed=SEED.value,
            output=Path(OUTPUT.value),
            interpolate=INTERPOLATE.value,
            embeddings_file=EMBEDDINGS.value,
        )
    else:
        from stackgan_jax import report

        report.write(_given(WORKDIR, "report"))


def _train() -> None:
    if CONFIG.value is None:
        raise UserError("Training needs --config, for example --config=configs/quickstart.py.")
    file, *_ = config_flags.get_config_filename(flags.FLAGS["config"]).split(":", 1)
    file = configuration.require_file(file)
    workdir = Path(WORKDIR.value or f"runs/{CONFIG.value.name}")
    from stackgan_jax import stages

    stages.run(CONFIG.value, workdir, configs=file.parent)


def _prepare() -> None:
    if CONFIG.value is None:
        raise UserError(
            "Preparing needs --config with a data set, for example "
            "--config=configs/stage1.py:folder --config.data.path=my_pictures."
        )
    from stackgan_jax import prepare

    prepare.prepare(CONFIG.value)


def _given(workdir: flags.FlagHolder, mode: str) -> Path:
    if not workdir.value:
        raise UserError(f"--mode={mode} needs --workdir, the folder of a trained run.")
    return Path(workdir.value)


def main(_: list[str]) -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax tells every step of every save otherwise
    try:
        run()
    except UserError as error:
        print(f"stackgan_jax: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command begins again.", file=sys.stderr)
        sys.exit(130)
    except Stopped as stopped:
        print(stopped, flush=True)
        sys.exit(stopped.exit_status)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)

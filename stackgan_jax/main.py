"""The command line: flags, process set-up, dispatch on --mode."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from stackgan_jax import configuration
from stackgan_jax.errors import Stopped, UserError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # or TensorFlow tells of it at every start

MODES = ("train", "prepare", "sample", "report", "evaluate")
CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The config file, with its data set where it takes one: configs/stage1.py:birds"
)
MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
WORKDIR = flags.DEFINE_multi_string(
    "workdir",
    None,
    "The run's folder; runs/<config name> by default. evaluate: several times to compare runs.",
)
TEXT = flags.DEFINE_multi_string("text", None, "sample: a caption; may be given several times.")
NUM = flags.DEFINE_integer("num", 8, "sample: pictures for each caption.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "sample: of the noise.")
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "The file to write: sample: samples.png; evaluate: metrics.json of two folders, "
    "comparison.html of several runs.",
)
INTERPOLATE = flags.DEFINE_bool(
    "interpolate", False, "sample: --num pictures on the way from one --text to the next."
)
IMAGES = flags.DEFINE_string("images", None, "evaluate: a folder of any model's pictures.")
REFERENCE = flags.DEFINE_string("reference", None, "evaluate: the folder of real ones for those.")
FOLLOW = flags.DEFINE_bool(
    "follow", False, "evaluate: each new checkpoint of a run in training, until it has ended."
)
# The config of --mode=evaluate without --config: config.eval alone.
EVALUATION_CONFIG = Path(__file__).parent / "evaluate" / "config.py"


def run() -> None:
    """Dispatches on --mode; imports what the mode needs only then."""
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
            output=Path(OUTPUT.value or "samples.png"),
            interpolate=INTERPOLATE.value,
        )
    elif MODE.value == "evaluate":
        _evaluate()
    else:
        from stackgan_jax import report

        report.write(_given(WORKDIR, "report"))


def _train() -> None:
    if CONFIG.value is None:
        raise UserError("Training needs --config, for example --config=configs/quickstart.py.")
    file, *_ = config_flags.get_config_filename(flags.FLAGS["config"]).split(":", 1)
    file = configuration.require_file(file)
    workdir = _given(WORKDIR, "train") if WORKDIR.value else Path(f"runs/{CONFIG.value.name}")
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


def _evaluate() -> None:
    from stackgan_jax import evaluate

    given, output = _evaluation(), OUTPUT.value
    if IMAGES.value or REFERENCE.value:
        if not (IMAGES.value and REFERENCE.value) or FOLLOW.value:
            raise UserError("--images and --reference, two folders, go together, without --follow.")
        workdir = _given(WORKDIR, "evaluate") if WORKDIR.value else None
        folders = Path(IMAGES.value), Path(REFERENCE.value)
        evaluate.of_folders(*folders, given, workdir, Path(output or "metrics.json"))
    elif FOLLOW.value:
        evaluate.follow(_given(WORKDIR, "evaluate"), given)
    elif len(WORKDIR.value or ()) > 1:
        workdirs = [Path(workdir) for workdir in WORKDIR.value]
        evaluate.compare(workdirs, given, Path(output or "comparison.html"))
    else:
        evaluate.of_run(_given(WORKDIR, "evaluate"), given)


def _evaluation() -> dict[str, Any]:
    """What the command line gives for `config.eval`: all of a config's, or single values."""
    config = flags.FLAGS["config"]
    if "eval" not in CONFIG.value:
        raise UserError("--mode=evaluate takes the config of a stage, which has config.eval.")
    if Path(config_flags.get_config_filename(config)) != EVALUATION_CONFIG:
        return CONFIG.value.eval.to_dict()
    overrides = config_flags.get_override_values(config)
    return {name.removeprefix("eval."): value for name, value in overrides.items()}


def _given(workdir: flags.FlagHolder, mode: str) -> Path:
    if not workdir.value:
        raise UserError(f"--mode={mode} needs --workdir, the folder of a trained run.")
    if len(workdir.value) > 1:
        raise UserError(f"--mode={mode} takes one --workdir here, not {len(workdir.value)}.")
    return Path(workdir.value[0])


def _parse(arguments: list[str]) -> list[str]:
    """absl's flag parsing, with one sentence for a config that is missing or lacks a field."""
    evaluates = re.search(r"(^|\0)--?mode[=\0]evaluate(\0|$)", "\0".join(arguments))
    if evaluates and not any(re.match("--?config(=|$)", each) for each in arguments):
        arguments = [arguments[0], f"--config={EVALUATION_CONFIG}", *arguments[1:]]
    try:
        rest = app.parse_flags_with_usage(arguments)
    except UserError as error:
        raise SystemExit(f"stackgan_jax: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError, OSError, ImportError) as error:
        reason = str(error).strip().strip("'\"").splitlines()[0]
        raise SystemExit(f"stackgan_jax: the command line can't be used: {reason}") from error
    if len(rest) > 1:
        raise SystemExit(f"stackgan_jax: {rest[1]!r} is no option; options begin with --.")
    return rest


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
    app.run(main, flags_parser=_parse)

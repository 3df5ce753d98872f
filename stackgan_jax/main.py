"""The command line: the flags, and one function for each --mode."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from stackgan_jax import usage
from stackgan_jax.runtime import (
    allocator,
    config_ranges,
    configuration,
    entry_point,
    paths,
    process_flags,
    supervisor,
)
from stackgan_jax.runtime.errors import UserError

entry_point.quiet_tensorflow()

# The config of --mode=evaluate and --mode=report without --config: `config.eval` and `config.data`.
EVALUATION_CONFIG = Path(__file__).parent / "evaluation" / "config.py"

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The config file, with a data set after a colon: configs/stage1.py:birds. A file that does not "
    "exist is looked for among the configs of the installed package.",
)
MODE = flags.DEFINE_enum("mode", "train", list(usage.MODES), "What to do.")
WORKDIR = flags.DEFINE_multi_string(
    "workdir",
    None,
    "The run's folder; train: runs/<config name> by default; sample: a model's file as well, the "
    "built-in model by default; serve: likewise; export: likewise; info: likewise; "
    "evaluate: give several to compare runs.",
)
TEXT = flags.DEFINE_multi_string("text", None, "sample: a caption; may be given several times.")
NUM = flags.DEFINE_integer(
    "num", 8, "sample: the number of images for each caption.", lower_bound=1
)
SEED = flags.DEFINE_integer("seed", 0, "sample: the seed of the noise of all pictures together.")
SEEDS = flags.DEFINE_string(
    "seeds",
    None,
    "sample: one picture for each of these seeds, 0-7 or 0,3,5, instead of --num and --seed; a "
    "seed draws the same picture alone and among others.",
)
EMBEDDINGS = flags.DEFINE_string(
    "embeddings",
    None,
    "sample: a file of embeddings to use instead of the text encoder; --text then chooses one of "
    'its captions, or a row by its number: "#3".',
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "The file to write, or its folder. sample: samples.png by default, or .jpg, .webp …; a folder, "
    "with a slash at its end, gets each picture in a file of its own as well; "
    "export: a name after the model by default; evaluate: metrics.json for two folders, "
    "comparison.html for several runs.",
)
INTERPOLATE = flags.DEFINE_bool(
    "interpolate", False, "sample: --num images between each --text and the next."
)
SHOW = flags.DEFINE_bool(
    "show",
    True,
    "sample: show the page in the terminal as well, where that can show pictures; the default.",
)
TRUNCATION = flags.DEFINE_float(
    "truncation",
    0.0,
    "sample: the noise z is cut at two deviations, times this; 0.7 gives more typical pictures and "
    "less different ones, 0 is for no cut.",
    lower_bound=0.0,
    upper_bound=2.0,
)
FORMAT = flags.DEFINE_enum(
    "format",
    "safetensors",
    ["safetensors", "hub", "stablehlo", "onnx", "pth"],
    "export: one file of weights for this program, a folder for a model hub, a program that draws "
    "with JAX alone or with an ONNX runtime, or a folder for StackGAN-Pytorch.",
)
DTYPE = flags.DEFINE_enum(
    "dtype",
    "float32",
    ["float32", "bfloat16"],
    "export: of the stored weights of safetensors and hub; bfloat16 is half the size.",
)
IMAGES = flags.DEFINE_string("images", None, "evaluate: a folder of images from any model.")
REFERENCE = flags.DEFINE_string(
    "reference", None, "evaluate: a folder of real images to compare --images with."
)
FOLLOW = flags.DEFINE_bool(
    "follow", False, "evaluate: each new checkpoint of a run, until its training ends."
)
STAMPS = flags.DEFINE_bool(
    "stamps", False, "evaluate: print also what each score was measured with."
)
HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "serve: the address to listen at; the default is for this machine alone, 0.0.0.0 for everyone "
    "who can reach it.",
)
PORT = flags.DEFINE_integer(
    "port", 7860, "serve: the port to listen at.", lower_bound=1, upper_bound=65535
)
COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "train, evaluate with several processes: HOST:PORT of process 0; auto asks Slurm, MPI or the "
    "Cloud TPU.",
)
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "train, evaluate: the number of processes.", lower_bound=1
)
PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "train, evaluate: the number of this process, from 0.", lower_bound=0
)
PEER_TIMEOUT = flags.DEFINE_integer(
    "peer_timeout",
    60,
    "train, evaluate: the run ends when another process has not answered for this many seconds.",
    lower_bound=1,
)


def run() -> None:
    """Runs the function of --mode, which imports what it needs."""
    modes = {
        "train": train,
        "prepare": prepare,
        "sample": sample,
        "serve": serve,
        "export": export,
        "info": info,
        "report": report,
        "evaluate": evaluate,
    }
    modes[MODE.value]()


def train() -> None:
    """Trains what --config describes, alone or as one of several processes."""
    allocator.keep_freed_memory()
    config = _require_config("Training needs --config, for example --config=configs/quickstart.py.")
    workdir = _one_workdir() if WORKDIR.value else paths.folder(f"runs/{config.name}")

    def work() -> None:
        from stackgan_jax import stages

        stages.run(config, workdir)

    if _is_one_of_several():
        _with_others(workdir, configuration.flat(config), work)
    else:
        _keep_compiled()
        work()


def _with_others(workdir: Path, settings: dict[str, Any], work: Callable[[], None]) -> None:
    """Does the work of one of several processes, which must be given the same settings."""
    # It forks, so it comes before JAX starts its threads.
    supervisor.supervise(str(workdir), trains=MODE.value == "train")
    from stackgan_jax.runtime import mesh, processes

    _keep_compiled()
    try:
        processes.join(
            COORDINATOR.value or "auto", NUM_PROCESSES.value, PROCESS_ID.value, PEER_TIMEOUT.value
        )
        processes.agree({"--workdir": str(workdir), **settings})
        work()
        mesh.wait_for_all_processes("the end")
    except UserError as error:
        entry_point.print_error(error)
        processes.leave(1)


def _is_one_of_several() -> bool:
    return process_flags.is_one_of_several(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)


def prepare() -> None:
    """Prepares the data set of --config and prints an overview of it."""
    config = _require_config(
        "Preparing needs --config with a data set, for example "
        "--config=configs/stage1.py:folder --config.data.path=my_pictures."
    )
    from stackgan_jax.data import overview

    overview.prepare(config)


def sample() -> None:
    """Draws images for the captions in --text and writes them to --output."""
    from stackgan_jax import sheets

    if SEEDS.value is not None and (NUM.present or SEED.present):
        raise UserError("--seeds draws one picture for each seed; leave --num and --seed out.")
    request = sheets.Request(
        TEXT.value or [],
        num=NUM.value,
        seed=SEED.value,
        seeds=sheets.parse_seeds(SEEDS.value) if SEEDS.value is not None else (),
        interpolate=INTERPOLATE.value,
        truncation=TRUNCATION.value,
        embeddings_file=EMBEDDINGS.value,
    )
    sheets.write(_model(), request, OUTPUT.value or sheets.PAGE, SHOW.value)


def serve() -> None:
    """Serves a web page that draws by the model in --workdir."""
    from stackgan_jax.web import server

    server.serve(_model(), HOST.value, PORT.value)


def export() -> None:
    """Writes the model in --workdir as a file for others."""
    from stackgan_jax.pretrained import exports

    exports.write(_model(), FORMAT.value, OUTPUT.value, DTYPE.value)


def info() -> None:
    """Prints what the run or the model's file in --workdir is."""
    from stackgan_jax.pretrained import loading, summary
    from stackgan_jax.report import info

    place, is_file = loading.find(_model())
    print(summary.describe(place) if is_file else info.describe(place))


def report() -> None:
    """Writes the report page of the run in --workdir."""
    from stackgan_jax.report import build

    _keep_compiled()
    build.write(_one_workdir(), data=_moved_data())


def evaluate() -> None:
    """Scores one run, several runs, or two folders of images."""
    if _is_one_of_several():
        _evaluate_with_others()
        return
    from stackgan_jax.evaluation import evaluate

    _keep_compiled()
    settings = _evaluation_settings()
    if IMAGES.value or REFERENCE.value:
        _evaluate_folders(settings)
    elif FOLLOW.value:
        evaluate.follow(_one_workdir(), settings, _moved_data(), _print_stamps)
    elif len(WORKDIR.value or ()) > 1:
        _compare_runs(settings)
    else:
        _print_stamps(evaluate.of_run(_one_workdir(), settings, data=_moved_data()))


def _evaluate_with_others() -> None:
    if IMAGES.value or REFERENCE.value or FOLLOW.value or len(WORKDIR.value or ()) > 1:
        raise UserError(
            "Several processes score one run together; --images, --follow and more than one "
            "--workdir are for one process. Start it with --num_processes=1."
        )
    settings, data, workdir = _evaluation_settings(), _moved_data(), Path(_one_workdir())

    def work() -> None:
        import jax

        from stackgan_jax.evaluation import evaluate

        record = evaluate.of_run(workdir, settings, data=data)
        if jax.process_index() == 0:
            _print_stamps(record)

    _with_others(workdir, {"config.eval": settings, "config.data": data}, work)


def _evaluate_folders(settings: dict[str, Any]) -> None:
    from stackgan_jax.evaluation import evaluate

    if not (IMAGES.value and REFERENCE.value) or FOLLOW.value:
        raise UserError("Give --images and --reference together, and without --follow.")
    workdir = _one_workdir() if WORKDIR.value else None
    folders = Path(IMAGES.value), Path(REFERENCE.value)
    output = Path(OUTPUT.value or "metrics.json")
    _print_stamps(evaluate.of_folders(*folders, settings, workdir, output))


def _print_stamps(record: Any) -> None:
    """Prints what an evaluation's scores were measured with, if --stamps asks for it."""
    if STAMPS.value:
        print(f"\n{record.stamps()}", flush=True)


def _compare_runs(settings: dict[str, Any]) -> None:
    from stackgan_jax.report import comparison

    workdirs = [paths.folder(workdir) for workdir in WORKDIR.value]
    output = Path(OUTPUT.value or "comparison.html")
    for run, evaluations in comparison.compare(workdirs, settings, output, _moved_data()).items():
        if STAMPS.value:
            print(f"\n{run}", flush=True)
        _print_stamps(evaluations[-1])


def _evaluation_settings() -> dict[str, Any]:
    """Fields of `config.eval` on the command line: all of --config's, or single overrides."""
    if "eval" not in CONFIG.value:
        raise UserError(
            "--mode=evaluate needs the config of a stage, which has config.eval; "
            "give --config=configs/stage1.py, or leave --config out."
        )
    config_ranges.require(CONFIG.value)
    return CONFIG.value.eval.to_dict() if _has_config() else _overrides("eval")


def _moved_data() -> dict[str, Any]:
    """Where the data of a run are now: fields of `config.data`, of --config or single overrides."""
    if not _has_config():
        return _overrides("data")
    return {name: value for name, value in CONFIG.value.get("data", {}).items() if value != ""}


def _has_config() -> bool:
    """Whether --config was given, to a mode that does without."""
    return Path(config_flags.get_config_filename(flags.FLAGS["config"])) != EVALUATION_CONFIG


def _overrides(section: str) -> dict[str, Any]:
    """Values of a section of the config that the command line gives, without its name."""
    given = config_flags.get_override_values(flags.FLAGS["config"])
    start = f"{section}."
    return {name[len(start) :]: value for name, value in given.items() if name.startswith(start)}


def _require_config(sentence: str) -> ConfigDict:
    if CONFIG.value is None:
        raise UserError(sentence)
    config_ranges.require(CONFIG.value)
    return CONFIG.value


def _model() -> str | None:
    """The model of --workdir; None, the built-in one, without it."""
    return _one_given_workdir() if WORKDIR.value else None


def _one_workdir() -> Path:
    return paths.folder(_one_given_workdir())


def _one_given_workdir() -> str:
    given = WORKDIR.value or []
    if not given:
        raise UserError(f"--mode={MODE.value} needs --workdir, the folder of a trained run.")
    if len(given) > 1:
        raise UserError(f"--mode={MODE.value} takes one --workdir here, not {len(given)}.")
    return given[0]


def _keep_compiled() -> None:
    from stackgan_jax.runtime import compilation

    compilation.keep_compiled()


def _parse(arguments: list[str]) -> list[str]:
    """Parses the flags, or prints the help that they ask for.

    The mode may be the first word. evaluate and report without --config get EVALUATION_CONFIG.
    """
    arguments = usage.with_mode(arguments)
    mode = usage.mode_of(arguments)
    if usage.asks_for_help(arguments):
        print(usage.text(mode))
        sys.exit()
    if mode in ("evaluate", "report") and not any(re.match("--?config(=|$)", a) for a in arguments):
        arguments = [arguments[0], f"--config={EVALUATION_CONFIG}", *arguments[1:]]
    return entry_point.parse(arguments)


def main(_: list[str]) -> None:
    """Runs the program; called by absl with the arguments that are not flags."""
    entry_point.run(run)


def console() -> None:
    """Runs the program `stackgan-jax`."""
    if usage.mode_of(usage.with_mode(sys.argv)) in (None, "train"):
        allocator.restart_with_huge_pages()
    app.run(main, flags_parser=_parse)


if __name__ == "__main__":
    console()

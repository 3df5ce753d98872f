"""The command line: flags, process set-up, dispatch on --mode."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from stackgan_jax.runtime import allocator, configuration, paths, supervisor
from stackgan_jax.runtime.command_line import parse
from stackgan_jax.runtime.errors import Stopped, UserError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # or TensorFlow tells of it at every start

# How many processes Slurm's step, or Open MPI's world, has.
CLUSTER_SIZES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
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
EMBEDDINGS = flags.DEFINE_string(
    "embeddings",
    None,
    'sample: a file of embeddings instead of the encoder; --text takes its captions, or "#3".',
)
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
EVALUATION_CONFIG = Path(__file__).parent / "evaluation" / "config.py"
COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "train, several processes: HOST:PORT of process 0; auto asks Slurm, MPI, or the Cloud TPU.",
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "train: how many.", lower_bound=1)
PROCESS_ID = flags.DEFINE_integer("process_id", None, "train: which one this is.", lower_bound=0)
PEER_TIMEOUT = flags.DEFINE_integer(
    "peer_timeout",
    60,
    "train: seconds without a sign of life after which another process is given up, and the run.",
    lower_bound=1,
)


def run() -> None:
    """Dispatches on --mode; imports what the mode needs only then."""
    if MODE.value == "train":
        allocator.keep_freed_memory()
        _train()
    elif MODE.value == "prepare":
        _prepare()
    elif MODE.value == "sample":
        from stackgan_jax import sample
        from stackgan_jax.runtime import compilation

        compilation.keep_compiled()
        sample.sample(
            _given(WORKDIR, "sample"),
            TEXT.value or [],
            num=NUM.value,
            seed=SEED.value,
            output=Path(OUTPUT.value or "samples.png"),
            interpolate=INTERPOLATE.value,
            embeddings_file=EMBEDDINGS.value,
        )
    elif MODE.value == "evaluate":
        _evaluate()
    else:
        from stackgan_jax.report import build
        from stackgan_jax.runtime import compilation

        compilation.keep_compiled()
        build.write(_given(WORKDIR, "report"))


def _train() -> None:
    if CONFIG.value is None:
        raise UserError("Training needs --config, for example --config=configs/quickstart.py.")
    file, *_ = config_flags.get_config_filename(flags.FLAGS["config"]).split(":", 1)
    file = configuration.require_file(file)
    given = _given(WORKDIR, "train") if WORKDIR.value else f"runs/{CONFIG.value.name}"
    workdir = paths.folder(given)
    if not _is_one_of_several():
        from stackgan_jax import stages
        from stackgan_jax.runtime import compilation

        compilation.keep_compiled()
        stages.run(CONFIG.value, workdir, configs=file.parent)
        return
    supervisor.supervise(str(workdir))  # before JAX starts its threads
    from stackgan_jax import stages
    from stackgan_jax.runtime import compilation, mesh, processes

    compilation.keep_compiled()
    try:
        processes.join(
            COORDINATOR.value or "auto", NUM_PROCESSES.value, PROCESS_ID.value, PEER_TIMEOUT.value
        )
        processes.agree({"--workdir": str(workdir), **configuration.flat(CONFIG.value)})
        stages.run(CONFIG.value, workdir, configs=file.parent)
        mesh.wait_for_all_processes("the end")
    except UserError as error:
        _tell(error)
        processes.leave(1)


def _is_one_of_several() -> bool:
    """Whether the flags, or else the cluster, say that this process has peers.

    Raises UserError for flags that don't belong together.
    """
    given = {flag.name: flag.value for flag in (COORDINATOR, NUM_PROCESSES, PROCESS_ID)}
    if given["num_processes"] == 1:
        return False
    if all(value is None for value in given.values()):
        tasks = (os.environ.get(name, "1") for name in CLUSTER_SIZES)
        return any(size.isdigit() and int(size) > 1 for size in tasks)
    if given["coordinator"] == "auto":
        return True
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} missing: --coordinator, --num_processes and --process_id "
            "belong together; --coordinator=auto alone asks the cluster."
        )
    if given["process_id"] >= given["num_processes"]:
        raise UserError(
            f"--process_id={given['process_id']} is none of {given['num_processes']} processes; "
            f"they are numbered 0 to {given['num_processes'] - 1}."
        )
    if not re.fullmatch(r".+:\d+", given["coordinator"]):
        raise UserError(
            f"--coordinator={given['coordinator']} has no port; give HOST:PORT of process 0, "
            "for example localhost:12345."
        )
    return True


def _tell(error: UserError) -> None:
    print(f"stackgan_jax: {error}", file=sys.stderr, flush=True)


def _prepare() -> None:
    if CONFIG.value is None:
        raise UserError(
            "Preparing needs --config with a data set, for example "
            "--config=configs/stage1.py:folder --config.data.path=my_pictures."
        )
    from stackgan_jax.data import overview

    overview.prepare(CONFIG.value)


def _evaluate() -> None:
    from stackgan_jax.evaluation import evaluate
    from stackgan_jax.report import comparison
    from stackgan_jax.runtime import compilation

    compilation.keep_compiled()
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
        workdirs = [paths.folder(workdir) for workdir in WORKDIR.value]
        comparison.compare(workdirs, given, Path(output or "comparison.html"))
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
    return paths.folder(workdir.value[0])


def _parse(arguments: list[str]) -> list[str]:
    """The flags; --mode=evaluate without --config gets the config that is `config.eval` alone."""
    evaluates = re.search(r"(^|\0)--?mode[=\0]evaluate(\0|$)", "\0".join(arguments))
    if evaluates and not any(re.match("--?config(=|$)", each) for each in arguments):
        arguments = [arguments[0], f"--config={EVALUATION_CONFIG}", *arguments[1:]]
    return parse(arguments)


def main(_: list[str]) -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax tells every step of every save otherwise
    try:
        run()
    except UserError as error:
        _tell(error)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command begins again.", file=sys.stderr)
        sys.exit(130)
    except Stopped as stopped:
        print(stopped, flush=True)
        sys.exit(stopped.exit_status)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)

"""Config files: finding and loading them, reading a run's config, and comparing two runs."""

import importlib.util
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

import stackgan_jax
from stackgan_jax.runtime import config_ranges, files, former_configs, paths, run_files
from stackgan_jax.runtime.errors import UserError

TEXT_ENCODER = "text_encoder"
# Values that may change when a run resumes: how long, how often it reports, where its inputs lie.
CHANGEABLE = frozenset(
    (
        "name",
        "steps",
        "steps_per_dispatch",
        "shard_state",
        "log_every",
        "preview_every",
        "save_every",
        "loggers",
        "keep",
        "eval",
        "text_encoder",
        "training.rematerialise",
        # For a run whose loss became NaN.
        "training.learning_rate_scale",
        "joint.learning_rate_scale",
        # A run notes the contents of its data by itself.
        "data.path",
        "data.dir",
        "data.max_damaged",
        "data.residency",
        "data.shards",
        "data.stored",
        "data.shard_records",
        "data.shuffle_buffer",
        "data.leave_out",
        "data.beam",
    )
)
DATA_FIELDS = frozenset(name[5:] for name in CHANGEABLE if name.startswith("data."))
STAGE = re.compile(r"stage\d+")


def find_config(path: str | Path) -> Path:
    """Finds a config file: `path` itself, or a packaged config.

    Args:
        path: of a file; "configs/stage1.py" and "stage1.py" name the packaged config if there is no
            such file.

    Raises:
        UserError: there is no such file; the message names the configs that there are.
    """
    path = Path(path)
    if path.is_file():
        return path
    shipped = _shipped()
    if path.parent in (Path("configs"), Path()) and (shipped / path.name).is_file():
        return shipped / path.name
    own = path.parent != Path() and any(path.parent.glob("*.py"))
    known = ", ".join(sorted(map(str, (path.parent if own else shipped).glob("*.py"))))
    raise UserError(f"There is no config file {path}; choose from {known}.")


def _shipped() -> Path:
    """The folder of the package's configs: in the wheel, or at the top of the repository."""
    package = Path(stackgan_jax.__file__).parent
    return next(f for f in (package / "configs", package.parent / "configs") if f.is_dir())


def load(path: str | Path, argument: str = "") -> ConfigDict:
    """Executes a config file's `get_config(argument)`.

    Args:
        path: as in `find_config`.
        argument: of get_config; "" for its default.

    Raises:
        UserError: there is no such file, or it defines no `get_config`.
    """
    path = find_config(path)
    spec = importlib.util.spec_from_file_location(f"stackgan_jax_config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path} is no config: it defines no get_config(argument).")
    return module.get_config(argument) if argument else module.get_config()


def evaluation() -> ConfigDict:
    """`config.eval`: how pictures are evaluated, in training and by --mode=evaluate."""
    return ConfigDict(
        {
            "every": 0,  # steps between evaluations in training; 0 for none
            "protocol": "quick",  # or stackgan, dfgan
            "inception": "",  # the FID Inception-v3's weights, a .pth file; "" for no FID
            "images": 0,  # 0 for the protocol's number
            "resize": "",  # tensorflow, pytorch or clean; "" for the protocol's
            "truncation": 0.0,  # of z; 0 for the protocol's
            "dtype": "float32",  # Inception's; bfloat16 is faster on accelerators, less exact
            "batch_size": 32,  # pictures that Inception reads at once
            "seed": 0,  # of the choice of captions and of the noise
            "attributes": True,  # read the attributes that captions name, if the data set has them
            "independent": True,  # a scorer that no generator knows; the first use trains it
            "pretrained": "",  # lite0, lite1 or lite2: an ImageNet network that scores as well
        }
    )


def read(path: Path) -> ConfigDict:
    """Reads the config that a run wrote, of this version or an earlier one.

    Raises:
        UserError: it can't be read, is no longer such a config, or isn't the one that the
            checkpoints beside it belong to.
    """
    config = of_run(run_files.read(path), path)
    config_ranges.require(config, str(path))
    kept = run_files.copy(path)
    if kept and (different := _differences(of_run(kept, path), config)):
        raise UserError(
            f"{path} has changed since the newest checkpoint was saved: {different}. Set it back, "
            "or delete it, so that the checkpoint's copy is used."
        )
    return config


def of_workdir(workdir: Path) -> ConfigDict:
    """Reads the config of a run by its folder.

    Raises:
        UserError: there is no run, or as `read`.
    """
    path = workdir / run_files.CONFIG
    if workdir.is_file():
        raise UserError(
            f"{workdir} is a file, not the folder of a run; a model in one file can only draw: "
            "--mode=sample."
        )
    if not run_files.exists(path):
        raise UserError(f"There is no run in {workdir}: it holds no config.json; train one first.")
    return read(path)


def of_run(content: dict[str, Any], path: Path) -> ConfigDict:
    """The config in a parsed config.json of this version or an earlier one.

    Args:
        content: of the file.
        path: of the file, for the error message.

    Raises:
        UserError: it is no config.
    """
    try:
        return ConfigDict(former_configs.upgrade(content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not the config of a run ({type(error).__name__}: {error}); correct it, or "
            "copy it from a backup."
        ) from error


def with_data(config: ConfigDict, moved: Mapping[str, Any] | None) -> ConfigDict:
    """Returns a run's config with fields of `config.data` that may change, where the data moved."""
    if not moved:
        return config
    config = config.copy_and_resolve_references()
    config.data.update({name: value for name, value in moved.items() if name in DATA_FIELDS})
    return config


def write(path: Path, config: ConfigDict) -> None:
    """Writes a config as JSON, whole or not at all."""
    files.write_text(path, config.to_json_best_effort(indent=2) + "\n")


def stages(config: ConfigDict) -> list[ConfigDict]:
    """The configs of a quickstart's trainings in order, or a single training's alone."""
    if "kind" in config:
        return [config]
    held = [value for value in config.values() if isinstance(value, ConfigDict) and "kind" in value]
    return sorted(held, key=lambda stage: (stage.kind != TEXT_ENCODER, len(stage.kind), stage.kind))


def previous_stage(config: ConfigDict) -> str | None:
    """The field that names the run of the stage before: "stage1" in Stage II; None in Stage I."""
    return next((name for name in config if STAGE.fullmatch(name)), None)


def text_encoder(config: ConfigDict) -> str:
    """The folder that a stage's text encoder is copied from; by default the stage before."""
    return config.text_encoder or config[previous_stage(config)]


def argument(config: ConfigDict) -> str:
    """What follows a config file's colon for the data set and recipe of a config; may be ""."""
    recipe = config.get("recipe", "published")
    dataset = config.get("dataset", "")
    return dataset if recipe == "published" else f"{dataset},{recipe}"


def command(name: str, config: ConfigDict, workdir: str = "") -> str:
    """The command that trains another packaged config on the data of `config`.

    Args:
        name: of the packaged config: "text_encoder", "stage1" and so on.
        config: of a training; its data set, recipe and the user's folders are kept.
        workdir: of the run; "" for the default.
    """
    known = f":{argument(config)}" if argument(config) else ""
    options = [f"--config=configs/{name}.py{known}"]
    options += [
        f"--config.data.{n}={config.data[n]}"
        for n in ("path", "dir", "shards")
        if config.data.get(n)
    ]
    if workdir:
        options.append(f"--workdir={workdir}")
    return f"python -m stackgan_jax.main {shlex.join(options)}"


def is_stage(config: ConfigDict) -> bool:
    """Whether a config is one of a stage, which draws pictures."""
    return "generator" in config


def has_begun(workdir: str | Path) -> bool:
    """Whether a run, or a training of a quickstart in it, has saved anything yet."""
    saved = ("checkpoints/[0-9]*", "*/checkpoints/[0-9]*")
    return any(any(paths.folder(workdir).glob(pattern)) for pattern in saved)


def refuse_another(existing: ConfigDict, wanted: ConfigDict, workdir: Path) -> None:
    """Raises UserError if `workdir`, a run of `existing`, can't resume as `wanted`."""
    if different := _differences(existing, wanted):
        raise UserError(
            f"{workdir} belongs to another config: it differs in {different}; "
            "give another --workdir, or the values it was trained with."
        )


def _differences(existing: ConfigDict, wanted: ConfigDict) -> str:
    """The values by which two runs can't be one, as part of a sentence; "" for none."""
    there, here = _identity(existing), _identity(wanted)
    different = [
        f"{key} ({there.get(key, 'absent')!r} there, {here.get(key, 'absent')!r} here)"
        for key in sorted(there.keys() | here.keys(), key=lambda key: (key.count("."), key))
        if there.get(key, "absent") != here.get(key, "absent")
    ]
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    return ", ".join(different[:3]) + more


def _identity(config: ConfigDict) -> dict[str, Any]:
    """Dotted key → value of everything that makes a run what it is; a quickstart is its stages."""
    if trainings := "kind" not in config and stages(config):
        each = {stage.kind: _identity(stage) for stage in trainings}
        return {f"{kind}.{k}": v for kind, fields in each.items() for k, v in fields.items()}
    changeable = CHANGEABLE | {previous_stage(config)}
    return {
        key: value
        for key, value in flat(config).items()
        if key.split(".")[0] not in changeable and key not in changeable
    }


def flat(config: ConfigDict) -> dict[str, Any]:
    """Dotted key → value, as JSON has it, of the whole config."""
    return _flatten(json.loads(config.to_json_best_effort()))


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    # Not flax.traverse_util.flatten_dict, which importing JAX would slow the command line for.
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat

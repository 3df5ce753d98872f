"""Config files: loading them, reading them back, and telling two runs apart."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

import stackgan_jax
from stackgan_jax.runtime import paths
from stackgan_jax.runtime.errors import UserError

# What a config's argument names: a builder of datasets/, its configuration, and how to crop.
DATA_SETS = {
    "synthetic_birds": {"name": "synthetic_birds", "builder_config": "small", "crop": "none"},
    "birds": {"name": "cub200", "builder_config": "", "crop": "bbox"},
    "flowers": {"name": "oxford102", "builder_config": "", "crop": "none"},
    "coco": {"name": "coco2014", "builder_config": "", "crop": "none"},
    "stackgan_pickles": {"name": "stackgan_pickles", "builder_config": "76", "crop": "none"},
    # Anyone's pictures in `path`; what counts as a class, and what is held out where the folder
    # doesn't say: datasets/splitting.py.
    "folder": {
        "name": "folder",
        "builder_config": "",
        "crop": "square",
        "classes": "auto",
        "test_fraction": 0.1,
        "split_seed": 0,
    },
}
# Where the data lie: the user's files (path), what is made of them (dir; "" for ~/.cache); and the
# share of images that may be damaged; on the host or the devices while training: batches.py.
WHERE = {"path": "", "dir": "", "max_damaged": 0.01, "residency": "auto"}
# The stages of a quickstart, in the order in which they are trained.
ORDER = ("text_encoder", "stage1", "stage2")
# What may change when a run goes on: how long, how often it reports, where its inputs lie.
CHANGEABLE = frozenset(
    (
        "name",
        "steps",
        "steps_per_dispatch",
        "shard_state",
        "log_every",
        "preview_every",
        "save_every",
        "keep",
        "eval",
        "text_encoder",
        "stage1",
        "training.rematerialise",
    )
)


def load(path: str | Path, argument: str = "") -> ConfigDict:
    """Executes a config file, `get_config(argument)`.

    Raises UserError when there is no such file, or no `get_config` in it.
    """
    path = require_file(find_config(path))
    spec = importlib.util.spec_from_file_location(f"stackgan_jax_config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path} is no config: it defines no get_config(argument).")
    return module.get_config(argument) if argument else module.get_config()


def find_config(path: str | Path) -> Path:
    """Returns `path` if it is a file, else the package's config of that name.

    A path that is neither is returned as it is.
    """
    path = Path(path)
    package = Path(stackgan_jax.__file__).parent
    folder = package / "configs" if (package / "configs").is_dir() else package.parent / "configs"
    found = folder / path.name
    return path if path.is_file() or not found.is_file() else found


def require_file(path: str | Path) -> Path:
    """`path`; raises UserError, naming the configs beside it, when there is no such file."""
    path = Path(path)
    if not path.is_file():
        known = ", ".join(sorted(str(p) for p in path.parent.glob("*.py"))) or "none"
        raise UserError(f"No config file {path}; in that folder there are: {known}.")
    return path


def data_set(name: str) -> ConfigDict:
    """`config.data` for a config's argument; UserError with the choices for an unknown one."""
    if name not in DATA_SETS:
        raise UserError(f"Unknown data set {name!r}; choose from {', '.join(DATA_SETS)}.")
    return ConfigDict({**DATA_SETS[name], **WHERE})


def evaluation() -> ConfigDict:
    """`config.eval`: how pictures are evaluated, in training and by --mode=evaluate."""
    return ConfigDict(
        {
            "every": 0,  # steps between evaluations in training; 0 for none
            "protocol": "quick",  # or stackgan, dfgan
            "inception": "",  # the FID Inception-v3's weights, a .pth file; "" for no FID
            "images": 0,  # instead of the protocol's number; 0 for that
            "resize": "",  # tensorflow, pytorch or clean instead of the protocol's; "" for that
            "truncation": 0.0,  # of z, instead of the protocol's; 0 for that
            "dtype": "float32",  # Inception's; bfloat16 is quicker on accelerators and deviates
            "batch_size": 32,  # pictures that Inception reads at once
            "seed": 0,  # of the choice of captions and of the noise
            "attributes": True,  # look for what captions name, where the data set knows it
        }
    )


def read(path: Path) -> ConfigDict:
    """The config that a run wrote."""
    return ConfigDict(json.loads(path.read_text(encoding="utf-8")))


def write(path: Path, config: ConfigDict) -> None:
    """Writes a config as JSON, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(config.to_json_best_effort(indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def stages(config: ConfigDict) -> list[ConfigDict]:
    """The configs of the stages of a quickstart, in order, or a stage's alone."""
    return [config] if "kind" in config else [config[kind] for kind in ORDER]


def has_begun(workdir: str | Path) -> bool:
    """Whether a run, or a stage of a quickstart below it, has saved anything yet."""
    saved = ("checkpoints/[0-9]*", "*/checkpoints/[0-9]*")
    return any(any(paths.folder(workdir).glob(pattern)) for pattern in saved)


def refuse_another(existing: ConfigDict, wanted: ConfigDict, workdir: Path) -> None:
    """Raises UserError when `workdir`, a run of `existing`, can't go on as `wanted`."""
    there, here = _identity(existing), _identity(wanted)
    different = [
        f"{key} ({there.get(key, 'absent')!r} there, {here.get(key, 'absent')!r} here)"
        for key in sorted(there.keys() | here.keys())
        if there.get(key, "absent") != here.get(key, "absent")
    ]
    if different:
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise UserError(
            f"{workdir} belongs to another config: it differs in {', '.join(different[:3])}{more}; "
            "give another --workdir, or the values it was trained with."
        )


def _identity(config: ConfigDict) -> dict[str, Any]:
    """Dotted key → value of everything that makes a run what it is; a quickstart is its stages."""
    identities = {
        stage: _identity(value)
        for stage, value in config.items()
        if isinstance(value, ConfigDict) and "kind" in value
    }
    if identities:
        return {f"{stage}.{k}": v for stage, each in identities.items() for k, v in each.items()}
    elsewhere = {f"data.{key}" for key in WHERE}  # what the data are, a run notes by itself
    return {
        key: value
        for key, value in flat(config).items()
        if key.split(".")[0] not in CHANGEABLE and key not in elsewhere | CHANGEABLE
    }


def flat(config: ConfigDict) -> dict[str, Any]:
    """Dotted key → value, as JSON has it, of the whole config."""
    return _flatten(json.loads(config.to_json_best_effort()))


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat

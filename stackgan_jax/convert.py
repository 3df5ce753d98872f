"""Published weights become runs of ours, which draw and go on training, and runs .pth files.

python -m stackgan_jax.convert --source=pytorch --workdir=runs/coco
    --generator=netG.pth --discriminator=netD.pth --encoder=encoder.t7
python -m stackgan_jax.convert --source=tensorflow --workdir=runs/birds --generator=model.ckpt
python -m stackgan_jax.convert --source=char_cnn_rnn --workdir=runs/encoder --encoder=birds.t7
python -m stackgan_jax.convert --export=exported --workdir=runs/coco
"""

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict

from stackgan_jax.runtime.errors import UserError

SOURCES = ("pytorch", "tensorflow", "char_cnn_rnn")
# main.py has a --workdir as well, and one process may import both.
WORKDIR = flags.DEFINE_string(
    "workdir", None, "The run: new for an import, trained for --export.", allow_override=True
)
SOURCE = flags.DEFINE_enum("source", None, SOURCES, "Which program the weights are from.")
GENERATOR = flags.DEFINE_string(
    "generator", None, "netG*.pth, or a TensorFlow checkpoint, which may hold both networks."
)
DISCRIMINATOR = flags.DEFINE_string(
    "discriminator", None, "netD*.pth, or another TensorFlow checkpoint; a fresh one without."
)
ENCODER = flags.DEFINE_string(
    "encoder", None, "The char-CNN-RNN that gave the embeddings: a state dict (.pth) or a .t7."
)
DATASET = flags.DEFINE_string(
    "dataset", None, "To go on training with; birds (tensorflow) and coco (pytorch) by default."
)
STEP = flags.DEFINE_integer(
    "step",
    0,
    "How many steps the weights have been trained: the learning rate goes on from there.",
    lower_bound=0,
)
ONLY_STAGE1 = flags.DEFINE_bool("only_stage1", False, "Take Stage I out of Stage II's files.")
EXPORT = flags.DEFINE_string(
    "export", None, "A new folder for netG.pth, netD.pth and encoder.pth of --workdir."
)
AVERAGED = flags.DEFINE_bool(
    "averaged", True, "--export: the generator's moving average, not the one under training."
)


def run() -> None:
    """Does what the flags ask for and says what was done."""
    if not WORKDIR.value:
        raise UserError("Converting needs --workdir, the folder of the run.")
    if EXPORT.value:
        _refuse_given("--export", SOURCE, GENERATOR, DISCRIMINATOR, ENCODER, DATASET)
        _export(Path(WORKDIR.value), Path(EXPORT.value))
    elif SOURCE.value is None:
        raise UserError(f"Converting needs --source, one of {', '.join(SOURCES)}, or --export.")
    elif SOURCE.value == "char_cnn_rnn":
        _refuse_given("--source=char_cnn_rnn", GENERATOR, DISCRIMINATOR)
        _import_encoder(_given(ENCODER), Path(WORKDIR.value))
    else:
        _import_gan(_given(GENERATOR), Path(WORKDIR.value))


def _given(flag: flags.FlagHolder) -> str:
    if not flag.value:
        raise UserError(f"--source={SOURCE.value} needs --{flag.name}, the file to import.")
    return flag.value


def _refuse_given(where: str, *unused: flags.FlagHolder) -> None:
    given = [f"--{flag.name}" for flag in unused if flag.value]
    if given:
        raise UserError(f"{where} takes no {', '.join(given)}; leave it out.")


def _import_gan(generator: str, workdir: Path) -> None:
    from stackgan_jax.weights import imports, recognition

    weights = recognition.recognise(
        SOURCE.value, generator, DISCRIMINATOR.value or "", ONLY_STAGE1.value
    )
    encoder = imports.read_encoder(ENCODER.value) if ENCODER.value else None
    imported = imports.import_gan(weights, workdir, DATASET.value or "", encoder, STEP.value)
    program = {"pytorch": "StackGAN-Pytorch (COCO)", "tensorflow": "StackGAN (birds, flowers)"}
    print(f"Stage {'I' * weights.stage} of {program[SOURCE.value]}:")
    for part, count in imported.parameters.items():
        sizes = ", ".join(f"{name} {size}" for name, size in weights.sizes[part].fields.items())
        print(f"  {part.replace('_', ' ')}: {sizes}; {count:,} parameters")
    print(f"  sentence embedding {weights.text}, noise {weights.noise}")
    if "stage1_discriminator" in imported.parameters:
        print("Stage I's discriminator was checked and left out: Stage II trains without it.")
    if imported.fresh_discriminator:
        print(
            "No discriminator was given: a fresh one stands in its place, and going on training "
            "will at first spoil the generator."
        )
    print(f"Written to {workdir}.")
    if encoder is None:
        print(
            "It has no text encoder: it draws from embeddings, and from sentences once --encoder "
            "is given as well."
        )
    else:
        print(
            "Draw:         python -m stackgan_jax.main --mode=sample "
            f'--workdir={workdir} --text="…"'
        )
    _print_training(imported, workdir)


def _import_encoder(path: str, workdir: Path) -> None:
    from stackgan_jax.weights import imports

    encoder = imports.read_encoder(path)
    imported = imports.import_encoder(encoder, workdir, DATASET.value or "")
    (count,) = imported.parameters.values()
    print(f"{_encoder_name(encoder.module)}: {count:,} parameters.")
    print(f"Written to {workdir}.")
    print(f"Train on it:  python -m stackgan_jax.main … --config.text_encoder={workdir}")
    _print_training(imported, workdir)


def _encoder_name(module: Any) -> str:
    from stackgan_jax.models.char_cnn_rnn import PUBLISHED

    fields = ("features", "cell", "final_pooling")
    same = [
        name
        for name, published in PUBLISHED.items()
        if all(getattr(module, field) == published[field] for field in fields)
    ]
    shape = f"char-CNN-RNN, {module.cell} recurrence, features {module.features}"
    return f"{shape}, as {' and '.join(same)}" if same else f"{shape}, not a published size"


def _export(workdir: Path, directory: Path) -> None:
    from stackgan_jax.weights import exports

    for path in exports.export(workdir, directory, AVERAGED.value):
        print(f"Written: {path}")


def _print_training(imported: Any, workdir: Path) -> None:
    from stackgan_jax.runtime import configuration

    kind, dataset = imported.base.kind, imported.base.dataset
    file = configuration.find_config(f"{kind}.py")
    path = os.path.relpath(file) if file.is_relative_to(Path.cwd()) else file
    plain = configuration.load(file, dataset)
    overrides = "".join(f" {option}" for option in _differences(plain, imported.config))
    print(
        f"Go on training: python -m stackgan_jax.main --config={path}:{dataset} "
        f"--workdir={workdir}{overrides}"
    )


def _differences(plain: ConfigDict, config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """The options that turn `plain` into `config`."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _differences(plain[name], value, f"{prefix}{name}.")
        elif value != plain[name]:
            yield shlex.quote(f"--config.{prefix}{name}={value}".replace(" ", ""))


def main(arguments: list[str]) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # It would tell of them otherwise.
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    try:
        if len(arguments) > 1:
            raise UserError(f"{arguments[1]!r} is no option; options begin with --.")
        run()
    except UserError as error:
        print(f"stackgan_jax: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)

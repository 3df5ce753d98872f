"""The conversion command line: published weights become runs, and runs become .pth files.

python -m stackgan_jax.convert --source=pytorch --workdir=runs/coco
    --generator=netG.pth --discriminator=netD.pth --encoder=encoder.t7
python -m stackgan_jax.convert --source=tensorflow --workdir=runs/birds --generator=model.ckpt
python -m stackgan_jax.convert --source=char_cnn_rnn --workdir=runs/encoder --encoder=birds.t7
python -m stackgan_jax.convert --export=exported --workdir=runs/coco
"""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration, entry_point
from stackgan_jax.runtime.errors import UserError

entry_point.quiet_tensorflow()

# The program that each --source of both networks stands for, with its data sets.
PROGRAMS = {"pytorch": "StackGAN-Pytorch (COCO)", "tensorflow": "StackGAN (birds, flowers)"}
SOURCES = (*PROGRAMS, "char_cnn_rnn")
# main.py defines --workdir as well, and one process may import both.
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "The run's folder: a new one for an import, a trained run for --export.",
    allow_override=True,
)
SOURCE = flags.DEFINE_enum("source", None, SOURCES, "The program that the weights come from.")
GENERATOR = flags.DEFINE_string(
    "generator",
    None,
    "netG*.pth, or a TensorFlow checkpoint, which may hold the discriminator as well.",
)
DISCRIMINATOR = flags.DEFINE_string(
    "discriminator",
    None,
    "netD*.pth, or another TensorFlow checkpoint; a new discriminator is made if there is none.",
)
ENCODER = flags.DEFINE_string(
    "encoder",
    None,
    "The char-CNN-RNN that the embeddings come from: a state dict (.pth) or a .t7 file.",
)
DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "The data set for further training; by default birds (tensorflow) or coco (pytorch).",
)
STEP = flags.DEFINE_integer(
    "step",
    0,
    "The number of steps that the weights were trained for; the learning rate continues there.",
    lower_bound=0,
)
ONLY_STAGE1 = flags.DEFINE_bool(
    "only_stage1", False, "Import only Stage I from the files of a Stage II."
)
EXPORT = flags.DEFINE_string(
    "export", None, "Write netG.pth, netD.pth and encoder.pth of --workdir to this new folder."
)
AVERAGED = flags.DEFINE_bool(
    "averaged", True, "--export: the generator's moving average instead of its trained weights."
)


def run() -> None:
    """Imports or exports the weights that the flags name, and prints what was written.

    Raises:
        UserError: flags are missing, or are given that the conversion does not use.
    """
    if not WORKDIR.value:
        raise UserError("Converting needs --workdir, the folder of the run.")
    workdir = Path(WORKDIR.value)
    if EXPORT.value:
        _reject("--export", SOURCE, GENERATOR, DISCRIMINATOR, ENCODER, DATASET)
        _export(workdir, Path(EXPORT.value))
    elif SOURCE.value is None:
        raise UserError(f"Converting needs --source, one of {', '.join(SOURCES)}, or --export.")
    elif SOURCE.value == "char_cnn_rnn":
        _reject("--source=char_cnn_rnn", GENERATOR, DISCRIMINATOR)
        _import_encoder(_required(ENCODER), workdir)
    else:
        _import_gan(_required(GENERATOR), workdir)


def _required(flag: flags.FlagHolder) -> str:
    if not flag.value:
        raise UserError(f"--source={SOURCE.value} needs --{flag.name}, the file to import.")
    return flag.value


def _reject(option: str, *unused: flags.FlagHolder) -> None:
    given = [f"--{flag.name}" for flag in unused if flag.value]
    if given:
        raise UserError(f"{option} takes no {', '.join(given)}; leave it out.")


def _import_gan(generator: str, workdir: Path) -> None:
    from stackgan_jax.weights import imports, recognition

    weights = recognition.recognise(
        SOURCE.value, generator, DISCRIMINATOR.value or "", ONLY_STAGE1.value
    )
    encoder = imports.read_encoder(ENCODER.value) if ENCODER.value else None
    imported = imports.import_gan(weights, workdir, DATASET.value or "", encoder, STEP.value)
    _print_networks(weights, imported)
    print(f"Written to {workdir}.")
    if encoder is None:
        print(
            "The run has no text encoder: it draws from embeddings; to draw from sentences, "
            "import the weights again with --encoder; to train further, add "
            "--config.text_encoder=FOLDER, the folder of its encoder, to the command below."
        )
    else:
        print(
            "Draw:         python -m stackgan_jax.main --mode=sample "
            f'--workdir={workdir} --text="…"'
        )
    _print_training_command(imported, workdir)


def _print_networks(weights: Any, imported: Any) -> None:
    """Prints what was recognised: stage, networks with their sizes, and what is missing."""
    print(f"Stage {'I' * weights.stage} of {PROGRAMS[SOURCE.value]}:")
    for part, count in imported.parameters.items():
        sizes = ", ".join(f"{name} {size}" for name, size in weights.sizes[part].fields.items())
        print(f"  {part.replace('_', ' ')}: {sizes}; {count:,} parameters")
    print(f"  sentence embedding {weights.text}, noise {weights.noise}")
    if "stage1_discriminator" in imported.parameters:
        print("Stage I's discriminator was checked and left out: Stage II trains without it.")
    if imported.fresh_discriminator:
        print(
            "No discriminator was given: the run has a new, untrained one. If you continue the "
            "training, the generator will get worse at first."
        )


def _import_encoder(path: str, workdir: Path) -> None:
    from stackgan_jax.weights import imports

    encoder = imports.read_encoder(path)
    imported = imports.import_encoder(encoder, workdir, DATASET.value or "")
    (count,) = imported.parameters.values()
    print(f"{_encoder_name(encoder.module)}: {count:,} parameters.")
    print(f"Written to {workdir}.")
    print(f"Train a stage with it: python -m stackgan_jax.main … --config.text_encoder={workdir}")
    _print_training_command(imported, workdir)


def _encoder_name(module: Any) -> str:
    """Describes an encoder by its sizes and the published encoders of the same sizes."""
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


def _print_training_command(imported: Any, workdir: Path) -> None:
    """Prints the command that continues the training of an imported run."""
    file, dataset = f"configs/{imported.base.kind}.py", imported.base.dataset
    published = configuration.load(configuration.find_config(file), dataset)
    overrides = "".join(f" {option}" for option in _overrides(published, imported.config))
    print(
        f"Continue its training: python -m stackgan_jax.main --config={file}:{dataset} "
        f"--workdir={workdir}{overrides}"
    )


def _overrides(published: ConfigDict, config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """Yields the options that turn `published` into `config`."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _overrides(published[name], value, f"{prefix}{name}.")
        elif value != published[name]:
            yield shlex.quote(f"--config.{prefix}{name}={value}".replace(" ", ""))


def main(_: list[str]) -> None:
    """Runs the program; called by absl with the arguments that are not flags."""
    entry_point.run(run)


if __name__ == "__main__":
    app.run(main, flags_parser=entry_point.parse)

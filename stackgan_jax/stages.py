"""The trainings that there are, and the order in which a config's trainings run."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.data import input_pipeline
from stackgan_jax.evaluation.during_training import in_training, require_possible
from stackgan_jax.runtime import configuration, paths
from stackgan_jax.runtime.configuration import TEXT_ENCODER
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.run_files import saved_steps
from stackgan_jax.training import encoder_learner, game, gan_learner, loggers, preconditions
from stackgan_jax.training.loop import Create, train
from stackgan_jax.training.outlook import Outlook, of_quickstart
from stackgan_jax.training.run_folder import claimed, note

# What makes the learner of each `config.kind`. A stage of other networks needs no entry of its own,
# because the networks are the config's choice; one that learns otherwise does.
STAGES: dict[str, Create] = {
    TEXT_ENCODER: encoder_learner.create,
    **{f"stage{number}": gan_learner.create for number in (1, 2, 3)},
}


def run(config: ConfigDict, workdir: Path) -> None:
    """Trains what a config describes.

    Args:
        config: of one training (`kind` is a name of `STAGES`), or of a quickstart, which holds a
            config for each of its trainings and has no `kind`.
        workdir: the run's folder; a quickstart makes one folder in it for each training.

    Raises:
        UserError: the kind or the data set is unknown, or something that the training needs is
            missing.
    """
    for stage in configuration.stages(config):
        if stage.kind not in STAGES:
            raise UserError(f"Unknown config.kind {stage.kind!r}; choose from {', '.join(STAGES)}.")
        loggers.require(stage)
        input_pipeline.require_known(stage.data)  # bad data are rejected before anything is written
    preconditions.require_pretrained(configuration.stages(config))
    if "kind" not in config:
        run_all(config, workdir)
        return
    require_possible(config)
    preconditions.require(config, workdir)
    with claimed(workdir, config):  # while the text encoder trains, too
        if configuration.is_stage(config):
            _provide_text_encoder(config, workdir)
        _train(config, workdir)


def run_all(config: ConfigDict, workdir: Path) -> None:
    """Runs the trainings of a quickstart that are not finished, and writes a report."""
    from stackgan_jax.report import build

    began = time.monotonic()
    stages = configuration.stages(config)
    for place, stage in enumerate(stages):
        with _options_of(stage.kind):
            require_possible(stage)
            preconditions.require_within(stage, stages[:place])
    with claimed(workdir, config):
        for number, stage in enumerate(stages, 1):
            stage = stage.copy_and_resolve_references()
            for needed in (TEXT_ENCODER, configuration.previous_stage(stage)):
                if needed in stage:
                    stage[needed] = str(workdir / needed)
            _say(f"\n== {number}/{len(stages)} {stage.name}")
            with _options_of(stage.kind):
                _train(stage, workdir / stage.kind, _outlook(config, workdir, number))
        note(workdir, config)
    if jax.process_index():
        return
    if not isinstance(workdir, Path):
        print(f"{workdir} is trained; for a report copy it to a local disk.", flush=True)
        return
    print("\n== report", flush=True)
    page = build.write(workdir, began=began)
    print(f"Done in {time.monotonic() - began:.0f} s. Look at {page}.", flush=True)


def _train(config: ConfigDict, workdir: Path, outlook: Outlook | None = None) -> None:
    train(config, workdir, STAGES[config.kind], in_training, outlook)


def _outlook(config: ConfigDict, workdir: Path, number: int) -> Outlook:
    """The outlook of a quickstart's training by what has been saved of the later ones."""
    saved = {
        stage.kind: saved_steps(workdir / stage.kind / "checkpoints")
        for stage in configuration.stages(config)
    }
    done = {kind: steps[-1] for kind, steps in saved.items() if steps}
    return of_quickstart(config, done, number)


@contextlib.contextmanager
def _options_of(kind: str) -> Iterator[None]:
    """Prefixes the option names in a training's errors with its place in the quickstart."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("--config.", f"--config.{kind}.")) from error


def _provide_text_encoder(config: ConfigDict, workdir: Path) -> None:
    """Trains the text encoder that a Stage I needs, if there is none."""
    own = configuration.has_begun(workdir) and text.exists(workdir)
    folder = configuration.text_encoder(config)
    if own or text.exists(folder):
        return
    encoder = configuration.load("text_encoder.py", configuration.argument(config))
    with encoder.unlocked():
        encoder.data = config.data
    gan_learner.require_matcher(game.build(config), encoder.image.network, encoder.joint.image_size)
    _say(
        f"There is no text encoder in {folder}: training it first "
        "(--config=configs/text_encoder.py does this alone)."
    )
    try:
        _train(encoder, paths.folder(folder))
    except UserError as error:
        alone = configuration.command(TEXT_ENCODER, config, folder)
        raise UserError(
            f"The text encoder can't be trained: {error} Train it by itself, with options of its "
            f"own: `{alone}`."
        ) from error


def _say(sentence: str) -> None:
    """Prints it, once for all processes."""
    if jax.process_index() == 0:
        print(sentence, flush=True)

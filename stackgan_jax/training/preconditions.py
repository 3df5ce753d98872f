"""What can be compared before any work: a config, its earlier stages and its text encoder."""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.models import efficientnet
from stackgan_jax.runtime import configuration, mesh
from stackgan_jax.runtime.configuration import TEXT_ENCODER
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text import scorer
from stackgan_jax.training import game
from stackgan_jax.training.gan import Gan
from stackgan_jax.training.gan_learner import require_matcher


def require_pretrained(trainings: Sequence[ConfigDict]) -> None:
    """Looks for the packages of the pretrained networks that trainings learn from.

    A network that only scores may be missing: its scores are left out. But if another is missing,
    the sentence names them all.

    Args:
        trainings: the config of one training, or of each of a quickstart's.

    Raises:
        UserError: one that is learnt from is not installed.
    """
    teachers, judges = set(), set()
    for config in trainings:
        if configuration.is_stage(config):
            teachers.add(config.discriminator.get("pretrained", ""))
            judges.add(config.eval.get("pretrained", ""))
        else:
            teachers.add(config.image.network.removeprefix("efficientnet_"))
    teachers, judges = (names & set(efficientnet.NETWORKS) for names in (teachers, judges))
    if not all(map(efficientnet.installed, teachers)):
        recipe = f"{trainings[0].dataset},published"
        instead = f"take the recipe that needs none, by {recipe} after the colon of --config"
        efficientnet.require(sorted(teachers | judges), instead)


def require(config: ConfigDict, workdir: Path) -> None:
    """Compares all that one training needs, before anything is written or trained.

    Args:
        config: of the training.
        workdir: of its run, which may have begun.

    Raises:
        UserError: the stage before is not trained, something does not fit it, or the text encoder
            is another one than the stage before has.
    """
    mesh.data_mesh(config.batch_size)
    if not configuration.is_stage(config):
        return
    _require_previous_stage(config, workdir)
    built = game.build(config, game.earlier_configs(config, workdir))
    # A run keeps its text encoder; an imported one may have come without.
    if not (configuration.has_begun(workdir) and text.exists(workdir)):
        _require_text_encoder(config, built)


def require_within(config: ConfigDict, before: Sequence[ConfigDict]) -> None:
    """Compares one training of a quickstart with those before it.

    Args:
        config: of the training.
        before: the configs of the trainings before it, in order.

    Raises:
        UserError: something does not fit.
    """
    mesh.data_mesh(config.batch_size)
    if not configuration.is_stage(config):
        return
    built = game.build(config, [stage for stage in before if configuration.is_stage(stage)])
    for encoder in before:
        if encoder.kind == TEXT_ENCODER:
            require_matcher(built, encoder.image.network, encoder.joint.image_size)


def _require_previous_stage(config: ConfigDict, workdir: Path) -> None:
    """Raises UserError if the stage before is not trained, which can take days."""
    name = configuration.previous_stage(config)
    if name is None or configuration.has_begun(workdir) or configuration.has_begun(config[name]):
        return
    raise UserError(
        f"{game.title(config.kind)} needs a trained {game.title(name)}, and {config[name]} has "
        f"none; train it with `{configuration.command(name, config, config[name])}`, or name "
        f"another with --config.{name}."
    )


def _require_text_encoder(config: ConfigDict, built: Gan) -> None:
    """Raises UserError unless the text encoder is that of the stage before, and can be a matcher.

    Stage I may have none yet: then it is trained.
    """
    path, previous = configuration.text_encoder(config), configuration.previous_stage(config)
    if not text.exists(path):
        if previous:
            _refuse_without_encoder(config, path, config[previous])
        return
    if previous and text.exists(config[previous]):
        text.require_of_stage1(path, config[previous])
    if "matching" in built.weights:
        pair = scorer.load(path)
        require_matcher(built, pair.network, pair.image_size)


def _refuse_without_encoder(config: ConfigDict, path: str, previous: str) -> None:
    earlier = game.title(configuration.previous_stage(config))
    if text.exists(previous):
        raise UserError(
            f"There is no text encoder in {path}; {game.title(config.kind)} takes the one of its "
            f"{earlier}, so leave --config.text_encoder out, or give "
            f"--config.text_encoder={previous}."
        )
    raise UserError(
        f"The {earlier} in {previous} came without its text encoder; import or train the one that "
        f"it learnt with, for example `{configuration.command(TEXT_ENCODER, config, 'FOLDER')}`, "
        "and name its folder with --config.text_encoder=FOLDER."
    )

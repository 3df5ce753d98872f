"""Text encoder, Stage I, Stage II and a page of pictures, from nothing.

    python -m stackgan_jax.main --config=configs/quickstart.py
    python -m stackgan_jax.main --config=configs/quickstart.py:folder --config.data.path=my_pictures
    python -m stackgan_jax.main --config=configs/quickstart.py:folder,published --config.data.path=…

Trains on the embedded synthetic birds, on your own pictures, or on a published data set, to 64 and
256 pixels as published. To finish on a laptop the networks are narrow, the learning rates high, the
conditioning augmentation's KL term light. Three terms that are not in the paper help: the distance
of picture and caption by the text encoder's image tower (`matching_weight`), in Stage I the
likeness of one sentence's pictures (`diversity_weight`), and in Stage II the distance from Stage
I's picture (`consistency_weight`). Change a stage's values by
--config.stage1.steps=20000, the data's for all stages by --config.data.test_fraction=0.2.
A folder is trained by the recipe `modern` (docs/recipes.md) unless `published` is named, the other
data sets by `published` unless `modern` is. `modern` needs the extra `pretrained` and takes longer.
Of those terms it has the first alone, in Stage I of drawn birds.

Result of the first form: docs/results.md, with command, hardware and date; of
`folder,published`: docs/data.md; of the trainings of `folder`: docs/recipes.md.
"""

from ml_collections import ConfigDict, FieldReference

from stackgan_jax.data import registry
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import stage_config

# Seconds of a step; their ratio estimates the remaining time of later trainings. Measured in one
# run of this config on two cores of a shared AMD EPYC VM, nothing beside, 2026-11-27.
PACE = {"text_encoder": 0.047, "stage1": 0.122, "stage2": 0.267}


def get_config(argument: str = "synthetic_birds") -> ConfigDict:
    """The config of the whole quickstart for a data set and a recipe."""
    default = "modern" if argument == "folder" else "published"
    dataset, recipe = registry.dataset_and_recipe(argument, default)
    if dataset == "stackgan_pickles":
        raise UserError(
            "The quickstart trains a text encoder, but stackgan_pickles hold embeddings already; "
            "use --config=configs/stage1.py:stackgan_pickles, then "
            "--config=configs/stage2.py:stackgan_pickles."
        )
    data = registry.config(dataset)
    drawn = dataset == "synthetic_birds"
    stages = [
        configuration.load(f"{name}.py", f"{like},{recipe}")
        for name, like in (
            ("text_encoder", dataset if drawn else "folder"),
            *((stage, "synthetic_birds") for stage in ("stage1", "stage2")),
        )
    ]
    text_encoder, stage1, stage2 = stages
    loggers = FieldReference(stage1.loggers)
    suffix = "" if drawn else f"-{dataset}"
    suffix += "" if recipe == "published" else f"-{recipe}"
    for stage in stages:
        stage.update(name=f"{stage.kind}{suffix}", dataset=dataset)
        stage.data, stage.loggers = data, loggers  # the same for all
    stage1.update(batch_size=16, log_every=100, preview_every=500)
    stage2.update(batch_size=8, log_every=50, preview_every=200)
    if recipe == "modern":
        modern(stage1, stage2)
    else:
        published(stage1, stage2)
    if drawn or recipe == "published":
        text_encoder.update(load_size=38, steps=4500, log_every=200, save_every=1000)
    if drawn:
        data.builder_config = "quickstart"  # every bird looks to the right
        text_encoder.joint.flip = stage1.training.flip = stage2.training.flip = False
    elif recipe == "published":
        photographs(text_encoder, stage1)
    return ConfigDict(
        {
            "name": f"quickstart{suffix}",
            "data": data,
            "loggers": loggers,
            "pace": dict(PACE) if recipe == "published" else {},
            "text_encoder": text_encoder,
            "stage1": stage1,
            "stage2": stage2,
        }
    )


def published(stage1: ConfigDict, stage2: ConfigDict) -> None:
    """Narrow published networks, high rates, and the terms that are not in the paper."""
    for stage in (stage1, stage2):
        stage.training.update(
            z_features=32,
            kl_weight=0.1,
            epsilon_scale=0.3,
            generator_learning_rate=1e-3,
        )
        stage.captions_per_image = 1
    stage1.generator.features = stage1.discriminator.features = 24
    stage1.training.update(
        discriminator_learning_rate=6e-4,
        matching_weight=30.0,
        diversity_weight=2.0,
        halve_every=1_200,
        ema_decay=0.998,
    )
    stage1.update(steps=2400, save_every=1000)

    stage2.generator.update(features=16, residual_blocks=2)
    stage2.discriminator.features = 8
    stage2.training.update(
        discriminator_learning_rate=8e-4,
        matching_weight=30.0,
        consistency_weight=60.0,
        halve_every=360,
        ema_decay=0.99,
    )
    stage2.update(steps=1000, save_every=250)


def modern(stage1: ConfigDict, stage2: ConfigDict) -> None:
    """As many steps as docs/recipes.md has looked at; of Stage II on photographs alone."""
    for stage in (stage1, stage2):
        stage_config.modern_for_data_set(stage)
    stage1.update(steps=6000, save_every=500)
    stage2.update(steps=500, save_every=100)


def photographs(text_encoder: ConfigDict, stage1: ConfigDict) -> None:
    """Settings for more varied pictures and fewer sentences: docs/data.md."""
    text_encoder.joint.update(learning_rate=2e-3, drop_words=0.3)
    text_encoder.steps = 1500
    stage1.generator.features = stage1.discriminator.features = 32
    # The image tower knows photographs less well, and scores coloured spots highest.
    stage1.training.matching_weight = 10.0

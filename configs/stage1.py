"""Stage I: a caption becomes a picture of 64x64.

    python -m stackgan_jax.main --config=configs/stage1.py          synthetic birds, narrow networks
    python -m stackgan_jax.main --config=configs/stage1.py:folder --config.data.path=my_pictures
    python -m stackgan_jax.main --config=configs/stage1.py:birds --config.data.path=…  as published

`folder` is for some thousand pictures of your own: wider networks than for the synthetic birds,
narrower than the published ones, and a lighter KL term, which lets short training follow captions.
`birds` (CUB-200-2011) and `flowers` (Oxford-102) have the settings of the published TensorFlow
program, `coco` those of the published PyTorch program. `stackgan_pickles` has the TensorFlow
settings for data that its own preprocessing wrote, with the birds' schedule (flowers:
--config.steps=65400 --config.training.halve_every=5450). These need --config.data.path:
docs/data.md says of what.

Result of the first form: 1,150 of the 20,000 steps in seven minutes on four cores of an AMD EPYC,
including the drawing of the data and the text encoder (2026-11-22), gave shapes of birds and some
of the colours in their captions. The others: not yet run.
"""

from ml_collections import ConfigDict

from stackgan_jax.data import registry
from stackgan_jax.training import stage_config


def get_config(argument: str = "synthetic_birds") -> ConfigDict:
    """The config of Stage I for a data set and a recipe."""
    dataset, recipe = registry.dataset_and_recipe(argument)
    config = stage_config.create(1, dataset, recipe)
    program = registry.DATA_SETS[dataset].program
    if dataset == "folder":
        stage_config.own_pictures(config, generator=64, discriminator=48)
    elif program is None:
        config.generator.features, config.discriminator.features = 48, 32
    if program == "tensorflow":
        stage_config.published_schedule(
            config, batch_size=64, epochs=600, halve_every=50, save_every=30
        )
    if program == "pytorch":
        stage_config.published_schedule(
            config, batch_size=128, epochs=120, halve_every=20, save_every=5
        )
    if program:
        config.log_every = 100  # Steps of milliseconds: docs/performance.md has a log line's cost.
    if recipe == "modern":
        stage_config.modern(config, generator=128 if program else 24)
    return config

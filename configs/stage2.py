"""Stage II: Stage I's 64x64 picture and the caption become a picture of 256x256.

    python -m stackgan_jax.main --config=configs/stage2.py          synthetic birds, narrow networks
    python -m stackgan_jax.main --config=configs/stage2.py:folder --config.data.path=my_pictures
    python -m stackgan_jax.main --config=configs/stage2.py:birds --config.data.path=…  as published

It starts from the Stage I in `config.stage1`, which must be trained. `folder` is for some thousand
pictures of your own. `birds` (CUB-200-2011) and `flowers` (Oxford-102) have the settings of the
published TensorFlow program, `coco` those of the published PyTorch program. `stackgan_pickles` has
the TensorFlow settings for data that its own preprocessing wrote, with the birds' schedule
(flowers: --config.steps=65400 --config.training.halve_every=10900). These need --config.data.path:
docs/data.md says of what.

Result: not yet run to the end. The first form makes 0.9 steps a second on four cores of an AMD
EPYC, 0.5 on two (2026-11-22). After 200 of its 20,000 steps, four minutes, with the quickstart's
Stage I: blurred birds in most of Stage I's colours.
"""

from ml_collections import ConfigDict

from stackgan_jax.data import registry
from stackgan_jax.training import stage_config


def get_config(argument: str = "synthetic_birds") -> ConfigDict:
    """The config of Stage II for a data set and a recipe."""
    dataset, recipe = registry.dataset_and_recipe(argument)
    config = stage_config.create(2, dataset, recipe)
    config.update(batch_size=32, log_every=20)
    program = registry.DATA_SETS[dataset].program
    if dataset == "folder":
        stage_config.own_pictures(config, generator=48, discriminator=32)
    elif program is None:
        config.generator.features, config.discriminator.features = 32, 16
    if program == "tensorflow":
        stage_config.published_schedule(
            config, batch_size=64, epochs=600, halve_every=100, save_every=10
        )
    if program == "pytorch":
        stage_config.published_schedule(
            config, batch_size=40, epochs=100, halve_every=20, save_every=1
        )
    if dataset == "stackgan_pickles":
        config.data.builder_config = "304"
    if recipe == "modern":
        stage_config.modern(config, generator=64 if program else 32)
    return config

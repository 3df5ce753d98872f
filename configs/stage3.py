"""Stage III: Stage II's 256x256 picture and the caption become a picture of 1024x1024.

    python -m stackgan_jax.main --config=configs/stage3.py          synthetic birds, narrow networks
    python -m stackgan_jax.main --config=configs/stage3.py:folder --config.data.path=my_pictures

It is Stage II's network once more, which neither the paper nor its programs have. It starts from
the Stage II in `config.stage2`, which must be trained. The synthetic birds are drawn at 304 pixels
and enlarged, so that this form shows only that it works; use pictures of 1216 pixels and more.

With a quickstart's Stage II add --config.training.z_features=32, the width of its noise.

Result: two steps of the first form on a quickstart's Stage II (two cores of a shared x86-64 CPU,
2026-11-26, --config.data.builder_config=tiny) held 3.7 GiB of memory at most, with
--config.batch_size=2 2.8 GiB. Not yet run to the end.
"""

from ml_collections import ConfigDict

from stackgan_jax.data import registry
from stackgan_jax.training import stage_config


def get_config(argument: str = "synthetic_birds") -> ConfigDict:
    """The config of Stage III for a data set and a recipe."""
    dataset, recipe = registry.dataset_and_recipe(argument)
    config = stage_config.create(3, dataset, recipe)
    config.generator.update(features=16, residual_blocks=2)
    config.discriminator.features = 8
    config.update(batch_size=8, log_every=10)
    if dataset == "folder":
        stage_config.own_pictures(config, generator=32, discriminator=16)
    if dataset == "stackgan_pickles":
        config.data.builder_config = "304"
    if recipe == "modern":
        stage_config.modern(config, generator=16)
    return config

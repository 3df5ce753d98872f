"""The config of --mode=evaluate on its own: what the run's config.eval says, unless it is given."""

from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration


def get_config() -> ConfigDict:
    return ConfigDict({"eval": configuration.evaluation()})

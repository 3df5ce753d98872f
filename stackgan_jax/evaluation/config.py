"""The config of --mode=evaluate without --config: `config.eval` alone.

A run's own `config.eval` applies, except where the command line gives a value.
"""

from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration


def get_config() -> ConfigDict:
    """Returns the defaults of `config.eval`."""
    return ConfigDict({"eval": configuration.evaluation()})

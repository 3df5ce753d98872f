"""The config of --mode=evaluate and --mode=report without --config.

A run's own `config.eval` and `config.data` apply, except where the command line gives a value. Of
the data these are the values that may change when a run resumes, above all their folders.
"""

from ml_collections import ConfigDict

from stackgan_jax.data import registry
from stackgan_jax.runtime import configuration


def get_config() -> ConfigDict:
    """Returns the defaults of `config.eval`, and the fields of `config.data` that may change."""
    data = registry.config("folder")
    moved = {name: value for name, value in data.items() if name in configuration.DATA_FIELDS}
    return ConfigDict({"eval": configuration.evaluation(), "data": moved})

"""Our variables as those of the TensorFlow program: the inverse of `from_tensorflow`."""

import numpy as np
from flax import traverse_util

from stackgan_jax.weights import name_tables


def to_tensorflow(variables, networks):
    """Returns name → array for variables and networks by scope."""
    arrays = {}
    for scope, network in networks.items():
        ours = traverse_util.flatten_dict(variables[scope])
        for row in name_tables.tensorflow_rows(scope, network):
            arrays[row.name] = np.ascontiguousarray(ours.pop(row.path))
        assert not ours, f"no names for {list(ours)}"
    return arrays

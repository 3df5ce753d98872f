"""Networks by the name that a config chooses, and how they are made from its fields."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from stackgan_jax.models import discriminator, modulated, projected, stage1, stage2
from stackgan_jax.models.layers import LayerOptions
from stackgan_jax.runtime.errors import UserError

# `config.generator.network` and `config.discriminator.network` name one of these. "stage2" and
# "stage2_modulated" serve every stage after the first.
GENERATORS: dict[str, type[nn.Module]] = {
    "stage1": stage1.Generator,
    "stage2": stage2.Generator,
    "stage1_modulated": modulated.Stage1Generator,
    "stage2_modulated": modulated.LaterGenerator,
}
DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "matching_aware": discriminator.Discriminator,
    "projected": projected.Discriminator,
}
DTYPES = ("float32", "bfloat16")  # Of activations; parameters, statistics and losses are float32.


def generator(fields: Mapping[str, Any], batch_norm_groups: int = 1) -> nn.Module:
    """The generator that `config.generator` describes.

    Args:
        fields: `network`, a name of `GENERATORS`, and fields of that class and of `LayerOptions`.
        batch_norm_groups: as in `LayerOptions`.

    Raises:
        UserError: the network or the dtype is unknown.
        TypeError: a field is neither the network's nor of `LayerOptions`.
    """
    return _build(GENERATORS, "generator", fields, batch_norm_groups)


def discriminator_of(fields: Mapping[str, Any], batch_norm_groups: int = 1) -> nn.Module:
    """The discriminator that `config.discriminator` describes; as `generator`."""
    return _build(DISCRIMINATORS, "discriminator", fields, batch_norm_groups)


def typed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields whose `dtype` is the type instead of its name.

    Raises:
        UserError: the type is not one of `DTYPES`.
    """
    if fields["dtype"] not in DTYPES:
        raise UserError(f"Unknown dtype {fields['dtype']!r}; choose from {', '.join(DTYPES)}.")
    return {**fields, "dtype": jnp.dtype(fields["dtype"])}


def _build(
    networks: Mapping[str, type[nn.Module]], what: str, fields: Mapping[str, Any], groups: int
) -> nn.Module:
    fields = typed(fields)
    name = fields.pop("network")
    if name not in networks:
        raise UserError(
            f"Unknown config.{what}.network {name!r}; choose from {', '.join(networks)}."
        )
    shared = {field.name for field in dataclasses.fields(LayerOptions)} & fields.keys()
    options = LayerOptions(
        batch_norm_groups=groups, **{field: fields.pop(field) for field in shared}
    )
    return networks[name](**fields, options=options)

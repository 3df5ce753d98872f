"""Checkpoints of earlier versions, whose states held at most one earlier stage.

Their field `prior` is {"params", "batch_stats"} of Stage I in a Stage II, and None in a Stage I.
Today it is `priors`, a tuple with every earlier stage.
"""

import dataclasses
from typing import Any


def as_stored(template: Any, saved: Any) -> Any:
    """Returns the template in the form in which a checkpoint was saved.

    Args:
        template: a state of today.
        saved: the checkpoint's tree.
    """
    if "prior" not in saved or not hasattr(template, "priors"):
        return template
    fields = {f.name: getattr(template, f.name) for f in dataclasses.fields(template)}
    priors = fields.pop("priors")
    return {**fields, "prior": priors[0] if priors else None}


def as_now(template: Any, restored: Any) -> Any:
    """Returns what was restored by `as_stored`'s template as a state of today."""
    if not isinstance(restored, dict) or not hasattr(template, "priors"):
        return restored
    return template.replace(**parts_as_now(restored))


def stored_names(names: tuple[str, ...], saved: Any) -> tuple[str, ...]:
    """The names of a state's parts as a checkpoint has them."""
    return tuple("prior" if "prior" in saved and n == "priors" else n for n in names)


def parts_as_now(parts: dict[str, Any]) -> dict[str, Any]:
    """Renames `prior` in parts of a state."""
    if "prior" not in parts:
        return parts
    parts = dict(parts)
    prior = parts.pop("prior")
    return {**parts, "priors": () if prior is None else (prior,)}

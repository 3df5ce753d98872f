"""The report's page: one HTML file that contains its pictures, curves and style."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from stackgan_jax.report.curves import charts
from stackgan_jax.report.pictures import Example, Strip
from stackgan_jax.report.rendering import percent, render, words

TOTALS = {"colours": "All colours", "overall": "All judged attributes"}


@dataclasses.dataclass(frozen=True)
class Content:
    """Pictures and logs of a page.

    Attributes:
        examples: unseen captions and their pictures.
        noise_strips: one caption each, drawn with different noise.
        interpolations: from one caption to another, drawn with the same noise.
        logs: kind of run → the lines of its metrics.jsonl.
        hints: kind of run → the hints that it was given, as `training.hints.read` returns them.
    """

    examples: Sequence[Example]
    noise_strips: Sequence[Strip]
    interpolations: Sequence[Strip]
    logs: Mapping[str, Sequence[Mapping[str, float]]]
    hints: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)


def render_report(facts: Mapping[str, Any], content: Content) -> str:
    """Returns the page as HTML; `facts` is the content of report.json."""
    shares = column_shares(facts.get("attribute_accuracy", {}))
    return render(
        "report.html",
        facts=facts,
        content=content,
        data=facts["data"],
        data_name=_data_name(facts["data"]),
        shares=shares,
        colours={name: column["colours"] for name, column in shares.items() if "colours" in column},
        last_stage=next(iter(shares), None),
        groups=_groups(facts, shares),
        not_judged=_not_judged(facts.get("classifier")),
        charts={kind: charts(log) if log else None for kind, log in content.logs.items()},
    )


def column_shares(shares: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """Returns the columns of attribute accuracy: the last stage first, then "real" and "chance".

    Args:
        shares: each stage in order, "real" and "chance" → group of attributes → share.
    """
    stages = [name for name in shares if name not in ("real", "chance")]
    return {name: shares[name] for name in (*reversed(stages), "real", "chance") if name in shares}


def _groups(facts: Mapping[str, Any], shares: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """The table's rows, group of attributes → label: those that a caption names."""
    labels = TOTALS | {name: words(name) for name in facts.get("classifier", {}).get("judged", ())}
    named = {group for column in shares.values() for group in column}
    return {group: label for group, label in labels.items() if group in named}


def _not_judged(classifier: Mapping[str, Any] | None) -> list[str]:
    """The attributes that the classifier reads too badly, with its accuracy."""
    if classifier is None:
        return []
    return [
        f"{words(name)} ({percent(share, 1)})"
        for name, share in classifier["held_out_accuracy"].items()
        if name not in classifier["judged"]
    ]


def _data_name(data: Mapping[str, Any]) -> str:
    if data["name"] == "folder":
        return data["path"]
    return "/".join(filter(None, (data["name"], data["builder_config"])))

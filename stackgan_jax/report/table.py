"""The page's account of attribute accuracy: its sentence, its tiles and its table."""

from collections.abc import Mapping, Sequence
from typing import Any

from stackgan_jax.report.style import listed, percent, words

COLUMNS = {"stage2": "Stage II", "stage1": "Stage I", "real": "Real images", "chance": "Chance"}
TILES = {"stage2": "Stage II", "stage1": "Stage I", "real": "real images", "chance": "chance"}
TOTALS = {"colours": "All colours", "overall": "All judged attributes"}
NO_ATTRIBUTES = (
    "This data set doesn’t tell the attributes of its images, so there is nothing to train a "
    "classifier on that could look for them in the pictures; the synthetic birds have them."
)


def summary(facts: Mapping[str, Any]) -> str:
    """The result in one sentence, or "" where nothing could be judged."""
    colours = _column_shares(facts, "colours")
    if not colours:
        return ""
    last, *others = colours
    text = (
        f"Of the {facts['attributes_named']['colours']:,} colours that "
        f"{facts['captions_judged']:,} unseen captions name, {COLUMNS[last]} draws "
        f"{percent(colours[last])} right"
    )
    remarks = {
        "stage1": "Stage I {}",
        "real": "the captions’ real images, read in the same way, {}",
        "chance": "chance {}",
    }
    rest = "; ".join(remarks[name].format(percent(colours[name])) for name in others)
    return f"<p><strong>{text}</strong> ({rest}).</p>"


def tiles(facts: Mapping[str, Any]) -> dict[str, str]:
    """Heading → figure."""
    colours = _column_shares(facts, "colours")
    return {f"Colours right, {TILES[name]}": percent(share) for name, share in colours.items()}


def section(facts: Mapping[str, Any]) -> str:
    """The table and what its columns mean."""
    start = "<section><h2>Are the captions’ attributes there?</h2>"
    if "attribute_accuracy" not in facts:
        return f"{start}<p>{NO_ATTRIBUTES}</p></section>"
    columns = [name for name in COLUMNS if name in facts["attribute_accuracy"]]
    head = "".join(f'<th scope="col">{COLUMNS[name]}</th>' for name in columns)
    names = [*TOTALS, *facts["classifier"]["judged"]]
    rows = "".join(_row(facts, columns, name) for name in names if _column_shares(facts, name))
    return (
        f"{start}<p>{_explanation(facts['classifier'])}</p>"
        '<div class="scroll"><table><thead><tr><th scope="col">Attribute</th>'
        f'<th scope="col">Named</th>{head}<th scope="col">Classifier itself</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{_not_judged(facts['classifier'])}</section>"
    )


def _column_shares(facts: Mapping[str, Any], group: str) -> dict[str, float]:
    """Column → share of a group of attributes, where that has been judged."""
    shares = facts.get("attribute_accuracy", {})
    return {name: shares[name][group] for name in COLUMNS if group in shares.get(name, {})}


def _row(facts: Mapping[str, Any], columns: Sequence[str], name: str) -> str:
    shares = _column_shares(facts, name)
    cells = "".join(
        f'<td class="bar" style="--share:{100 * share:.1f}%">{percent(share, 1)}</td>'
        for share in map(shares.get, columns)
    )
    own = facts["classifier"]["held_out_accuracy"].get(name)
    return (
        f'<tr{" class=total" if name in TOTALS else ""}><th scope="row">'
        f"{TOTALS.get(name) or words(name)}</th><td>{facts['attributes_named'][name]:,}</td>"
        f"{cells}<td>{'' if own is None else percent(own, 1)}</td></tr>"
    )


def _explanation(classifier: Mapping[str, Any]) -> str:
    colours = listed(map(words, classifier["colours"]))
    seen = f" Colours are those of {colours}: areas large enough to be seen at 64 pixels."
    return (
        "A small classifier, trained on real training images, reads every picture. Counted is "
        "each attribute that a caption names, and how often the classifier finds it in the picture "
        f"drawn for that caption.{seen if colours else ''} Real images are the "
        "captions’ own; chance is what those of other captions get. The last column is "
        "the share of held-out real images that the classifier reads rightly; only attributes "
        f"that reach {percent(classifier['required'])} there are judged."
    )


def _not_judged(classifier: Mapping[str, Any]) -> str:
    left = [
        f"{words(name)} ({percent(share, 1)})"
        for name, share in classifier["held_out_accuracy"].items()
        if name not in classifier["judged"]
    ]
    if not left:
        return ""
    return f'<p class="note">Not judged, for the classifier is too often wrong: {listed(left)}.</p>'

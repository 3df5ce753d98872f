"""What a model's file holds, in one screen."""

from collections.abc import Iterator
from pathlib import Path

from stackgan_jax.evaluation.records import Record
from stackgan_jax.pretrained import model_file
from stackgan_jax.pretrained.model import Model


def describe(file: Path) -> str:
    """Returns lines of text about a model's file.

    Raises:
        UserError: it is no model, or damaged.
    """
    model = model_file.read(file)
    size = f"{file.stat().st_size / 1e6:,.1f} MB"
    return "\n".join([f"{file}: a model of {model.configs[-1].kind}, {size}", *_lines(model)])


def _lines(model: Model) -> Iterator[str]:
    info = model.info
    facts = {
        "config": info["name"],
        "recipe": info["recipe"],
        "draws": " → ".join(f"{size}×{size}" for size in info["sizes"]),
        "data": info["data"].get("source", ""),
        "steps": f"{info['step']:,} of {info['steps']:,}, {info['batch_size']} pictures each",
        "generators": " and ".join(f"{n:,}" for n in info["parameters"]) + " parameters",
        "encoder": info["text_encoder"] or "none: it takes embeddings",
        "captions": f"{len(model.captions)} of the test set" if model.captions else "",
    }
    for name, fact in facts.items():
        if fact:
            yield f"  {name:<11}  {fact}"
    for evaluation in info["evaluations"]:
        yield f"\n{Record.from_json(evaluation).results()}"

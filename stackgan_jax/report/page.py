"""The report's page: one HTML file that needs nothing else (pictures, curves and style inside)."""

import base64
import dataclasses
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from stackgan_jax.report.curves import charts
from stackgan_jax.report.style import STYLE, duration, listed, words
from stackgan_jax.report.table import section, summary, tiles

NAMES = {"stage1": "Stage I", "stage2": "Stage II", "text_encoder": "Text encoder"}


@dataclasses.dataclass(frozen=True)
class Example:
    """A caption and its pictures, each uint8 `[s, s, 3]`.

    Attributes:
      caption: the sentence.
      drawn: heading → picture, and what was read in it: attribute → (value wanted, value read).
      nearest: the training image nearest to the last of them, and their distance.
      real: the caption's own image.
    """

    caption: str
    drawn: Mapping[str, tuple[np.ndarray, Mapping[str, tuple[str, str]]]]
    nearest: tuple[np.ndarray, float]
    real: np.ndarray


@dataclasses.dataclass(frozen=True)
class Strip:
    """A caption, or one for each end, and a row of uint8 pictures `[s, s, 3]`."""

    captions: Sequence[str]
    pictures: Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Content:
    """What a page shows besides the facts.

    Attributes:
      examples: unseen captions and their pictures.
      noises: the same caption with other noise.
      ways: from one caption to another.
      logs: kind of run → the lines of its metrics.jsonl.
    """

    examples: Sequence[Example]
    noises: Sequence[Strip]
    ways: Sequence[Strip]
    logs: Mapping[str, Sequence[Mapping[str, float]]]


def render(facts: Mapping[str, Any], content: Content) -> str:
    """The page as HTML; `facts` are what report.json holds."""
    parts = [_header(facts), _examples(facts, content.examples), section(facts)]
    parts += [
        _strips(
            "The same caption, other noise",
            "What the caption leaves open is left to chance: a row keeps its caption, and each "
            "picture has noise of its own.",
            content.noises,
        ),
        _strips(
            "From one caption to another",
            "The noise stays the same; the embedding goes in equal steps from the first caption’s "
            "to the last one’s. Smooth change without blurred pictures between says that the "
            "network has learnt more than single captions.",
            content.ways,
        ),
        _curves(content.logs),
        _details(facts),
    ]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(facts['name'])}: report</title>\n<style>{STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _header(facts: Mapping[str, Any]) -> str:
    data = facts["data"]
    trained = listed(
        f"{NAMES[kind]} ({run['steps']:,} steps, {duration(run['seconds'])})"
        for kind, run in facts["runs"].items()
    )
    lead = (
        f"{trained}, trained on {data['train_images']:,} images of “{_name_of(data)}”. The "
        f"captions below come from its test split: {data['test_images']:,} images"
    )
    if not data["shared_classes"]:
        lead += f" of {data['test_classes']:,} classes, none of which training has seen"
    figures = {"Time": duration(facts["seconds"]), **tiles(facts)}
    cells = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in figures.items())
    return (
        f"<header><h1>A sentence becomes a picture: {html.escape(facts['name'])}</h1>"
        f"<p>{html.escape(lead)}.</p>{summary(facts)}"
        f'<dl class="tiles">{cells}</dl></header>'
    )


def _examples(facts: Mapping[str, Any], examples: Sequence[Example]) -> str:
    near = facts["nearest_training_image"]
    drawn, real = near["drawn"], near["real"]
    text = (
        "The first test images of different classes in a fixed random order; nobody chose them. "
        "The nearest training image is, to show that the drawn picture is no copy, the one of "
        f"{facts['data']['train_images']:,} that differs least from it ({near['compared']}). "
        "Differences are root mean squares over pixels, of 255 at most. Over all "
        f"{facts['captions_judged']:,} drawn pictures their median is {drawn['median']:.0f} and "
        f"the least is {drawn['least']:.0f}; over as many real test images {real['median']:.0f} "
        f"and {real['least']:.0f}."
    )
    cards = "".join(map(_example, examples))
    return f"<section><h2>Unseen captions</h2><p>{text}</p>{cards}</section>"


def _example(example: Example) -> str:
    twin, distance = example.nearest
    figures = [
        _figure(picture, heading, f"drawn for the caption: {example.caption}", _outcome(read))
        for heading, (picture, read) in example.drawn.items()
    ]
    figures += [
        _figure(twin, "Nearest training image", "of those drawn", f"difference {distance:.0f}"),
        _figure(example.real, "The caption’s own image", example.caption),
    ]
    columns = f"grid-template-columns:repeat({len(figures)},1fr)"
    return (
        f'<article class="card"><h3>“{html.escape(example.caption)}”</h3>'
        f'<div class="row four" style="{columns}">{"".join(figures)}</div></article>'
    )


def _figure(picture: np.ndarray, heading: str, description: str, below: str = "") -> str:
    return (
        f"<figure>{img(picture, f'{heading}, {description}')}"
        f"<figcaption><b>{heading}</b>{below}</figcaption></figure>"
    )


def _outcome(read: Mapping[str, tuple[str, str]]) -> str:
    """A line for each attribute that the caption names, right ones ticked."""
    return "<br>".join(
        f'<span class="found">✓ {words(name)} {words(wanted)}</span>'
        if wanted == value
        else f'<span class="missed">✗ {words(name)} {words(wanted)} (read as {words(value)})</span>'
        for name, (wanted, value) in read.items()
    )


def _strips(title: str, text: str, strips: Sequence[Strip]) -> str:
    return f"<section><h2>{title}</h2><p>{text}</p>" + "".join(map(_strip, strips)) + "</section>"


def _strip(strip: Strip) -> str:
    caption = " → ".join(f"“{html.escape(caption)}”" for caption in strip.captions)
    count = len(strip.pictures)
    pictures = "".join(
        img(picture, f"{i} of {count} for: {' → '.join(strip.captions)}")
        for i, picture in enumerate(strip.pictures, 1)
    )
    columns = f"grid-template-columns:repeat({count},1fr)"
    return (
        f'<article class="card"><h3>{caption}</h3>'
        f'<div class="row strip" style="{columns}">{pictures}</div></article>'
    )


def _curves(logs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    sections = (
        f'<h3>{NAMES[kind]}</h3><div class="charts">{"".join(charts(log))}</div>'
        if log
        else f"<h3>{NAMES[kind]}</h3><p>There is no metrics.jsonl in this run.</p>"
        for kind, log in logs.items()
    )
    return f"<section><h2>How the training went</h2>{''.join(sections)}</section>"


def _details(facts: Mapping[str, Any]) -> str:
    data, host = facts["data"], facts["host"]
    rows = {
        "Trained until": facts["trained_until"],
        "Data": f"{html.escape(_name_of(data))}: {data['train_images']:,} training and "
        f"{data['test_images']:,} test images, {data['train_classes']:,} and "
        f"{data['test_classes']:,} classes",
        "Drawn by": f"{html.escape(listed(facts['devices']))}; {html.escape(host['processor'])}, "
        f"{host['cores']} cores, {html.escape(host['system'])}",
        "Versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "Seed of the report": facts["seed"],
        "Draw your own": "<code>python -m stackgan_jax.main --mode=sample "
        f"--workdir={html.escape(facts['workdir'])} --text=&quot;a small red bird with black "
        "wings&quot; --num=8 --output=birds.png</code>",
    }
    cells = "".join(f'<tr><th scope="row">{k}</th><td>{v}</td></tr>' for k, v in rows.items())
    return (
        '<section><h2>Details</h2><div class="scroll"><table class="details"><tbody>'
        f"{cells}</tbody></table></div>"
        '<p class="note">All numbers of this page are in report.json, beside it.</p></section>'
    )


def img(picture: np.ndarray, description: str) -> str:
    """An embedded picture: PNG up to 128 pixels, JPEG above; the pixels of small ones are shown."""
    small = picture.shape[0] <= 64
    kind = "PNG" if picture.shape[0] <= 128 else "JPEG"
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, kind, quality=90, subsampling=0)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return (
        f'<img{" class=small" if small else ""} alt="{html.escape(description)}" '
        f'src="data:image/{kind.lower()};base64,{encoded}">'
    )


def _name_of(data: Mapping[str, Any]) -> str:
    if data["name"] == "folder":
        return data["path"]
    return "/".join(filter(None, (data["name"], data["builder_config"])))

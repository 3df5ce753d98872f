"""How pages are written: the templates in templates/, and the filters for numbers and pictures."""

import base64
import io
from collections.abc import Iterable
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from stackgan_jax.runtime import configuration
from stackgan_jax.training.game import title

HEADINGS = {"text_encoder": "Text encoder", "real": "Real images", "chance": "Chance"}


def render(template: str, **values: Any) -> str:
    """Returns the HTML of a template; every value is escaped."""
    return _ENVIRONMENT.get_template(template).render(values)


def heading(name: str) -> str:
    """Title of a stage, another run or a row of pictures: "Stage I", "Text encoder"."""
    return title(name) if configuration.STAGE.fullmatch(name) else HEADINGS.get(name, name)


def words(name: str) -> str:
    """An attribute's name with spaces: "beak shape"."""
    return name.replace("_", " ")


def thousands(count: int) -> str:
    """A count with separators: "12,000"."""
    return f"{count:,}"


def percent(share: float, digits: int = 0) -> str:
    """A share of 1 in per cent: 0.5 → "50 %"."""
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float) -> str:
    """A time in its two largest units: "2 h 05 min", "1 min 01 s" or "8 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def listed(words: Iterable[str]) -> str:
    """An enumeration: "a", "a and b" or "a, b and c"."""
    *others, last = ["", *words]
    return " and ".join(filter(None, (", ".join(filter(None, others)), last)))


def tick_label(value: float) -> str:
    """The number at a tick of the x axis: "12,000" or "0.5"."""
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def data_uri(picture: np.ndarray) -> str:
    """The address of an embedded picture: PNG up to 128 pixels, JPEG above.

    Args:
        picture: uint8 `[h, w, 3]`.
    """
    kind = "PNG" if picture.shape[0] <= 128 else "JPEG"
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, kind, quality=90, subsampling=0)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{encoded}"


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("stackgan_jax.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    each.__name__: each
    for each in (heading, words, thousands, percent, duration, listed, tick_label, data_uri)
}

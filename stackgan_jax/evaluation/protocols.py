"""Named protocols: how many pictures, of which captions, with which noise, scored how."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from stackgan_jax.evaluation.inception import DTYPES, RESIZES
from stackgan_jax.runtime.errors import UserError

METRICS_SEED = 2020  # of subsets and splits, torch-fidelity's


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that decides a score besides the pictures' maker and the data.

    Attributes:
      name: of the preset, with what was changed in it.
      images: pictures drawn, one for each of the test images in turn, for one of its captions.
      resize: to Inception's 299 pixels, one of `inception.RESIZES`.
      truncation: z is a normal cut at two deviations, times this; 0 for a whole normal.
      kid_subsets, kid_subset_size: KID is averaged over subsets of pictures.
      splits: of the pictures, for the Inception Score.
      neighbours: k of precision and recall.
      compared: pictures of each side that precision and recall take, at most.
      candidates: captions among which R-precision looks for a picture's own.
      gallery: pictures, and captions, among which retrieval looks; at most.
      seed: of the choice of captions and of the noise.
      inception: path of Inception's weights; "" for none.
      dtype: Inception's, one of `inception.DTYPES`.
      batch_size: pictures that Inception reads at once.
      attributes: whether the attributes that captions name are looked for, where data have them.
    """

    name: str
    images: int
    resize: str = "tensorflow"
    truncation: float = 0.0
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    splits: int = 10
    neighbours: int = 3
    compared: int = 10_000
    candidates: int = 100
    gallery: int = 1000
    seed: int = 0
    inception: str = ""
    dtype: str = "float32"
    batch_size: int = 32
    attributes: bool = True


PROTOCOLS = {
    # 30,000 pictures of test captions (StackGAN, sec. 4.1), each of one caption.
    "stackgan": Protocol("stackgan", images=30_000),
    # The released DF-GAN: ten pictures for each of CUB's 2,933 test images makes 30,000 (29,330),
    # z from a truncated normal, pictures resized by PyTorch's bilinear interpolation.
    "dfgan": Protocol("dfgan", images=30_000, resize="pytorch", truncation=0.88),
    # In minutes without an accelerator; comparable with itself alone.
    "quick": Protocol("quick", images=1_000, kid_subsets=50, kid_subset_size=250),
}
# What `config.eval` may replace in a preset, and is told with its name; "" and 0 leave it.
_REPLACED = ("images", "resize", "truncation")
_TOLD = ("dtype", "seed", "attributes")
_TAKEN = (*_TOLD, "inception", "batch_size")


def resolve(settings: ConfigDict) -> Protocol:
    """`config.eval` → the protocol that it asks for.

    Raises UserError for an unknown preset, resize or precision, and for numbers that can't be.
    """
    if settings.protocol not in PROTOCOLS:
        raise UserError(
            f"Unknown config.eval.protocol {settings.protocol!r}; choose from "
            f"{', '.join(PROTOCOLS)}."
        )
    for name, known in (("resize", ("", *RESIZES)), ("dtype", DTYPES)):
        if settings[name] not in known:
            choices = ", ".join(filter(None, known))
            raise UserError(
                f"Unknown config.eval.{name} {settings[name]!r}; choose from {choices}."
            )
    for name, least in (("images", 0), ("truncation", 0), ("batch_size", 1), ("every", 0)):
        if settings[name] < least:
            raise UserError(f"config.eval.{name} is {settings[name]}; it must be {least} or more.")
    preset = PROTOCOLS[settings.protocol]
    changed = {n: settings[n] for n in _REPLACED if settings[n] not in ("", 0, getattr(preset, n))}
    taken: dict[str, Any] = {name: settings[name] for name in _TAKEN}
    told = changed | {n: taken[n] for n in _TOLD if taken[n] != getattr(preset, n)}
    name = preset.name
    if told:
        name += f", changed: {', '.join(f'{n} {value}' for n, value in told.items())}"
    return dataclasses.replace(preset, **changed | taken | {"name": name})

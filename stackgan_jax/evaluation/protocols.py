"""Named protocols: how many pictures are drawn, with which noise, and how they are scored."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from stackgan_jax.evaluation.inception import DTYPES, RESIZES
from stackgan_jax.models.efficientnet import NETWORKS
from stackgan_jax.runtime import config_ranges
from stackgan_jax.runtime.errors import UserError

METRICS_SEED = 2020  # of subsets and splits, as in torch-fidelity


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Everything that decides a score, apart from the generator and the data.

    Attributes:
        name: of the preset, with the changes to it.
        images: pictures to draw. The test images take turns; each picture gets one caption.
        resize: to Inception's 299 pixels, one of `inception.RESIZES`.
        truncation: z is a normal variable cut at two deviations, times this; 0 for no cut.
        kid_subsets: KID is the mean over this many subsets of pictures.
        kid_subset_size: pictures in a subset.
        splits: parts that the pictures are split into for the Inception Score.
        neighbours: k of precision and recall.
        compared: pictures of each side that precision and recall use, at most.
        candidates: captions from which R-precision chooses a picture's own one.
        gallery: pictures, and captions, among which retrieval searches, at most.
        seed: of the choice of captions and of the noise.
        inception: path of Inception's weights; "" for none.
        dtype: Inception's, one of `inception.DTYPES`.
        batch_size: pictures that Inception reads at once.
        attributes: whether to look for the attributes in captions, where the data have them.
        independent: whether to score by the independent scorer.
        pretrained: the pretrained network that scores, lite0, lite1 or lite2; "" for none.
        sentences: how many sentences are drawn several times, for the spread, at most.
        repeats: how many times.
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
    independent: bool = True
    pretrained: str = ""
    sentences: int = 64
    repeats: int = 4


PROTOCOLS = {
    # 30,000 pictures for test captions, one caption each (StackGAN, sec. 4.1).
    "stackgan": Protocol("stackgan", images=30_000),
    # The released DF-GAN: ten pictures for each of CUB's 2,933 test images, so 29,330 or about
    # 30,000; z from a truncated normal; PyTorch's bilinear interpolation.
    "dfgan": Protocol("dfgan", images=30_000, resize="pytorch", truncation=0.88),
    # Takes minutes without an accelerator. Its scores compare only with its own.
    "quick": Protocol("quick", images=1_000, kid_subsets=50, kid_subset_size=250),
}
# Fields of `config.eval` that replace those of a preset, unless they are "" or 0.
_REPLACED = ("images", "resize", "truncation")
# Fields of `config.eval` that a protocol always takes; changes to these appear in its name.
_NAMED = ("dtype", "seed", "attributes", "independent", "pretrained")
_TAKEN = (*_NAMED, "inception", "batch_size")


def resolve(settings: ConfigDict) -> Protocol:
    """Returns the protocol that `config.eval` asks for.

    Raises:
        UserError: for an unknown preset, resize or precision, or a number out of range.
    """
    _check(settings)
    preset = PROTOCOLS[settings.protocol]
    replaced = {n: settings[n] for n in _REPLACED if settings[n] not in ("", 0, getattr(preset, n))}
    taken: dict[str, Any] = {name: settings[name] for name in _TAKEN}
    changes = replaced | {n: taken[n] for n in _NAMED if taken[n] != getattr(preset, n)}
    name = preset.name
    if changes:
        name += f", changed: {', '.join(f'{n} {value}' for n, value in changes.items())}"
    return dataclasses.replace(preset, **replaced | taken | {"name": name})


def _check(settings: ConfigDict) -> None:
    choices = {
        "protocol": PROTOCOLS,
        "resize": ("", *RESIZES),
        "dtype": DTYPES,
        "pretrained": ("", *NETWORKS),
    }
    for name, known in choices.items():
        if settings[name] not in known:
            raise UserError(
                f"Unknown config.eval.{name} {settings[name]!r}; choose from "
                f"{', '.join(filter(None, known))}."
            )
    config_ranges.require(ConfigDict({"eval": settings.to_dict()}))

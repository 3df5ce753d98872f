"""The ranges of config fields, and the one check of them: types, bounds and NaN.

Fields of your own configs that `RANGES` does not name may have any value.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from stackgan_jax.runtime.errors import UserError


class Range(NamedTuple):
    """What a field may be.

    Attributes:
        low: the smallest value.
        high: the largest value.
        whole: whether it is a whole number.
        several: whether it is a list of at least one such number.
        above: whether `low` itself is too small.
        optional: whether it may be null, which is the same as 0.
    """

    low: float
    high: float
    whole: bool = True
    several: bool = False
    above: bool = False
    optional: bool = False

    def __str__(self) -> str:
        """The range in words: "a whole number from 1 to 1,048,576"."""
        kind = "whole number" if self.whole else "number"
        start = f"above {self.low:,}" if self.above else f"from {self.low:,}"
        return f"a {f'list of {kind}s' if self.several else kind} {start} to {self.high:,}"

    def holds(self, value: Any) -> bool:
        """Whether a field may have this value."""
        if self.several:
            one = self._replace(several=False)
            return isinstance(value, list | tuple) and bool(value) and all(map(one.holds, value))
        if value is None:
            return self.optional
        kinds = int if self.whole else int | float
        if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value):
            return False
        return self.low <= value <= self.high and not (self.above and value == self.low)


COUNT = Range(1, 1_000_000_000)
COUNT_OR_NONE = Range(0, 1_000_000_000)
SEED = Range(0, 2**32 - 1)
WIDTH = Range(1, 65_536)
SIDE = Range(1, 16_384)  # of a picture, in pixels
SHARE = Range(0, 1, whole=False)
WEIGHT = Range(0, 1_000_000, whole=False)
RATE = Range(0, 10, whole=False, above=True)
PACE = Range(0, 1_000_000, whole=False, above=True)  # seconds of a step

RANGES: Mapping[str, Range] = {
    "seed": SEED,
    "batch_size": Range(1, 1_048_576),
    "steps": COUNT,
    "steps_per_dispatch": Range(0, 1_000_000),
    "log_every": COUNT,
    "preview_every": COUNT,
    "save_every": COUNT,
    "captions_per_image": Range(1, 10_000),
    "load_size": SIDE,
    "margin": SHARE,
    "keep.newest": COUNT,
    "keep.every": COUNT_OR_NONE,
    "data.max_damaged": SHARE,
    "data.test_fraction": SHARE,
    "data.split_seed": SEED,
    "data.shard_records": Range(1, 1_000_000),
    "data.shuffle_buffer": COUNT,
    "eval.every": COUNT_OR_NONE,
    "eval.images": Range(0, 10_000_000),
    "eval.truncation": Range(0, 10, whole=False),
    "eval.batch_size": Range(1, 1_048_576),
    "eval.seed": SEED,
    "generator.features": WIDTH,
    "generator.condition": WIDTH,
    "generator.condition_slope": SHARE,
    "generator.residual_blocks": Range(0, 1_000),
    "generator.size": SIDE,
    "discriminator.features": WIDTH,
    "discriminator.condition": WIDTH,
    "discriminator.size": SIDE,
    "discriminator.view": SIDE,
    "discriminator.joint_kernel": Range(0, 64),
    "discriminator.reduce_kernel": Range(0, 64),
    "training.z_features": WIDTH,
    "training.penalty_weight": WEIGHT,
    "training.kl_weight": WEIGHT,
    "training.matching_weight": WEIGHT,
    "training.consistency_weight": WEIGHT,
    "training.diversity_weight": WEIGHT,
    "training.probe_weight": WEIGHT,
    "training.restoration_weight": WEIGHT,
    "training.spectrum_weight": WEIGHT,
    "training.cutout": SHARE,
    "training.blur_images": COUNT_OR_NONE,
    "training.epsilon_scale": Range(0, 100, whole=False),
    "training.generator_learning_rate": RATE,
    "training.discriminator_learning_rate": RATE,
    "training.learning_rate_scale": Range(0, 1_000, whole=False, above=True),
    "training.beta1": SHARE,
    "training.beta2": SHARE,
    "training.halve_every": COUNT_OR_NONE._replace(optional=True),
    "training.ema_decay": SHARE,
    "training.ema_images": COUNT_OR_NONE,
    "training.batch_norm_groups": Range(1, 1_048_576),
    "text.width": WIDTH,
    "text.features": WIDTH._replace(several=True),
    "image.features": WIDTH._replace(several=True),
    "joint.image_size": SIDE,
    "joint.learning_rate": RATE,
    "joint.learning_rate_scale": Range(0, 1_000, whole=False, above=True),
    "joint.drop_words": SHARE,
    **{f"pace.{kind}": PACE for kind in ("text_encoder", "stage1", "stage2")},
}
FLAGS = (
    "shard_state",
    "eval.attributes",
    "eval.independent",
    "text.final_pooling",
    "joint.flip",
    "training.flip",
    "training.rematerialise",
    "training.truncated_epsilon",
)
SECTIONS = frozenset(name.partition(".")[0] for name in RANGES if "." in name)


def require(config: ConfigDict, where: str = "") -> None:
    """Checks every field of a config that has a range.

    Args:
        config: of a training, or of a quickstart, whose trainings are checked one by one.
        where: what the sentence begins with, for example the file that the config was read from.

    Raises:
        UserError: a value is of the wrong type, not finite, or out of its range.
    """
    _require(config.to_dict(), where, "")


def _require(config: Mapping[str, Any], where: str, prefix: str) -> None:
    for name, value in config.items():
        if name in SECTIONS and not isinstance(value, Mapping):
            raise _problem(where, f"{prefix}{name}", value, "the fields of a section")
        if name in RANGES or not isinstance(value, Mapping):
            _require_one(where, prefix, name, value)
        elif "kind" in value:  # a training of a quickstart
            _require(value, where, f"{prefix}{name}.")
        else:
            for field, inner in value.items():
                _require_one(where, prefix, f"{name}.{field}", inner)


def _require_one(where: str, prefix: str, name: str, value: Any) -> None:
    if name in RANGES and not RANGES[name].holds(value):
        raise _problem(where, prefix + name, value, str(RANGES[name]))
    if name in FLAGS and not isinstance(value, bool):
        raise _problem(where, prefix + name, value, "true or false")


def _problem(where: str, name: str, value: Any, wanted: str) -> UserError:
    remedy = f"correct it in {where}" if where else f"set --config.{name}"
    return UserError(f"config.{name} is {value!r}, but must be {wanted}; {remedy}.")

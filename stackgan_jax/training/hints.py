"""Signs in the metrics that a training goes wrong as people know it, and what to try then.

Each sign is a pure function of the last lines of a log. A new one is a function and an entry of
`SIGNS`. docs/training.md has the runs by which the limits were set.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration

FILE = "hints.jsonl"  # in the run's folder: {"step", "sign", "sentence"} of each hint
WINDOW = 10  # log lines that a sign must hold for
LOOKS = 3  # previews likewise
AGAIN = 30  # log lines without a sign, after which it is reported once more
WON = 0.1  # the discriminator's loss on generated pairs, when it has won
CARRIED = 2.0  # nats of the sentence that the condition must be able to carry: e² sentences
FAR = 5.0  # KL divergence of each dimension, whose noise then hardly counts
IGNORED = 0.1  # noise changes pictures by this share of what the caption changes
ALIKE = 4.0  # of 255: pictures that differ by less are the same
TOO_EARLY = 300  # steps, in which pictures may be alike

Line = Mapping[str, float]


def discriminator_too_strong(lines: Sequence[Line], config: ConfigDict) -> str:
    """The discriminator is sure of generated pictures, and the generator falls behind.

    Its loss on real pairs says less, because it must also tell them from wrong captions.
    """
    fake, own = (_means(lines, name) for name in ("d_loss_fake", "g_loss"))
    half = WINDOW // 2
    if len(own) < WINDOW or fake.max() > WON or own[half:].mean() <= own[:half].mean():
        return ""
    rate = _short(config.training.discriminator_learning_rate / 4)
    augment = "training.augmentation=translation_cutout"
    other = "" if config.training.augmentation else f", or with --config.{augment}"
    return (
        f"The discriminator is too strong: its loss on generated pairs is {fake.mean():.2g}, and "
        f"the generator's rises ({own[:half].mean():.3g} to {own[half:].mean():.3g}). Try "
        f"--config.training.discriminator_learning_rate={rate}{other}."
    )


def kl_vanishes(lines: Sequence[Line], config: ConfigDict) -> str:
    """The conditioning is as good as plain noise: it distinguishes no sentence from another."""
    kl = _means(lines, "kl")
    noise = config.training.epsilon_scale
    if len(kl) < WINDOW or not noise:
        return ""
    # The capacity of a channel whose signal has the power 2·KL at most, per dimension.
    carried = config.generator.condition / 2 * np.log1p(2 * kl / noise**2)
    if carried.max() > CARRIED:
        return ""
    return (
        f"The KL divergence has vanished ({kl.mean():.2g} for each dimension): the condition is "
        "almost plain noise, and pictures can't follow their sentences. Try "
        f"--config.training.kl_weight={_short(config.training.kl_weight / 10)}."
    )


def kl_explodes(lines: Sequence[Line], config: ConfigDict) -> str:
    """The conditioning's noise hardly counts any more, so that it smooths nothing."""
    kl = _means(lines, "kl")
    if len(kl) < WINDOW or kl.min() < FAR or kl[-1] <= kl[0]:
        return ""
    weight = max(10 * config.training.kl_weight, 0.1)
    return (
        f"The KL divergence explodes ({kl[0]:.3g} to {kl[-1]:.3g} for each dimension): sentences "
        "become points without neighbours. Try "
        f"--config.training.kl_weight={_short(weight)}."
    )


def collapse(lines: Sequence[Line], config: ConfigDict) -> str:
    """Pictures of different noise are alike, or all pictures are."""
    late = [line for line in lines if line["step"] >= TOO_EARLY]
    noise, caption = (_means(late, name)[-LOOKS:] for name in ("noise_spread", "caption_spread"))
    if len(noise) < LOOKS:
        return ""
    differ = f"(root mean square {noise[-1]:.2g} of 255; of different sentences {caption[-1]:.2g})"
    rate = _short(config.training.generator_learning_rate / 2)
    slower = f"--config.training.generator_learning_rate={rate}"
    if max(noise.max(), caption.max()) < ALIKE:
        return f"The generator has collapsed: all pictures are alike {differ}. Try {slower}."
    if (noise >= IGNORED * caption).any():
        return ""
    diversity = max(10, 2 * config.training.diversity_weight)
    return (
        f"Pictures of different noise are alike {differ}: the generator ignores its noise. Try "
        f"--config.training.diversity_weight={_short(diversity)}."
    )


# Name → (last lines, config of the stage) → what is seen and what to try; "" for nothing.
SIGNS: dict[str, Callable[[Sequence[Line], ConfigDict], str]] = {
    "discriminator too strong": discriminator_too_strong,
    "KL vanishes": kl_vanishes,
    "KL explodes": kl_explodes,
    "collapse": collapse,
}


class Watch:
    """Looks at every line of a stage's log, and reports each sign once.

    A sign that has been away for AGAIN lines is reported again.

    Args:
        config: of the run; a run of no stage has no signs.
        workdir: the folder of the run, which keeps the hints in FILE.
        start: the number of steps that were done before.
        options: what options of the run begin with; in a quickstart "--config.stage1.".
    """

    def __init__(
        self, config: ConfigDict, workdir: Path, start: int, options: str = "--config."
    ) -> None:
        self._config, self._file, self._options = config, workdir / FILE, options
        self._logs: deque[Line] = deque(maxlen=WINDOW)
        self._looks: deque[Line] = deque(maxlen=LOOKS)
        self._count = 0
        if not start:
            self._file.unlink(missing_ok=True)
        self._seen = {hint["sign"]: 0 for hint in read(workdir)}  # Sign → the last line with it.

    def log(self, step: int, means: Mapping[str, float]) -> list[str]:
        """Takes a line of the log; returns the hints to print."""
        self._logs.append({"step": step, **means})
        return self._new_hints(step)

    def look(self, step: int, measured: Mapping[str, float]) -> list[str]:
        """Takes what was measured of a preview, likewise."""
        self._looks.append({"step": step, **measured})
        return self._new_hints(step)

    def _new_hints(self, step: int) -> list[str]:
        if not configuration.is_stage(self._config):
            return []
        self._count += 1
        hints = []
        for sign, seen in SIGNS.items():
            sentence = seen([*self._logs, *self._looks], self._config)
            if sentence and self._count - self._seen.get(sign, -AGAIN) >= AGAIN:
                sentence = sentence.replace("--config.", self._options)
                hints.append(sentence)
                self._keep({"step": step, "sign": sign, "sentence": sentence})
            if sentence:
                self._seen[sign] = self._count
        return hints

    def _keep(self, hint: Mapping[str, object]) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(hint, ensure_ascii=False) + "\n")


def read(workdir: Path) -> list[dict[str, object]]:
    """The hints that a run was given, in order; those that can't be read are left out."""
    path = workdir / FILE
    if not path.exists():
        return []
    hints = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            hint = json.loads(line)
            hints.append({name: hint[name] for name in ("step", "sign", "sentence")})
        except (ValueError, KeyError, TypeError):
            continue
    return hints


def _means(lines: Sequence[Line], name: str) -> np.ndarray:
    return np.array([line[name] for line in lines if name in line])


def _short(value: float) -> str:
    """A number with two digits that matter: 100, 0.00015."""
    return f"{float(f'{value:.2g}'):g}"

"""How long a training, and those that follow it in a quickstart, will take, as far as is known."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration

# The parts of a config that a step's time depends on, beside the machine.
WORK = ("batch_size", "encoder", "text", "image", "generator", "discriminator", "load_size")


@dataclasses.dataclass(frozen=True)
class Outlook:
    """The place of a training among those of a quickstart.

    Attributes:
        number: of this training, from 1.
        total: how many there are.
        later: title of each later training → how many times as long as a step of this one all of
            its steps take; None where that is not known.
        options: what this training's options begin with.
    """

    number: int = 1
    total: int = 1
    later: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    options: str = "--config."

    @property
    def place(self) -> str:
        """What stands before a training's name: "2/3 "; "" for a training alone."""
        return f"{self.number}/{self.total} " if self.total > 1 else ""

    def eta(self, steps: int, steps_per_second: float) -> str:
        """The remaining time of everything in words; "" while the speed is not known.

        Args:
            steps: that are left of this training.
            steps_per_second: its speed.
        """
        if not steps_per_second:
            return ""
        own = steps / steps_per_second
        if not self.later:
            return f"ETA {clock(own)}"
        unknown = [title for title, times in self.later.items() if times is None]
        whole = own + sum(filter(None, self.later.values())) / steps_per_second
        if unknown:
            return f"ETA at least {clock(whole)}, without {' and '.join(unknown)}"
        return f"ETA about {clock(whole)}, of it {clock(own)} here"


def of_quickstart(config: ConfigDict, done: Mapping[str, int], number: int) -> Outlook:
    """The outlook of one training of a quickstart.

    Later trainings' speeds are estimated by `config.pace`, the seconds of a step of each on one
    machine, of which only the ratio is used; where networks or devices are others, they are not.

    Args:
        config: of the quickstart.
        done: kind of training → its steps that have been done.
        number: of the training, from 1.
    """
    stages = configuration.stages(config)
    pace = _pace(config, stages)
    own = pace.get(stages[number - 1].kind)
    later = {
        stage.name: own and pace.get(stage.kind) and steps * pace[stage.kind] / own
        for stage in stages[number:]
        if (steps := stage.steps - done.get(stage.kind, 0)) > 0
    }
    kind = stages[number - 1].kind
    return Outlook(number, len(stages), later, options=f"--config.{kind}.")


def _pace(config: ConfigDict, stages: Sequence[ConfigDict]) -> dict[str, float]:
    """`config.pace` of the trainings whose steps are as it was measured: on a CPU, as packaged."""
    if "pace" not in config or jax.default_backend() != "cpu":
        return {}
    packaged = configuration.load("quickstart.py")
    return {
        stage.kind: config.pace[stage.kind]
        for stage in stages
        if stage.kind in config.pace and _work(stage) == _work(packaged[stage.kind])
    }


def _work(stage: ConfigDict) -> dict[str, object]:
    return {k: v for k, v in configuration.flat(stage).items() if k.split(".")[0] in WORK}


def clock(seconds: float) -> str:
    """Returns seconds as h:mm:ss."""
    if not math.isfinite(seconds):
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

"""How many of the attributes that captions name are found in the pictures drawn for them."""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_jax.data import augment
from stackgan_jax.data.images import to_float
from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.data.synthetic_birds.attributes import COLOUR_ATTRIBUTES
from stackgan_jax.data.synthetic_birds.captions import attributes_named
from stackgan_jax.evaluation import attributes
from stackgan_jax.evaluation.unseen import Unseen
from stackgan_jax.runtime.errors import UserError

SAY_EVERY = 5.0  # seconds between lines of progress


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What captions wanted and what was read in their pictures.

    Attributes:
      held_out: attribute → share of held-out real images that the classifier reads rightly.
      judged: the attributes that it reads well enough.
      wanted: for each caption what it names of those, attribute → value.
      shares: "stage1", "stage2", "real", "chance" → what `attributes.score` gives.
      read: "stage1", "stage2" → attribute → `[n]` values that the classifier reads.
    """

    held_out: Mapping[str, float]
    judged: Sequence[str]
    wanted: Sequence[Mapping[str, str]]
    shares: Mapping[str, Mapping[str, float]]
    read: Mapping[str, Mapping[str, np.ndarray]]

    def found(self, kind: str, index: int) -> dict[str, tuple[str, str]]:
        """Attribute → (value wanted, value read) for one picture."""
        read = self.read[kind]
        return {name: (value, str(read[name][index])) for name, value in self.wanted[index].items()}

    def facts(self) -> dict[str, Any]:
        """For report.json."""
        counts = {name: sum(name in each for each in self.wanted) for name in self.judged}
        colours = [name for name in COLOUR_ATTRIBUTES if name in self.judged]
        return {
            "attribute_accuracy": {kind: _rounded(shares) for kind, shares in self.shares.items()},
            "attributes_named": {
                "overall": sum(counts.values()),
                "colours": sum(counts[name] for name in colours),
                **counts,
            },
            "classifier": {
                "held_out_accuracy": _rounded(self.held_out),
                "required": attributes.REQUIRED_ACCURACY,
                "judged": list(self.judged),
                "colours": colours,
            },
        }


def judge(
    unseen: Unseen, load: Callable[[str, int], Split], folder: Path, seed: int
) -> Judgement | None:
    """Reads the pictures of unseen captions; None for data without the attributes.

    Chance is what the real images of other captions score.

    Args:
      unseen: captions and pictures.
      load: split name, load size → a split of their data set.
      folder: where the classifier is kept, so that it is trained once.
      seed: of its training.
    """
    if not unseen.test.attributes:
        return None
    classifier = trained(load, folder, seed)
    named = [attributes_named(caption) for caption in unseen.captions]
    wanted = [{name: each[name] for name in classifier.judged if name in each} for each in named]
    drawn = {kind: to_float(pictures) for kind, pictures in unseen.drawn.items()}
    real = to_float(unseen.real)
    read = {kind: classifier.read(each) for kind, each in drawn.items()}
    shares = {
        kind: attributes.score(classifier, each, wanted)
        for kind, each in {**drawn, "real": real}.items()
    }
    shares["chance"] = attributes.chance(classifier, real, wanted)
    return Judgement(classifier.accuracy, classifier.judged, wanted, shares, read)


def trained(
    load: Callable[[str, int], Split],
    folder: Path,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> attributes.Judge:
    """The classifier kept in `folder`, or a new one where there is none of these data.

    `progress` is `attributes.train`'s, and tells on the terminal by default.
    """
    size = augment.load_size(attributes.WORKING_SIZE)
    training, held_out = load("train", size), load("test", size)
    digest = hashlib.sha256(np.ascontiguousarray(held_out.images))
    path = folder / f"classifier-{len(training)}-{digest.hexdigest()[:16]}.msgpack"
    try:
        return attributes.load(path)
    except UserError:  # not there yet, or of another version
        pass
    if progress is None:
        print("Training the attribute classifier …", flush=True)
    classifier = attributes.train(
        training.images,
        training.attributes,
        held_out.images,
        held_out.attributes,
        seed=seed,
        progress=progress or _Progress(),
    )
    classifier.save(path)
    return classifier


class _Progress:
    """Says now and then how far the classifier is."""

    def __init__(self):
        self.began = self.said = None

    def __call__(self, done: int, steps: int) -> None:
        now = time.monotonic()
        if done == 1:  # before that it was compiled
            self.began = self.said = now
        elif now - self.said >= SAY_EVERY:
            self.said = now
            left = (now - self.began) / (done - 1) * (steps - done)
            print(f"attribute classifier {done:,}/{steps:,} | ETA {left:.0f} s", flush=True)


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}

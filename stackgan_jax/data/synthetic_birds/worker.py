"""Draws the images of a synthetic-birds data set and writes their captions, in several processes.

`python -m stackgan_jax.data.synthetic_birds.worker` is one worker process. It imports numpy and
Pillow only, so it starts fast. It is a separate program, so that nothing of the calling process
(threads of JAX or TensorFlow, a `__main__` without a guard) is forked or imported again.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import stackgan_jax
from stackgan_jax.data.synthetic_birds import attributes, captions, drawing

_JPEG = {"format": "JPEG", "quality": 94, "subsampling": 0}


@dataclasses.dataclass(frozen=True)
class Plan:
    """The size of a data set.

    Attributes:
      train_species: how many species are for training.
      test_species: how many species are for testing.
      images_per_species: how many images each species has.
      seed: of all random draws.
      directions: the directions that the birds may face.
    """

    train_species: int
    test_species: int
    images_per_species: int
    seed: int = 0
    directions: tuple[str, ...] = attributes.IMAGE_ATTRIBUTES["direction"]

    @property
    def train_images(self) -> int:
        """The number of training images; they come first."""
        return self.train_species * self.images_per_species

    @property
    def images(self) -> int:
        """The number of images."""
        return (self.train_species + self.test_species) * self.images_per_species

    def species(self) -> list[attributes.Species]:
        """Returns all species, those for training first."""
        return attributes.species(self.seed, self.train_species, self.test_species)


def example(plan: Plan, species: Sequence[attributes.Species], index: int) -> dict[str, Any]:
    """Returns one image of a data set with its captions, a function of the arguments alone.

    Args:
      plan: the data set.
      species: `plan.species()`.
      index: of the image, 0 to `plan.images` - 1.

    Returns:
      A dictionary of image (JPEG bytes), captions (list of str), label (index of the species),
      box (ymin, xmin, ymax, xmax in [0, 1]), filename, attributes (attribute → value).
    """
    kind = species[index // plan.images_per_species]
    rng = attributes.stream(plan.seed, "individual", index)
    bird = attributes.individual(kind, rng, plan.directions)
    image, box = drawing.draw(bird, attributes.stream(plan.seed, "drawing", index))
    texts = captions.captions(attributes.stream(plan.seed, "captions", index), bird)
    encoded = io.BytesIO()
    image.save(encoded, **_JPEG)
    return {
        "image": encoded.getvalue(),
        "captions": [text for text, _ in texts],
        "label": kind.index,
        "box": box,
        "filename": f"{kind.name}/{index:06d}.jpg",
        "attributes": bird,
    }


def _start(plan: Plan, indices: range) -> subprocess.Popen:
    """Starts a worker process that writes the pickled examples of `indices` to its output."""
    task = {"plan": dataclasses.asdict(plan), "range": (indices.start, indices.stop, indices.step)}
    package = pathlib.Path(stackgan_jax.__file__).parents[1]
    paths = [os.fspath(package), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", __name__, json.dumps(task)]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )


def examples(plan: Plan, indices: range, workers: int) -> Iterator[dict[str, Any]]:
    """Yields the `example` of each index in order.

    If a worker process can't be started or dies, its images are drawn in this process instead.

    Args:
      plan: the data set.
      indices: the images to draw.
      workers: how many processes draw; 1 draws in this process.
    """
    species = plan.species()
    with contextlib.ExitStack() as stack:
        started = []
        for offset in range(workers if workers > 1 else 0):
            with contextlib.suppress(OSError):
                part = indices[offset::workers]
                process = _start(plan, part)
                stack.callback(_stop, process)
                started.append((process, part))
        source = {index: process for process, part in started for index in part}
        for index in indices:
            try:
                yield pickle.load(source[index].stdout)
            except (KeyError, EOFError, pickle.UnpicklingError):
                yield example(plan, species, index)


def _stop(process: subprocess.Popen) -> None:
    process.kill()
    process.stdout.close()
    process.wait()


def main() -> None:
    """Runs one worker process; its task is JSON in the first argument."""
    task = json.loads(sys.argv[1])
    plan, output = Plan(**task["plan"]), sys.stdout.buffer
    species = plan.species()
    # The calling process stops reading after an interrupt or an error; the worker ends then.
    with contextlib.suppress(BrokenPipeError):
        for index in range(*task["range"]):
            pickle.dump(example(plan, species, index), output)
            output.flush()


if __name__ == "__main__":
    main()

"""Draws and describes the images of a synthetic-birds data set, in processes of their own.

`python -m stackgan_jax.data.synthetic_birds.worker` is a worker: numpy and Pillow only, so it
starts at once, and a program of its own, so that nothing of the caller (JAX's or TensorFlow's
threads, a `__main__` without a guard) is forked or imported again.
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

import stackgan_jax
from stackgan_jax.data.synthetic_birds import attributes, captions, drawing

_JPEG = {"format": "JPEG", "quality": 94, "subsampling": 0}


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many species there are to train and to test on, how many images of each, and which way
    the birds in them may look."""

    train_species: int
    test_species: int
    images_per_species: int
    seed: int = 0
    directions: tuple[str, ...] = attributes.IMAGE_ATTRIBUTES["direction"]

    @property
    def train_images(self):
        return self.train_species * self.images_per_species

    @property
    def images(self):
        return (self.train_species + self.test_species) * self.images_per_species

    def species(self):
        """Every `Species`, those for training first."""
        return attributes.species(self.seed, self.train_species, self.test_species)


def example(plan, species, index):
    """Image `index` of a data set, with its description; a function of its arguments alone.

    Returns:
        dict of image (JPEG bytes), captions (list of str), label (the species' index), box (ymin,
        xmin, ymax, xmax in [0, 1]), filename, attributes (attribute → value).
    """
    kind = species[index // plan.images_per_species]
    own = attributes.stream(plan.seed, "individual", index)
    bird = attributes.individual(kind, own, plan.directions)
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


def _start(plan, indices):
    """Starts a worker that writes the pickled examples of a range of indices to its output."""
    task = {"plan": dataclasses.asdict(plan), "range": (indices.start, indices.stop, indices.step)}
    package = pathlib.Path(stackgan_jax.__file__).parents[1]
    paths = [os.fspath(package), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", __name__, json.dumps(task)]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )


def examples(plan, indices, workers):
    """Yields `example` of each index of a range in order, drawn by that many processes.

    What a worker that could not start or died would have drawn is drawn here instead.
    """
    species = plan.species()
    with contextlib.ExitStack() as stack:
        running = []
        for offset in range(workers if workers > 1 else 0):
            with contextlib.suppress(OSError):
                part = indices[offset::workers]
                running.append((_start(plan, part), part))
                stack.callback(_stop, running[-1][0])
        source = {index: worker for worker, part in running for index in part}
        for index in indices:
            try:
                yield pickle.load(source[index].stdout)
            except (KeyError, EOFError, pickle.UnpicklingError):
                yield example(plan, species, index)


def _stop(worker):
    worker.kill()
    worker.stdout.close()
    worker.wait()


def main():
    task = json.loads(sys.argv[1])
    plan, output = Plan(**task["plan"]), sys.stdout.buffer
    species = plan.species()
    # The caller may stop reading (an interrupt, an error); then there is nothing left to do.
    with contextlib.suppress(BrokenPipeError):
        for index in range(*task["range"]):
            pickle.dump(example(plan, species, index), output)
            output.flush()


if __name__ == "__main__":
    main()

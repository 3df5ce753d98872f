"""The embedded data set: drawn birds with captions, a stand-in for CUB (StackGAN, sec. 4.1)."""

import collections
import concurrent.futures
import dataclasses
import io
import os
import sys
import time

import tensorflow_datasets as tfds

from stackgan_jax.datasets import birds_attributes as attributes
from stackgan_jax.datasets import birds_captions, birds_drawing

_JPEG = {"format": "JPEG", "quality": 94, "subsampling": 0}


@dataclasses.dataclass
class BirdsConfig(tfds.core.BuilderConfig):
    """How many species there are to train and to test on, and how many images of each."""

    train_species: int = 0
    test_species: int = 0
    images_per_species: int = 0
    seed: int = 0

    def all_species(self):
        """Every `Species`, those for training first."""
        return attributes.species(self.seed, self.train_species, self.test_species)


class _Progress:
    """Says on the terminal how many images are drawn and how long the rest will take."""

    def __init__(self, what, total, every=5.0):
        self.what, self.total, self.every = what, total, every
        self.began = self.said = time.monotonic()

    def __call__(self, done):
        now = time.monotonic()
        if done < self.total and now - self.said < (0.5 if sys.stderr.isatty() else self.every):
            return
        self.said = now
        left = (now - self.began) * (self.total - done) / done
        text = f"{self.what}: {done} of {self.total} images drawn, {left:.0f} s left"
        terminal = sys.stderr.isatty()
        end = "" if terminal and done < self.total else "\n"
        print(f"\r{text}" if terminal else text, end=end, file=sys.stderr, flush=True)


def bird(config, species, index):
    """Attributes of image `index` (a function of the config's seed and the index alone)."""
    kind = species[index // config.images_per_species]
    return attributes.individual(kind, attributes.stream(config.seed, "individual", index))


def example(config, species, index):
    """Draws and describes image `index`; see `SyntheticBirds._info` for what the fields hold."""
    values = bird(config, species, index)
    image, box = birds_drawing.draw(values, attributes.stream(config.seed, "drawing", index))
    texts = birds_captions.captions(attributes.stream(config.seed, "captions", index), values)
    encoded = io.BytesIO()
    image.save(encoded, **_JPEG)
    kind = species[index // config.images_per_species]
    return {
        "image": encoded.getvalue(),
        "captions": [text for text, _ in texts],
        "label": kind.index,
        "bbox": tfds.features.BBox(*box),
        "filename": f"{kind.name}/{index:06d}.jpg",
        "attributes": values,
    }


def _in_order(function, items, workers):
    """`map` over threads (Pillow and numpy release the interpreter), few results held at a time."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        waiting = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class SyntheticBirds(tfds.core.GeneratorBasedBuilder):
    """Birds drawn by this project, described by ten captions each; nothing is downloaded.

    The images are already crops around the bird (304 x 304); classes are species, whose colours,
    beak, pattern, tail, size and eyes are fixed, while pose, direction and background vary from
    image to image. Test species are combinations of colours that no training species has.
    """

    VERSION = tfds.core.Version("0.9.0")
    BUILDER_CONFIGS = [  # noqa: RUF012  (tfds expects a class attribute)
        BirdsConfig(
            name="small",
            description="3,000 images of 600 species, for the quickstart.",
            train_species=504,
            test_species=96,
            images_per_species=5,
        ),
        BirdsConfig(
            name="large",
            description="24,000 images of 2,000 species, for real work.",
            train_species=1600,
            test_species=400,
            images_per_species=12,
            seed=1,
        ),
        BirdsConfig(
            name="tiny",
            description="48 images of 16 species, for tests.",
            train_species=12,
            test_species=4,
            images_per_species=3,
            seed=2,
        ),
    ]

    def _info(self):
        size = birds_drawing.SIZE
        return tfds.core.DatasetInfo(
            builder=self,
            description="Drawn birds with ten English captions each, for text-to-image synthesis.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(size, size, 3), encoding_format="jpeg"),
                    "captions": tfds.features.Sequence(tfds.features.Text()),
                    "label": tfds.features.ClassLabel(
                        names=[kind.name for kind in self.builder_config.all_species()]
                    ),
                    "bbox": tfds.features.BBoxFeature(),
                    "filename": tfds.features.Text(),
                    "attributes": {
                        name: tfds.features.ClassLabel(names=values)
                        for name, values in attributes.ATTRIBUTES.items()
                    },
                }
            ),
            supervised_keys=None,
            homepage="https://arxiv.org/abs/1612.03242",
            citation="Drawn by stackgan_jax itself; nothing to cite.",
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing is downloaded
        config = self.builder_config
        first_test = config.train_species * config.images_per_species
        count = (config.train_species + config.test_species) * config.images_per_species
        return {
            "train": self._generate_examples("train", range(first_test)),
            "test": self._generate_examples("test", range(first_test, count)),
        }

    def _generate_examples(self, split, indices):
        config, species = self.builder_config, self.builder_config.all_species()
        workers = min(4, len(os.sched_getaffinity(0)))
        progress = _Progress(f"{self.name}/{config.name} {split}", len(indices))
        examples = _in_order(lambda index: example(config, species, index), indices, workers)
        for done, (index, record) in enumerate(zip(indices, examples, strict=True), 1):
            progress(done)
            yield index, record

"""The TFDS builder of the embedded data set: drawn birds that replace CUB (StackGAN, sec. 4.1)."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from stackgan_jax.data.synthetic_birds import attributes, skeleton, worker
from stackgan_jax.runtime import cores
from stackgan_jax.runtime.progress import Progress


@dataclasses.dataclass
class BirdsConfig(tfds.core.BuilderConfig):
    """One configuration of the data set; `plan` gives the numbers of species and images."""

    plan: worker.Plan | None = None


class SyntheticBirds(tfds.core.GeneratorBasedBuilder):
    """Birds drawn by this project, with ten captions each; nothing is downloaded.

    The images are crops around the bird (304 x 304). The classes are species. A species fixes the
    colours, beak, pattern, tail, size and eyes; pose, direction and background vary from image to
    image. The test species have combinations of colours that no training species has.
    """

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = [  # noqa: RUF012  (TFDS prescribes the name and the type)
        BirdsConfig(
            name="small",
            description="3,000 images of 600 species, for a laptop.",
            plan=worker.Plan(504, 96, images_per_species=5, seed=0),
        ),
        BirdsConfig(
            name="quickstart",
            description="3,000 images of 600 species; all face right, which is easier to learn.",
            plan=worker.Plan(504, 96, images_per_species=5, seed=0, directions=("right",)),
        ),
        BirdsConfig(
            name="large",
            description="24,000 images of 2,000 species, for real work.",
            plan=worker.Plan(1600, 400, images_per_species=12, seed=1),
        ),
        BirdsConfig(
            name="tiny",
            description="48 images of 16 species, for tests.",
            plan=worker.Plan(12, 4, images_per_species=3, seed=2),
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        size = skeleton.SIZE
        names = [kind.name for kind in self.builder_config.plan.species()]
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(size, size, 3), encoding_format="jpeg"),
                    "captions": tfds.features.Sequence(tfds.features.Text()),
                    "label": tfds.features.ClassLabel(names=names),
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

    def _split_generators(self, dl_manager: Any) -> Mapping[str, Iterator]:
        del dl_manager  # nothing is downloaded
        plan = self.builder_config.plan
        return {
            "train": self._generate_examples("train", range(plan.train_images)),
            "test": self._generate_examples("test", range(plan.train_images, plan.images)),
        }

    def _generate_examples(self, split: str, indices: range) -> Iterator[tuple[int, dict]]:
        progress = Progress(
            f"{self.name}/{self.builder_config.name} {split}", len(indices), "drawn"
        )
        # For a few images, starting processes takes longer than drawing.
        workers = min(4, cores.usable()) if len(indices) > 100 else 1
        drawn = worker.examples(self.builder_config.plan, indices, workers)
        for done, (index, example) in enumerate(zip(indices, drawn, strict=True), 1):
            example["bbox"] = tfds.features.BBox(*example.pop("box"))
            progress(done)
            yield index, example

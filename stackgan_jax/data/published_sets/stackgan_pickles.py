"""Birds or flowers in the pickles that StackGAN's own preprocessing writes: images and classes."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from stackgan_jax.data.published_sets import stackgan_files
from stackgan_jax.data.published_sets.builder import SPLITS, PublishedSetBuilder
from stackgan_jax.runtime.errors import UserError

IMAGES = "misc/preprocess_birds.py (or _flowers.py) of StackGAN, github.com/hanzhanggit/StackGAN"


class StackganPickles(PublishedSetBuilder):
    """The folders `train` and `test` of StackGAN's Data/birds or Data/flowers.

    The images are already cropped and reduced: to 76 pixels for Stage I, to 304 for Stage II. The
    captions are in `text_c10`, if that folder exists.
    """

    BUILDER_CONFIGS = [  # noqa: RUF012  (name and type are given by TFDS)
        tfds.core.BuilderConfig(name="76", description="Images of 76 pixels, for Stage I."),
        tfds.core.BuilderConfig(name="304", description="Images of 304 pixels, for Stage II."),
    ]
    HOMEPAGE = "https://github.com/hanzhanggit/StackGAN"
    CITATION = "Zhang et al., StackGAN, ICCV 2017."
    ENCODING = "png"

    @classmethod
    def required_files(cls, config: str | None) -> dict[str, str]:
        """See PublishedSetBuilder."""
        size = config or cls.BUILDER_CONFIGS[0].name
        files = {
            "filenames.pickle": stackgan_files.DATA,
            "class_info.pickle": stackgan_files.DATA,
            f"{size}images.pickle": IMAGES,
        }
        return {f"{split}/{file}": origin for split in SPLITS for file, origin in files.items()}

    @classmethod
    def optional_files(cls) -> Sequence[str]:
        """See PublishedSetBuilder."""
        embeddings = [f"{split}/{stackgan_files.EMBEDDINGS}" for split in SPLITS]
        return [stackgan_files.TEXTS, *embeddings]

    def examples(self, root: Path, split: str) -> Sequence[dict[str, Any]]:
        """See PublishedSetBuilder; `image` is the path of the pickle with all images."""
        names = stackgan_files.read_names(root, split)
        labels = stackgan_files.read_labels(root, split)
        stackgan_files.require_as_many(root / split, filenames=names, class_info=labels)
        captions = stackgan_files.read_captions(root, split, names, labels)
        path = root / split / f"{self.builder_config.name}images.pickle"
        return [
            {"image": path, "filename": name, "label": label, "captions": sentences}
            for name, label, sentences in zip(names, labels, captions, strict=True)
        ]

    def _generate_examples(self, split: str, examples: Sequence[dict[str, Any]]) -> Iterator:
        path = examples[0]["image"]
        self._images = stackgan_files.entries(path)
        stackgan_files.require_as_many(path.parent, filenames=examples, images=self._images)
        yield from super()._generate_examples(split, examples)

    def _encoded(self, index: int, example: dict[str, Any]) -> bytes:
        image, size = self._images[index], int(self.builder_config.name)
        if getattr(image, "shape", None) != (size, size, 3) or image.dtype != np.uint8:
            raise UserError(
                f"{example['image']} holds for {example['filename']} no picture of {size} x {size} "
                f"pixels with 8 bits and three colours; create the file with {IMAGES}."
            )
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, "PNG", compress_level=1)
        return encoded.getvalue()

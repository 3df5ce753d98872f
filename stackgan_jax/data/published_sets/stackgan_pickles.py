"""Birds or flowers as StackGAN's own program prepared them: pickles of images and classes."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from stackgan_jax.data.published_sets import stackgan_files
from stackgan_jax.data.published_sets.owners_builder import SPLITS, OwnersFilesBuilder
from stackgan_jax.runtime.errors import UserError

IMAGES = "misc/preprocess_birds.py (or _flowers.py) of StackGAN, github.com/hanzhanggit/StackGAN"


class StackganPickles(OwnersFilesBuilder):
    """The folders `train` and `test` of StackGAN's Data/birds or Data/flowers.

    The images are cut and reduced already, to 76 pixels for Stage I and to 304 for Stage II.
    Captions are those of `text_c10`, where that is there.
    """

    BUILDER_CONFIGS = [  # noqa: RUF012  (the name and the type are tfds's)
        tfds.core.BuilderConfig(name="76", description="Images of 76 pixels, for Stage I."),
        tfds.core.BuilderConfig(name="304", description="Images of 304 pixels, for Stage II."),
    ]
    HOMEPAGE = "https://github.com/hanzhanggit/StackGAN"
    CITATION = "Zhang et al., StackGAN, ICCV 2017."
    ENCODING = "png"

    @classmethod
    def needed(cls, config: str | None) -> dict[str, str]:
        size = config or cls.BUILDER_CONFIGS[0].name
        files = {
            "filenames.pickle": stackgan_files.DATA,
            "class_info.pickle": stackgan_files.DATA,
            f"{size}images.pickle": IMAGES,
        }
        return {f"{split}/{file}": origin for split in SPLITS for file, origin in files.items()}

    @classmethod
    def optional(cls) -> Sequence[str]:
        embeddings = [f"{split}/{stackgan_files.EMBEDDINGS}" for split in SPLITS]
        return [stackgan_files.TEXTS, *embeddings]

    def examples(self, root: Path, split: str) -> Sequence[dict[str, Any]]:
        names = stackgan_files.read_names(root, split)
        labels = stackgan_files.read_labels(root, split)
        stackgan_files.require_as_many(root / split, filenames=names, class_info=labels)
        described = stackgan_files.read_captions(root, split, names, labels)
        path = root / split / f"{self.builder_config.name}images.pickle"
        keys = ("image", "filename", "label", "captions")
        rows = zip([path] * len(names), names, labels, described, strict=True)
        return [dict(zip(keys, row, strict=True)) for row in rows]

    def _generate_examples(self, split: str, examples: Sequence[dict[str, Any]]) -> Iterator:
        path = examples[0]["image"]
        self._images = stackgan_files.entries(path)
        stackgan_files.require_as_many(path.parent, filenames=examples, images=self._images)
        yield from super()._generate_examples(split, examples)

    def _encoded(self, place: int, example: dict[str, Any]) -> bytes:
        image, size = self._images[place], int(self.builder_config.name)
        if getattr(image, "shape", None) != (size, size, 3) or image.dtype != np.uint8:
            raise UserError(
                f"{example['image']} holds for {example['filename']} no picture of {size} x {size} "
                f"pixels, 8 bits and three colours; such are made by {IMAGES}."
            )
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, "PNG", compress_level=1)
        return encoded.getvalue()

"""CUB-200-2011: birds with boxes, and the captions of Reed et al. (StackGAN, sec. 4.1)."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image

from stackgan_jax.data.published_sets import source_files
from stackgan_jax.data.published_sets.builder import PublishedSetBuilder
from stackgan_jax.runtime.errors import UserError

IMAGES, TEXTS = "CUB_200_2011", "cvpr2016_cub"
CALTECH = "CUB_200_2011.tgz of Caltech, www.vision.caltech.edu/datasets/cub_200_2011"
REED = "cvpr2016_cub.tar.gz, birds, of Reed et al., github.com/reedscot/cvpr2016"


class Birds(PublishedSetBuilder):
    """11,788 photographs of birds of 200 species, with boxes and ten captions each.

    The 8,855 images of 150 species are for training, the 2,933 images of the other 50 species for
    testing, as in Reed et al. (CVPR 2016) and later work. A label is CUB's class number minus one.
    """

    HOMEPAGE = "https://www.vision.caltech.edu/datasets/cub_200_2011"
    CITATION = "Wah et al., 2011 (images); Reed et al., CVPR 2016 (captions)."
    BOXES = True

    @classmethod
    def required_files(cls, config: str | None) -> dict[str, str]:
        """See PublishedSetBuilder."""
        return {
            f"{IMAGES}/images.txt": CALTECH,
            f"{IMAGES}/image_class_labels.txt": CALTECH,
            f"{IMAGES}/bounding_boxes.txt": CALTECH,
            f"{IMAGES}/images": CALTECH,
            f"{TEXTS}/testclasses.txt": REED,
            f"{TEXTS}/text_c10": REED,
        }

    @classmethod
    def optional_files(cls) -> Sequence[str]:
        """See PublishedSetBuilder."""
        return source_files.optional_class_lists(TEXTS)

    def examples(self, root: Path, split: str) -> Sequence[dict[str, Any]]:
        """See PublishedSetBuilder."""
        species = source_files.classes(root, TEXTS, split, REED)
        files = _table(root, "images.txt", str, 1)
        labels = _table(root, "image_class_labels.txt", int, 1)
        boxes = _table(root, "bounding_boxes.txt", float, 4)
        if unknown := files.keys() - (labels.keys() & boxes.keys()):
            raise UserError(
                f"Image {min(unknown)} of {root / IMAGES}/images.txt has no class or no box; "
                f"unpack {CALTECH} again."
            )
        return [
            _example(root, file, labels[number][0] - 1, boxes[number])
            for number, (file,) in files.items()
            if file.split("/")[0] in species
        ]


def _example(root: Path, file: str, label: int, box: Sequence[float]) -> dict[str, Any]:
    image = source_files.require(root, f"{IMAGES}/images/{file}", CALTECH)
    text = f"{TEXTS}/text_c10/{PurePosixPath(file).with_suffix('.txt')}"
    return {
        "image": image,
        "captions": source_files.captions(source_files.require(root, text, REED)),
        "label": label,
        "filename": file,
        "bbox": _fractions(image, box),
    }


def _fractions(image: Path, box: Sequence[float]) -> tfds.features.BBox:
    """(left, top, width, height) in pixels → TFDS's box in fractions of the image."""
    try:
        with Image.open(image) as opened:
            across, down = opened.size
    except Exception:  # The image is damaged; decoding will report it and needs no box.
        return tfds.features.BBox(0.0, 0.0, 1.0, 1.0)
    left, top, width, height = box
    right, bottom = min(left + width, across), min(top + height, down)
    return tfds.features.BBox(top / down, left / across, bottom / down, right / across)


def _table(root: Path, name: str, kind: type, columns: int) -> dict[str, list[Any]]:
    """A file with lines `<image number> <value> …` → image number → values."""
    path, table = root / IMAGES / name, {}
    for line in source_files.lines(path):
        number, *values = line.split()
        try:
            table[number] = [kind(value) for value in values]
        except ValueError:
            values = ()
        if len(values) != columns:
            raise UserError(f"{path} has an invalid line, {line[:60]!r}; unpack {CALTECH} again.")
    return table

"""Oxford-102: photographs of flowers, and the captions of Reed et al. (StackGAN, sec. 4.1)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stackgan_jax.data.published_sets import source_files
from stackgan_jax.data.published_sets.builder import PublishedSetBuilder
from stackgan_jax.runtime.errors import UserError

TEXTS = "cvpr2016_flowers"
OXFORD = "102flowers.tgz of Oxford, www.robots.ox.ac.uk/~vgg/data/flowers/102"
REED = "cvpr2016_flowers.tar.gz, flowers, of Reed et al., github.com/reedscot/cvpr2016"


class Flowers(PublishedSetBuilder):
    """8,189 photographs of flowers of 102 classes, ten captions each.

    The 7,034 images of 82 classes are for training, the 1,155 images of the other 20 classes for
    testing, as in Reed et al. (CVPR 2016) and later work. A label is Oxford's class number minus
    one.
    """

    HOMEPAGE = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"
    CITATION = "Nilsback and Zisserman, 2008 (images); Reed et al., CVPR 2016 (captions)."

    @classmethod
    def required_files(cls, config: str | None) -> dict[str, str]:
        """See PublishedSetBuilder."""
        return {
            "jpg": OXFORD,
            f"{TEXTS}/testclasses.txt": REED,
            f"{TEXTS}/text_c10": REED,
        }

    @classmethod
    def optional_files(cls) -> Sequence[str]:
        """See PublishedSetBuilder."""
        return source_files.optional_class_lists(TEXTS)

    def examples(self, root: Path, split: str) -> Sequence[dict[str, Any]]:
        """See PublishedSetBuilder."""
        # The folder of an image's captions gives its class, as Oxford's imagelabels.mat does.
        return [
            {
                "image": source_files.require(root, f"jpg/{text.stem}.jpg", OXFORD),
                "captions": source_files.captions(text),
                "label": _class_number(name) - 1,
                "filename": f"{text.stem}.jpg",
            }
            for name in sorted(source_files.classes(root, TEXTS, split, REED))
            for text in sorted(
                source_files.require(root, f"{TEXTS}/text_c10/{name}", REED).glob("*.txt")
            )
        ]


def _class_number(name: str) -> int:
    """class_00077 → 77."""
    digits = name.removeprefix("class_")
    if not digits.isdecimal():
        raise UserError(
            f"{TEXTS} lists a class {name[:40]!r}, which is not one of class_00001 to class_00102; "
            f"unpack {REED} again."
        )
    return int(digits)

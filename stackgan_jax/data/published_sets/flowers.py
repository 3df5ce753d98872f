"""Oxford-102: photographs of flowers, and the captions of Reed et al. (StackGAN, sec. 4.1)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stackgan_jax.data.published_sets import owners_files
from stackgan_jax.data.published_sets.owners_builder import OwnersFilesBuilder
from stackgan_jax.runtime.errors import UserError

TEXTS = "cvpr2016_flowers"
OXFORD = "102flowers.tgz of Oxford, www.robots.ox.ac.uk/~vgg/data/flowers/102"
REED = "cvpr2016_flowers.tar.gz, flowers, of Reed et al., github.com/reedscot/cvpr2016"


class Oxford102(OwnersFilesBuilder):
    """8,189 photographs of 102 kinds of flowers, ten captions each.

    The 7,034 images of 82 kinds are for training and the 1,155 of the other 20 for testing, as in
    Reed et al. (CVPR 2016) and since. A label is Oxford's number of the kind, less one.
    """

    HOMEPAGE = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"
    CITATION = "Nilsback and Zisserman, 2008 (images); Reed et al., CVPR 2016 (captions)."

    @classmethod
    def needed(cls, config: str | None) -> dict[str, str]:
        return {
            "jpg": OXFORD,
            f"{TEXTS}/testclasses.txt": REED,
            f"{TEXTS}/text_c10": REED,
        }

    @classmethod
    def optional(cls) -> Sequence[str]:
        lists = (owners_files.WHOLE, *owners_files.PARTS)
        return [f"{TEXTS}/{name}" for name in lists]

    def examples(self, root: Path, split: str) -> Sequence[dict[str, Any]]:
        # The folders of the captions say which kind an image is of, as Oxford's imagelabels.mat.
        return [
            {
                "image": owners_files.require(root, f"jpg/{text.stem}.jpg", OXFORD),
                "captions": owners_files.captions(text),
                "label": _number(kind) - 1,
                "filename": f"{text.stem}.jpg",
            }
            for kind in sorted(owners_files.classes(root, TEXTS, split, REED))
            for text in sorted(
                owners_files.require(root, f"{TEXTS}/text_c10/{kind}", REED).glob("*.txt")
            )
        ]


def _number(kind: str) -> int:
    """class_00077 → 77."""
    digits = kind.removeprefix("class_")
    if not digits.isdecimal():
        raise UserError(
            f"{TEXTS} lists a class {kind[:40]!r}, which is none of class_00001 to class_00102; "
            f"unpack {REED} again."
        )
    return int(digits)

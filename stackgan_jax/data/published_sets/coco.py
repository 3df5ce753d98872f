"""COCO 2014: photographs of all sorts of things, and the captions that come with them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stackgan_jax.data.published_sets import owners_files
from stackgan_jax.data.published_sets.owners_builder import OwnersFilesBuilder
from stackgan_jax.runtime.errors import UserError

FOLDERS = {"train": "train2014", "test": "val2014"}
OFFER = "{}.zip of the COCO consortium, cocodataset.org/#download"
ANNOTATIONS = OFFER.format("annotations_trainval2014")


class Coco2014(OwnersFilesBuilder):
    """82,783 photographs for training and 40,504 for testing (COCO's validation), five captions
    each or a few more.

    There are no classes: every image is one of its own.
    """

    HOMEPAGE = "https://cocodataset.org"
    CITATION = "Lin et al., Microsoft COCO: Common Objects in Context, 2014."

    @classmethod
    def needed(cls, config: str | None) -> dict[str, str]:
        files = {_annotations(split): ANNOTATIONS for split in FOLDERS}
        return files | {name: OFFER.format(name) for name in FOLDERS.values()}

    def examples(self, root: Path, split: str) -> Sequence[dict[str, Any]]:
        folder = FOLDERS[split]
        files, captions = _read(root / _annotations(split))
        described = [number for number in sorted(files) if number in captions]
        return [
            {
                "image": owners_files.require(
                    root, f"{folder}/{files[number]}", OFFER.format(folder)
                ),
                "captions": captions[number],
                "label": label,
                "filename": files[number],
            }
            for label, number in enumerate(described)
        ]


def _annotations(split: str) -> str:
    return f"annotations/captions_{FOLDERS[split]}.json"


def _read(path: Path) -> tuple[dict[int, str], dict[int, list[str]]]:
    """A captions file → number of the image → its file name, and → its captions."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        captions: dict[int, list[str]] = {}
        for annotation in sorted(content["annotations"], key=lambda each: int(each["id"])):
            if caption := " ".join(annotation["caption"].split()):
                captions.setdefault(int(annotation["image_id"]), []).append(caption)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is not as COCO made it ({type(error).__name__}: {error}); unpack "
            f"{ANNOTATIONS} again."
        ) from error
    return files, captions

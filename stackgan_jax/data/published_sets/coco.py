"""COCO 2014: photographs of everyday scenes, and their captions (StackGAN, sec. 4.1)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stackgan_jax.data.published_sets import coco_captions, source_files
from stackgan_jax.data.published_sets.builder import PublishedSetBuilder
from stackgan_jax.data.records import Source
from stackgan_jax.runtime.errors import UserError

FOLDERS = {"train": "train2014", "test": "val2014"}
ARCHIVE = "{}.zip of the COCO consortium, cocodataset.org/#download"
ANNOTATIONS = ARCHIVE.format("annotations_trainval2014")


class Coco(PublishedSetBuilder):
    """82,783 photographs for training and 40,504 for testing (COCO's validation images).

    Most images have five captions, a few have more. There are no classes: each image has a label
    of its own.
    """

    HOMEPAGE = "https://cocodataset.org"
    CITATION = "Lin et al., Microsoft COCO: Common Objects in Context, 2014."

    @classmethod
    def required_files(cls, config: str | None) -> dict[str, str]:
        """See PublishedSetBuilder."""
        files = {_annotations(split): ANNOTATIONS for split in FOLDERS}
        return files | {name: ARCHIVE.format(name) for name in FOLDERS.values()}

    @classmethod
    def prepared_elsewhere(cls, path: str, directory: Path) -> Source | None:
        """The data of TFDS's own builder `coco_captions`, if `path` is a TFDS folder with them."""
        prepared = coco_captions.find(path)
        return coco_captions.CocoCaptions(prepared, directory) if prepared else None

    def examples(self, root: Path, split: str) -> Sequence[dict[str, Any]]:
        """See PublishedSetBuilder."""
        folder = FOLDERS[split]
        files, captions = _read(root / _annotations(split))
        described = [number for number in sorted(files) if number in captions]
        return [
            {
                "image": source_files.require(
                    root, f"{folder}/{files[number]}", ARCHIVE.format(folder)
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
    """Reads a captions file → (image number → file name, image number → captions)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        captions: dict[int, list[str]] = {}
        for annotation in sorted(content["annotations"], key=lambda each: int(each["id"])):
            if caption := " ".join(annotation["caption"].split()):
                captions.setdefault(int(annotation["image_id"]), []).append(caption)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is not as COCO published it ({type(error).__name__}: {error}); unpack "
            f"{ANNOTATIONS} again."
        ) from error
    return files, captions

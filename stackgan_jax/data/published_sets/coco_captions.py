"""COCO 2014 as tfds's own builder `coco_captions` prepared it, for those who have it."""

from collections.abc import Iterator
from pathlib import Path

from stackgan_jax.data.records import Record
from stackgan_jax.data.tfds_source import TfdsSource

# Its parts are those of Karpathy and Li, who divide COCO's validation images in three.
PARTS = {"train": "train", "test": "val+test+restval"}


def find(path: str | Path) -> Path | None:
    """The newest prepared `coco_captions/2014` in a tfds directory, None if there is none."""
    if not path:
        return None
    folders = Path(path).expanduser().glob("coco_captions/2014/*/dataset_info.json")
    return max((info.parent for info in folders), default=None)


class CocoCaptions(TfdsSource):
    """The same images and captions as `coco2014` reads, without another copy of them."""

    def __init__(self, prepared: Path, directory: Path):
        """`prepared` from `find`; what is decoded of it is kept in `directory`."""
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(prepared)
        super().__init__(builder, lambda: builder)
        self.directory = directory / builder.name / prepared.name

    def count(self, split: str) -> int:
        return super().count(PARTS[split])

    def records(self, split: str) -> Iterator[Record]:
        for label, example in enumerate(self._examples(PARTS[split])):
            yield Record(
                name=example["image/filename"].decode(),
                image=example["image"],
                captions=[caption.decode("utf-8") for caption in example["captions"]["text"]],
                label=label,
            )

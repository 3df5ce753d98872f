"""COCO 2014 as TFDS's own builder `coco_captions` prepared it, for users who already have that."""

from collections.abc import Iterator
from pathlib import Path

from stackgan_jax.data.records import Record
from stackgan_jax.data.tfds_source import TfdsSource

# TFDS has the splits of Karpathy and Li, who divide COCO's validation images into three parts.
TFDS_SPLITS = {"train": "train", "test": "val+test+restval"}


def find(path: str | Path) -> Path | None:
    """The newest prepared `coco_captions/2014` in a TFDS folder, or None."""
    if not path:
        return None
    folders = Path(path).expanduser().glob("coco_captions/2014/*/dataset_info.json")
    return max((info.parent for info in folders), default=None)


class CocoCaptions(TfdsSource):
    """The same images and captions as `coco.Coco` reads, without another copy of them."""

    def __init__(self, prepared: Path, directory: Path) -> None:
        """Opens the data at `prepared`, a result of `find`; decoded splits go to `directory`."""
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(prepared)
        super().__init__(builder.name, builder, lambda: builder)
        self.directory = directory / builder.name / prepared.name

    def count(self, split: str) -> int:
        """See records.Source."""
        return super().count(TFDS_SPLITS[split])

    def records(self, split: str) -> Iterator[Record]:
        """See records.Source."""
        for label, example in enumerate(self._examples(TFDS_SPLITS[split])):
            yield Record(
                name=example["image/filename"].decode(),
                image=example["image"],
                captions=[caption.decode("utf-8") for caption in example["captions"]["text"]],
                label=label,
            )

"""A TFDS builder's examples as records, its images left encoded."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from stackgan_jax.data.records import Record


class TfdsSource:
    """What a builder yields: `image`, `captions`, `label`, and where it has them `bbox`,
    `filename` and `attributes`. See records.Source."""

    def __init__(self, builder: Any, prepare: Callable[[], Any]):
        """`builder` perhaps not yet prepared; `prepare` gives it prepared."""
        self.name = builder.name
        self.directory = Path(builder.data_path)
        self._prepare = prepare

    def count(self, split: str) -> int:
        return self._prepare().info.splits[split].num_examples

    def records(self, split: str) -> Iterator[Record]:
        for number, example in enumerate(self._examples(split)):
            content = example["image"]
            yield Record(
                name=example["filename"].decode() if "filename" in example else f"{number:06d}",
                image=content,
                captions=[caption.decode("utf-8") for caption in example["captions"]],
                label=int(example["label"]),
                box=_in_pixels(example["bbox"], content) if "bbox" in example else None,
                attributes={k: int(v) for k, v in example.get("attributes", {}).items()},
            )

    def _examples(self, split: str) -> Iterator[dict[str, Any]]:
        import tensorflow_datasets as tfds

        stream = self._prepare().as_dataset(
            split=split,
            decoders={"image": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(try_autocache=False),
        )
        return iter(tfds.as_numpy(stream))

    def left_out(self) -> Sequence[str]:
        return ()

    def remarks(self) -> Sequence[str]:
        return ()

    def finish(self) -> None:
        """A prepared builder does not change."""


def _in_pixels(bbox: Any, content: bytes) -> tuple[float, float, float, float] | None:
    """TFDS's (top, left, bottom, right) as shares of the image → (left, top, width, height)."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
    except Exception:  # a damaged image, as decoding will say
        return None
    top, left, bottom, right = (float(share) for share in bbox)
    # A hundredth of a pixel: as exact as TFDS's float32, and whole numbers stay whole.
    return (
        round(left * width, 2),
        round(top * height, 2),
        round((right - left) * width, 2),
        round((bottom - top) * height, 2),
    )

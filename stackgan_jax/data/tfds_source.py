"""TensorFlow Datasets (TFDS) as a source of records: builders are prepared and read here.

TensorFlow is imported only when a builder is prepared or read.
"""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from stackgan_jax.data.records import Record, Source
from stackgan_jax.runtime.locking import locked, unwritable


class TfdsSource(Source):
    """The examples of a TFDS builder, with their images left encoded.

    An example has `image`, `captions`, `label` and optionally `bbox`, `filename`, `attributes`.
    """

    def __init__(self, name: str, builder: Any, prepare: Callable[[], Any]) -> None:
        """Prepares nothing yet.

        Args:
            name: the name of the data set.
            builder: its TFDS builder, prepared or not.
            prepare: returns the prepared builder.
        """
        self.name = name
        self.directory = Path(builder.data_path)
        self._prepare = prepare

    def count(self, split: str) -> int:
        """See records.Source."""
        return self._prepare().info.splits[split].num_examples

    def records(self, split: str) -> Iterator[Record]:
        """See records.Source."""
        return self._records(split, 0)

    def part(self, split: str, start: int, stop: int) -> Iterator[Record]:
        """See records.Source."""
        return self._records(f"{split}[{start}:{stop}]", start)

    def _records(self, part: str, start: int) -> Iterator[Record]:
        for number, example in enumerate(self._examples(part), start):
            content = example["image"]
            yield Record(
                name=example["filename"].decode() if "filename" in example else f"{number:06d}",
                image=content,
                captions=[caption.decode("utf-8") for caption in example["captions"]],
                label=int(example["label"]),
                box=_in_pixels(example["bbox"], content) if "bbox" in example else None,
                attributes={k: int(v) for k, v in example.get("attributes", {}).items()},
            )

    def _examples(self, part: str) -> Iterator[dict[str, Any]]:
        import tensorflow_datasets as tfds

        stream = self._prepare().as_dataset(
            split=part,
            decoders={"image": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(try_autocache=False),
        )
        return iter(tfds.as_numpy(stream))


def _in_pixels(bbox: Any, content: bytes) -> tuple[float, float, float, float] | None:
    """TFDS's (top, left, bottom, right), fractions of the image → (left, top, width, height)."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
    except Exception:  # The image is damaged; decoding will report it.
        return None
    top, left, bottom, right = (float(fraction) for fraction in bbox)
    # TFDS's float32 is exact to a hundredth of a pixel; rounding keeps whole numbers whole.
    return (
        round(left * width, 2),
        round(top * height, 2),
        round((right - left) * width, 2),
        round((bottom - top) * height, 2),
    )


def prepare(make: Callable[[], Any], path: str | os.PathLike | None) -> Any:
    """A prepared TFDS builder. One process prepares it while the others wait.

    Args:
        make: creates the builder.
        path: the folder of the user's files, for a builder that reads them.

    Raises:
        UserError: the data cannot be written, or the builder rejects the user's files.
    """
    builder = make()
    prepared = Path(builder.data_path)
    if _is_prepared(prepared):
        return builder
    try:
        with locked(prepared), _without_tfds_output():
            if not _is_prepared(prepared):
                _prepare(builder, prepared, path)
    except OSError as error:
        raise unwritable(prepared, error) from error
    # A builder reads its folder when it is created, and this one was created before its data.
    return make()


def prepared_as(former_name: str, builder: Any, root: Path) -> Any | None:
    """A builder of data that were prepared under another name, or None if there are none.

    Args:
        former_name: the name at that time, which is also the name of the folder below `root`.
        builder: the builder under its present name.
        root: the `data_dir` that `builder` was created with.
    """
    former = root / former_name / Path(builder.data_path).relative_to(root / builder.name)
    if not _is_prepared(former):
        return None
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(former)


def _is_prepared(path: Path) -> bool:
    # TFDS writes elsewhere and renames the finished directory, so an existing one is complete.
    return (path / "dataset_info.json").exists()


def _prepare(builder: Any, prepared: Path, path: str | os.PathLike | None) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import constants

    for interrupted in prepared.parent.glob(f"{constants.INCOMPLETE_PREFIX}*"):
        shutil.rmtree(interrupted)
    # Nothing is downloaded: the data are drawn here, or read from the user's folder.
    config = tfds.download.DownloadConfig(try_download_gcs=False, manual_dir=path)
    builder.download_and_prepare(download_config=config)


@contextlib.contextmanager
def _without_tfds_output() -> Iterator[None]:
    """Hides the progress bars of TFDS, which have no total; the builders print their own lines."""
    from tensorflow_datasets.core.utils import tqdm_utils

    tqdm_utils.disable_progress_bar()
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        tqdm_utils.enable_progress_bar()

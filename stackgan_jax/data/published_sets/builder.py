"""The base class of the TFDS builders that read the published data sets from the user's folder."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from stackgan_jax.data.published_sets.source_files import require
from stackgan_jax.data.records import Source
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.progress import Progress

SPLITS = ("train", "test")


class PublishedSetBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set that is read from the files its authors distribute.

    A subclass names the files it requires and lists its examples.

    Attributes:
        HOMEPAGE: URL of the data set.
        CITATION: its authors, year and title or venue.
        BOXES: whether the examples have a `bbox`.
        ENCODING: format of the encoded images: "jpeg" or "png".
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "See the documentation of the published data sets."
    HOMEPAGE: ClassVar[str]
    CITATION: ClassVar[str]
    BOXES: ClassVar[bool] = False
    ENCODING: ClassVar[str] = "jpeg"

    def __init_subclass__(cls, **options: Any) -> None:
        """Keeps the subclass out of TFDS's own registry, which has a `coco`, too."""
        super().__init_subclass__(skip_registration=True, **options)

    @classmethod
    def required_files(cls, config: str | None) -> dict[str, str]:
        """The required files and folders: path below `config.data.path` → where to get it."""
        raise NotImplementedError

    @classmethod
    def optional_files(cls) -> Sequence[str]:
        """Files and folders that are read if they exist."""
        return ()

    def examples(self, root: Path, split: str) -> Sequence[dict[str, Any]]:
        """The examples of "train" or "test" in the folder `root`, always in the same order.

        Each has `image` (a path), `captions`, `label`, `filename` and, with `BOXES`, `bbox`.

        Raises:
            UserError: a file is missing, or its content is not as published.
        """
        raise NotImplementedError

    @classmethod
    def prepared_elsewhere(cls, path: str, directory: Path) -> Source | None:
        """A source for the same data in `path` that needs no builder, or None.

        Args:
            path: `config.data.path`.
            directory: the folder of all prepared data sets.
        """
        return None

    @classmethod
    def fingerprint(cls, path: str | Path | None, config: str | None) -> str:
        """8 hex digits of the names, sizes and times of the files; other files are another set.

        Raises:
            UserError: `path` is empty, or a required file is missing.
        """
        required = cls.required_files(config)
        if not path:
            folders = ", ".join(dict.fromkeys(name.split("/")[0] for name in required))
            origins = "; ".join(dict.fromkeys(required.values()))
            raise UserError(
                f"The data set {cls.name} is read from your files: set --config.data.path to the "
                f"folder with {folders}. They come from {origins}."
            )
        root, digest = Path(path).expanduser(), hashlib.sha256()
        files = [require(root, name, origin) for name, origin in required.items()]
        files += [root / name for name in cls.optional_files() if (root / name).exists()]
        for file in files:
            stat = file.stat()
            digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:8]

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(encoding_format=self.ENCODING),
            "captions": tfds.features.Sequence(tfds.features.Text()),
            "label": tfds.features.Scalar(np.int64),
            "filename": tfds.features.Text(),
        }
        if self.BOXES:
            features["bbox"] = tfds.features.BBoxFeature()
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(features),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        root = Path(dl_manager.manual_dir)
        listed = {split: self.examples(root, split) for split in SPLITS}
        return {split: self._generate_examples(split, each) for split, each in listed.items()}

    def _generate_examples(
        self, split: str, examples: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        progress = Progress(f"{self.name}, {split}", len(examples), "copied")
        for done, example in enumerate(examples, 1):
            yield done, {**example, "image": io.BytesIO(self._encoded(done - 1, example))}
            progress(done)

    def _encoded(self, index: int, example: dict[str, Any]) -> bytes:
        """The encoded image of an example; b"" if it cannot be read, which decoding reports."""
        try:
            return example["image"].read_bytes()
        except OSError:
            return b""

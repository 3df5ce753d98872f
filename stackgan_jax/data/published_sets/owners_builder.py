"""What the published data sets have in common as TFDS builders over their owners' files."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from stackgan_jax.data.published_sets.owners_files import require
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.progress import Progress

SPLITS = ("train", "test")


class OwnersFilesBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set read from the files that its owners distribute.

    A subclass says which files it can't do without, and lists its examples.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "See the section on the published data sets in README.md."
    HOMEPAGE: ClassVar[str]
    CITATION: ClassVar[str]
    BOXES: ClassVar[bool] = False
    ENCODING: ClassVar[str] = "jpeg"

    @classmethod
    def needed(cls, config: str | None) -> dict[str, str]:
        """The files and folders that must be there: name → where its owner offers it."""
        raise NotImplementedError

    @classmethod
    def optional(cls) -> Sequence[str]:
        """Files and folders that are read where they are there."""
        return ()

    def examples(self, root: Path, split: str) -> Sequence[dict[str, Any]]:
        """The examples of "train" or "test" in the folder `root`, always in the same order.

        Each has `image` (a path), `captions`, `label`, `filename` and, where `BOXES`, `bbox`.
        Raises UserError for a file that is missing or not as its owner made it.
        """
        raise NotImplementedError

    @classmethod
    def fingerprint(cls, path: str | Path | None, config: str | None) -> str:
        """8 hex digits of the files that are read: other files make another data set.

        Raises UserError for the first that is `needed` and missing.
        """
        needed = cls.needed(config)
        if not path:
            holds = ", ".join(dict.fromkeys(name.split("/")[0] for name in needed))
            origins = "; ".join(dict.fromkeys(needed.values()))
            raise UserError(
                f"The data set {cls.name} is made of files of yours: set --config.data.path to the "
                f"folder that holds {holds}. They come from {origins}."
            )
        root, digest = Path(path).expanduser(), hashlib.sha256()
        files = [require(root, name, origin) for name, origin in needed.items()]
        files += [root / name for name in cls.optional() if (root / name).exists()]
        for file in files:
            known = file.stat()
            digest.update(f"{file.name} {known.st_size} {known.st_mtime_ns}\n".encode())
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

    def _encoded(self, place: int, example: dict[str, Any]) -> bytes:
        """The encoded image of the example at `place`; what can't be read is told when decoding."""
        try:
            return example["image"].read_bytes()
        except OSError:
            return b""

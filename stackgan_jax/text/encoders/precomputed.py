"""The encoder that looks embeddings up by caption, in a file that any program computed."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stackgan_jax.data.split import Split
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.embedding_files import is_stackgan_pickle, read_embeddings
from stackgan_jax.text.encoders.encoder import Encoder


@dataclasses.dataclass(frozen=True)
class PrecomputedEncoder(Encoder):
    """A table of captions and their embeddings. Other captions are rejected.

    Attributes:
        captions: n different captions.
        embeddings: [n, t] float32, not normalised.
    """

    name: ClassVar[str] = "precomputed"
    captions: tuple[str, ...]
    embeddings: np.ndarray

    @classmethod
    def fresh(cls, choice: Mapping[str, Any], train: Split, test: Split) -> "PrecomputedEncoder":
        """Returns the table in the file `choice["embeddings"]`.

        The data set `stackgan_pickles` has embeddings of its own, which are the default there. They
        are not normalised, because StackGAN trained on them as they are.
        """
        own = choice["data"]["path"] if choice["data"]["name"] == "stackgan_pickles" else ""
        path = Path(choice["embeddings"] or own)
        embeddings, captions = read_embeddings(path)
        wanted = _flat(train.captions), _flat(test.captions)
        if captions is None:
            captions = _captions_in_order(path, len(embeddings), *wanted, train.directory)
        if is_stackgan_pickle(path):
            return cls.create(path, captions, embeddings, strict=False)
        encoder = cls.create(path, captions, embeddings)
        encoder._require(path, [*wanted[0], *wanted[1]])
        return encoder.normalised_by(wanted[0])

    @classmethod
    def create(
        cls, path: Path, captions: Sequence[str], embeddings: np.ndarray, strict: bool = True
    ) -> "PrecomputedEncoder":
        """Returns the table of captions and embeddings, not normalised.

        Args:
            path: The file they come from, for error messages.
            captions: n captions. Blanks at their ends are ignored.
            embeddings: [n, t] float32.
            strict: Whether a caption with two different embeddings is an error. If not, its first
                embedding counts (the captions may have differed in a blank).

        Raises:
            UserError: If a caption has two embeddings.
        """
        first: dict[str, int] = {}
        for row, caption in enumerate(captions):
            other = first.setdefault(caption.strip(), row)
            if other == row or not strict:
                continue
            if not np.allclose(embeddings[row], embeddings[other], atol=1e-4):
                raise UserError(
                    f"{path} gives the caption {caption!r} two embeddings, rows {other} and {row}; "
                    "embeddings are looked up by caption, so each caption needs exactly one."
                )
        chosen = embeddings[list(first.values())]
        width = chosen.shape[1]
        return cls(width, np.zeros(width, np.float32), 1.0, tuple(first), chosen)

    @classmethod
    def of_file(cls, path: str | Path, run: Encoder | None) -> "PrecomputedEncoder":
        """Returns a file's embeddings, normalised like those of a run.

        Args:
            path: The file. Embeddings without captions are known by their row, as `#17`.
            run: The run's encoder; None leaves the embeddings as they are.

        Raises:
            UserError: If the file can't be read or its embeddings have another width.
        """
        embeddings, captions = read_embeddings(Path(path))
        captions = captions or [f"#{row}" for row in range(len(embeddings))]
        encoder = cls.create(Path(path), captions, embeddings)
        if run is None:
            return encoder
        if run.width != encoder.width:
            raise UserError(
                f"The embeddings in {path} have {encoder.width} numbers and those of the run "
                f"{run.width}; give embeddings of the encoder that the run was trained with."
            )
        return dataclasses.replace(encoder, shift=run.shift, scale=run.scale)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {caption: place for place, caption in enumerate(self.captions)}

    def _require(self, path: Path, captions: Sequence[str]) -> None:
        missing = [caption for caption in captions if caption.strip() not in self._places]
        if missing:
            raise UserError(
                f"{path} has no embedding for {len(missing):,} of the data set's "
                f"{len(captions):,} captions, the first is {missing[0]!r}; add them."
            )

    def raw_embeddings(self, captions: list[str]) -> np.ndarray:
        """Returns the rows of n captions, [n, t]; raises UserError on an unknown caption."""
        return self.embeddings[[self._place(caption.strip()) for caption in captions]]

    def _place(self, caption: str) -> int:
        """Returns the row of a known caption, or the number in `#17`, counted from 0."""
        if caption in self._places:
            return self._places[caption]
        number = caption.removeprefix("#")
        if caption.startswith("#") and number.isdecimal() and int(number) < len(self.captions):
            return int(number)
        raise UserError(
            f"{caption!r} is none of the {len(self.captions):,} captions with a known embedding; "
            f"give one of those, for example {self.captions[0]!r}, its number, #0 to "
            f"#{len(self.captions) - 1}, or embeddings of your own with --embeddings."
        )

    def saved_arrays(self) -> dict[str, np.ndarray]:
        """Returns the embeddings, and the captions as JSON in bytes."""
        text = json.dumps(self.captions).encode("utf-8")
        return {"embeddings": self.embeddings, "captions": np.frombuffer(text, np.uint8)}

    @classmethod
    def from_saved(
        cls,
        fields: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        *,
        width: int,
        shift: np.ndarray,
        scale: float,
    ) -> "PrecomputedEncoder":
        """Returns the saved table; raises ValueError if captions and embeddings don't match."""
        captions = tuple(json.loads(arrays["captions"].tobytes()))
        embeddings = arrays["embeddings"]
        if embeddings.shape != (len(captions), width):
            raise ValueError("it has not one embedding for each caption")
        return cls(width, shift, scale, captions, embeddings)


def _flat(captions: Sequence[Sequence[str]]) -> list[str]:
    return [caption for several in captions for caption in several]


def _captions_in_order(
    path: Path, rows: int, train: list[str], test: list[str], directory: Path
) -> list[str]:
    """Returns the data set's captions, for a file without captions.

    Raises:
        UserError: If their number differs from the number of rows.
    """
    captions = [*train, *test]
    if len(captions) != rows:
        raise UserError(
            f"{path} has {rows:,} embeddings and no captions, so there must be as many as the data "
            f"set has captions, {len(train):,} of training and then {len(test):,} of test images, "
            f"in the order of captions.json in {directory} and in the test split's folder next to "
            "it; or store the captions in the file as well."
        )
    return captions

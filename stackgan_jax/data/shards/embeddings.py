"""Embeddings of a split's captions: a file for each shard, computed once by all devices."""

import concurrent.futures
from typing import Any

import jax
import numpy as np

from stackgan_jax.data.shards import shard
from stackgan_jax.data.shards.reader import Rows, ShardReader
from stackgan_jax.runtime import buckets, files, mesh
from stackgan_jax.runtime.errors import UserError, reason
from stackgan_jax.runtime.progress import Progress

_LOOKS = 32  # at files at once


class Embeddings:
    """The embeddings of every caption: a file of `[captions, t]` float32 for each shard."""

    def __init__(self, split: ShardReader, encoder: Any) -> None:
        """Computes nothing yet.

        Args:
            split: its captions are embedded.
            encoder: a `text.Encoder` of width t.
        """
        self.split, self.encoder, self.width = split, encoder, encoder.width
        self._folder = split.directory / f"embeddings-{encoder.fingerprint}"

    def compute(self) -> None:
        """Computes what is not there; each process does its own shards, on each of its devices.

        Raises:
            UserError: the directory can't be written.
        """
        shards = range(len(self.split.index.shards))
        own = shards[jax.process_index() :: jax.process_count()]
        with concurrent.futures.ThreadPoolExecutor(_LOOKS) as pool:
            missing = list(pool.map(self._missing, own))
        if own := [number for number, wanted in zip(own, missing, strict=True) if wanted]:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._compute(own)
            except Exception as error:
                if not buckets.is_of_files(error):
                    raise
                raise UserError(
                    f"The embeddings can't be written to {self._folder}: {reason(error)}; free "
                    "space, or get the right to write there."
                ) from error
        mesh.wait_for_all_processes("embeddings")

    def read(self, number: int, start: int, stop: int) -> np.ndarray:
        """The embeddings of a shard's captions from `start` to before `stop`: `[…, t]` float32.

        Raises:
            UserError: the file is missing or too short.
        """
        path, row = self._file(number), 4 * self.width
        try:
            with path.open("rb") as file:
                file.seek(start * row)
                content = file.read((stop - start) * row)
            return np.frombuffer(content, np.float32).reshape(stop - start, self.width)
        except Exception as error:
            raise UserError(
                f"The embeddings {path} can't be read ({reason(error)}); delete the file and run "
                "the same command again, which computes it."
            ) from error

    @property
    def rows(self) -> Rows:
        """All embeddings as one array, read where it is indexed."""
        counts = [entry.captions for entry in self.split.index.shards]
        return Rows(counts, (self.width,), np.float32, self.read)

    def _compute(self, own: list[int]) -> None:
        devices = jax.local_devices()
        devices = devices if devices[0].platform != "cpu" else devices[:1]
        total = sum(self.split.index.shards[number].captions for number in own)
        progress, done = Progress(f"captions, {self.encoder.name}", total, "embedded"), 0
        with concurrent.futures.ThreadPoolExecutor(len(devices)) as pool:
            for group in range(0, len(own), len(devices)):
                numbers = own[group : group + len(devices)]
                for captions in pool.map(self._write, numbers, devices):
                    done += captions
                    progress(done)

    def _write(self, number: int, device: jax.Device) -> int:
        """Embeds the captions of a shard on a device; returns their number."""
        captions = self.split.captions_of(number)
        with jax.default_device(device):
            embedded = np.ascontiguousarray(self.encoder.embed(captions), np.float32)
        with files.replacing(self._file(number)) as partial:
            partial.write_bytes(embedded.tobytes())
        return len(captions)

    def _missing(self, number: int) -> bool:
        size = 4 * self.width * self.split.index.shards[number].captions
        return bool(shard.problem_of(self._file(number), size))

    def _file(self, number: int) -> Any:
        return self._folder / f"{self.split.index.shards[number].name}.f32"

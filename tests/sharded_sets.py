"""Writes small sets in shards for tests, and streams them."""

import hashlib

import numpy as np
from picture_folders import data_config, write_files

from stackgan_jax.data import input_pipeline
from stackgan_jax.data.shards import stream
from stackgan_jax.data.shards.embeddings import Embeddings


class Hashes:
    """A text encoder whose embeddings are made of a hash of the caption."""

    name, fingerprint, width = "hashes", "abc", 4

    def __init__(self):
        self.embedded = []

    def embed(self, captions):
        """[n, 4] float32."""
        self.embedded += captions
        digests = [hashlib.sha256(caption.encode()).digest()[:4] for caption in captions]
        return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 4).astype(np.float32)


def sharded(folder, **changes):
    """`config.data` of a folder whose shards of 5 pictures lie beside it."""
    known = {"shards": str(folder.parent / "shards"), "shard_records": 5}
    return data_config(folder, **known | changes)


def write_captioned_pictures(folder, images, picture):
    """Writes pictures with one to three captions each."""
    for i in range(images):
        captions = "".join(f"number {i}, caption {c}\n" for c in range(1 + i % 3))
        write_files(folder, {f"{i:03d}.png": picture(i), f"{i:03d}.txt": captions})
    return folder


def streamed(data, batch_size=8, captions=2, seed=3, buffer=16):
    """The stream of the GANs' batches from a prepared set of 8 x 8 pixels."""
    data.shuffle_buffer = buffer
    split = input_pipeline.load(data, "train", 8)
    embeddings = Embeddings(split, Hashes())
    embeddings.compute()
    return stream.image_text(split, embeddings, batch_size, captions, seed)

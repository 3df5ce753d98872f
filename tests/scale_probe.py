"""Draws a set of captioned pictures, prepares it in shards, streams it, and prints what that takes.

    python tests/scale_probe.py draw 100000 drawn/100k
    python tests/scale_probe.py prepare drawn/100k shards/100k
    python tests/scale_probe.py stream drawn/100k shards/100k

The pictures are 16 pixels wide, in WebDataset shards of 10,000, with two captions each. Each
command prints JSON: seconds of processor time and of the clock, and the highest anonymous memory in
kB, as memory_probe.py explains. `stream` begins at step 0, takes 1,000 batches of 64, and then
begins at a random step, each as a new training would.
"""

import io
import json
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
from memory_probe import Peak
from PIL import Image
from sharded_sets import Hashes

from stackgan_jax.data import input_pipeline, registry
from stackgan_jax.data.shards import stream
from stackgan_jax.data.shards.embeddings import Embeddings

SIZE, IN_SHARD, BATCH, STEPS = 16, 10_000, 64, 1_000
COLOURS = ("red", "green", "blue", "grey", "black", "white", "yellow", "brown")


def draw(images, folder):
    """Writes the tar files: squares of a colour on a ground of another."""
    drawn = {}
    for ground in range(len(COLOURS)):
        for square in range(len(COLOURS)):
            for place in range(16):
                picture = Image.new("RGB", (SIZE, SIZE), COLOURS[ground])
                at = (2 + place % 4 * 2, 2 + place // 4 * 2)
                picture.paste(COLOURS[square], (*at, at[0] + 6, at[1] + 6))
                file = io.BytesIO()
                picture.save(file, "PNG")
                drawn[ground, square, place] = file.getvalue()
    Path(folder).mkdir(parents=True)
    keys = list(drawn)
    for first in range(0, images, IN_SHARD):
        with tarfile.open(f"{folder}/{first // IN_SHARD:05d}.tar", "w") as tar:
            for number in range(first, min(first + IN_SHARD, images)):
                ground, square, place = keys[number % len(keys)]
                words = [
                    f"a {COLOURS[square]} square on {COLOURS[ground]}, number {number}",
                    f"picture {number} shows a square at place {place}",
                ]
                parts = {"png": drawn[ground, square, place], "json": json.dumps({"text": words})}
                for suffix, content in parts.items():
                    content = content if isinstance(content, bytes) else content.encode()
                    member = tarfile.TarInfo(f"{number:08d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return {"images": images}


def config(folder, shards):
    data = registry.config("folder")
    data.update(path=folder, shards=shards, dir=f"{shards}/cache")
    return data


def prepare(folder, shards):
    split = input_pipeline.prepare(config(folder, shards), "train", SIZE)
    return {"images": len(split), "shards": len(split.index.shards)}


def streamed(folder, shards):
    peak, measured = Peak(), {}
    split = input_pipeline.load(config(folder, shards), "train", SIZE)
    clock = Clock()
    embeddings = Embeddings(split, Hashes())
    embeddings.compute()
    measured |= {"images": len(split), "embedding": clock.take(), "embedding_kB": peak.take()}
    for name, start in (("first", 0), ("resumed", int(np.random.default_rng().integers(1e6)))):
        clock.take()
        split = input_pipeline.load(config(folder, shards), "train", SIZE)
        batches = stream.image_text(split, embeddings, BATCH, 1, 0).batches(start, 2_000_000)
        next(batches)
        measured |= {f"{name}_step": start, f"{name}_batch": clock.take()}
        measured |= {f"{name}_kB": peak.take()}
        if not start:
            for _ in range(STEPS - 1):
                next(batches)
            measured |= {f"to_step_{STEPS}": clock.take(), f"step_{STEPS}_kB": peak.take()}
        batches.close()
    return measured


class Clock:
    """Processor time of this process, and the clock, since the last `take()`."""

    def __init__(self):
        self.take()

    def take(self):
        now = time.process_time(), time.monotonic()
        taken = [round(a - b, 2) for a, b in zip(now, getattr(self, "_last", now), strict=True)]
        self._last = now
        return {"processor": taken[0], "clock": taken[1]}


def main(what, *arguments):
    peak, clock = Peak(), Clock()
    if what == "draw":
        measured = draw(int(arguments[0]), arguments[1])
    else:
        measured = {"prepare": prepare, "stream": streamed}[what](*arguments)
    print(json.dumps(measured | {"whole": clock.take(), "kB": peak.take()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

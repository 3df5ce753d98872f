"""--mode=prepare: decodes a config's data, and shows a person what they are."""

import collections
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.data import augment, images, input_pipeline, preparation
from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.models.char_cnn_rnn import ALPHABET, LENGTH
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.locking import locked

SPLITS = ("train", "test")
SHOWN = 36  # pictures on the contact sheet
CONTACT_SHEET = "contact_sheet.png"
SUMMARY = "summary.txt"


def prepare(config: ConfigDict) -> None:
    """Prepares what a config (of a stage, or of a quickstart) trains on, and tells what it is."""
    for stage in configuration.stages(config):
        splits = {
            split: input_pipeline.load(stage.data, split, load_size(stage)) for split in SPLITS
        }
        told = summary(splits)
        folder = splits["train"].directory.parent
        sheet = folder / CONTACT_SHEET
        with locked(sheet):  # from another process that prepares the same
            images.save_png(sheet, contact_sheet(splits["train"]))
            (folder / SUMMARY).write_text(told + "\n", encoding="utf-8")
        print(f"{told}\nContact sheet: {sheet}", flush=True)


def load_size(config: ConfigDict) -> int:
    """The side of the pictures that a stage loads."""
    if config.kind == "text_encoder":
        return config.load_size
    return augment.load_size(config.discriminator.size)


def contact_sheet(split: Split) -> np.ndarray:
    """uint8 `[h, w, 3]`: SHOWN pictures as they are loaded, at random, with a caption each."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(split))[:SHOWN])
    return images.contact_sheet(
        [split.images[i] for i in chosen], [split.captions[i][0] for i in chosen]
    )


def summary(splits: Mapping[str, Split]) -> str:
    """What a person wants to know of prepared data before hours of training."""
    known = {name: preparation.facts(split.directory) for name, split in splits.items()}
    first = next(iter(known.values()))
    rows = [("", *splits)]
    rows += [_row("images", [len(split) for split in splits.values()])]
    rows += [_row("captions", [sum(map(len, split.captions)) for split in splits.values()])]
    rows += [_row("labels", [len(np.unique(split.labels)) for split in splits.values()])]
    rows += [_row("damaged", [each["damaged"] for each in known.values()])]
    lines = [f"{first['source']}, at {first['load_size']} pixels, crop {first['crop']}"]
    lines += ["".join(f"{cell:>12}" for cell in row) for row in rows]
    lines += [*_sizes(splits, first), *_texts(splits), *_duplicates(splits), *first["remarks"]]
    folders = [split.directory for split in splits.values()]
    lines += [
        f"{each['damaged']:,} images can't be used: {folder / preparation.PROBLEMS}"
        for folder, each in zip(folders, known.values(), strict=True)
        if each["damaged"]
    ]
    if first["left_out"]:
        lines += [f"{first['left_out']:,} files are left out: {folders[0] / preparation.LEFT_OUT}"]
    return "\n".join(lines)


def _row(name: str, counts: Sequence[int]) -> tuple[str, ...]:
    return (name, *(f"{count:,}" for count in counts))


def _spread(values: np.ndarray) -> str:
    """Smallest, median and largest."""
    low, middle, high = (int(number) for number in np.percentile(values, (0, 50, 100)))
    return f"{low:,} to {high:,}, median {middle:,}"


def _sizes(splits: Mapping[str, Split], known: Mapping[str, Any]) -> list[str]:
    sizes = np.concatenate([np.load(s.directory / "sizes.npy") for s in splits.values()])
    lines = [f"Sizes: width {_spread(sizes[:, 0])}; height {_spread(sizes[:, 1])} pixels."]
    small = int(np.sum(sizes.min(axis=1) < known["load_size"]))
    if small:
        lines.append(f"{small:,} images are smaller than {known['load_size']} pixels: enlarged.")
    return lines


def _texts(splits: Mapping[str, Split]) -> list[str]:
    flat = {name: [c for each in s.captions for c in each] for name, s in splits.items()}
    both = [caption for captions in flat.values() for caption in captions]
    words = {name: collections.Counter(_words(captions)) for name, captions in flat.items()}
    vocabulary = set().union(*words.values())
    new = words["test"].keys() - words["train"].keys()
    long = sum(len(caption) > LENGTH for caption in both)
    outside = collections.Counter(c for text in both for c in text.lower() if c not in ALPHABET)
    shared = sum(n for n in collections.Counter(both).values() if n > 1)
    lines = [
        f"Captions: {_spread(np.array([len(c) for c in both]))} characters, "
        f"{_spread(np.array([len(c.split()) for c in both]))} words; "
        f"{shared / len(both):.0%} stand at more than one image.",
        f"Vocabulary: {len(vocabulary):,} words, {len(new):,} of them in test captions only.",
    ]
    if long:
        lines.append(f"{long:,} captions are cut at {LENGTH} characters by the char-CNN-RNN.")
    if outside:
        listed = ", ".join(f"{c} ({n:,})" for c, n in outside.most_common(12))
        more = f" and {len(outside) - 12:,} more" if len(outside) > 12 else ""
        lines.append(f"Characters that the char-CNN-RNN reads as spaces: {listed}{more}.")
    return lines


def _words(captions: Sequence[str]) -> list[str]:
    return [word.strip(".,;:!?\"'()") for caption in captions for word in caption.lower().split()]


def _duplicates(splits: Mapping[str, Split]) -> list[str]:
    digests = {name: _digests(split.directory) for name, split in splits.items()}
    both = [digest for each in digests.values() for digest in each]
    twice = len(both) - len(set(both))
    shared = len(set(digests["train"]) & set(digests["test"]))
    if not twice:
        return []
    return [f"Copies of another image, byte for byte: {twice:,}; across the splits: {shared:,}."]


def _digests(directory: Path) -> list[bytes]:
    return [bytes(each) for each in np.load(directory / "digests.npy")]

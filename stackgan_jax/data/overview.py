"""Describes the data of a config: shortly when training starts, in full with --mode=prepare."""

import collections
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.data import augment, images, input_pipeline, preparation
from stackgan_jax.data.split import Split
from stackgan_jax.models.char_cnn_rnn import ALPHABET, LENGTH, is_blank
from stackgan_jax.runtime import configuration, files
from stackgan_jax.runtime.locking import locked

SPLITS = ("train", "test")
SHOWN = 36  # pictures on the contact sheet
CONTACT_SHEET = "contact_sheet.png"
SUMMARY = "summary.txt"
CHAR_CNN_RNN = "char_cnn_rnn"  # the text encoder with an alphabet
UNREAD = 0.01  # the share of captions of which an encoder may read nothing


def prepare(config: ConfigDict) -> None:
    """Prepares the data of a config (of a stage, or of a quickstart) and prints a summary.

    The summary and a contact sheet of pictures are written to the folder of the decoded data.

    Raises:
        UserError: the data do not exist, or too many images are damaged.
    """
    for stage in configuration.stages(config):
        splits = {
            split: input_pipeline.prepare(stage.data, split, load_size(stage)) for split in SPLITS
        }
        if stage.data.get("shards"):
            print("\n".join(outline(splits)), flush=True)
            continue
        text = summary(splits)
        folder = splits["train"].directory.parent
        sheet = folder / CONTACT_SHEET
        with locked(sheet):  # Another process may prepare the same data.
            images.save_png(sheet, contact_sheet(splits["train"]))
            files.write_text(folder / SUMMARY, text + "\n")
        print(f"{text}\nContact sheet: {sheet}", flush=True)


def load_size(config: ConfigDict) -> int:
    """The side in pixels of the pictures that a stage loads."""
    if config.kind == "text_encoder":
        return config.load_size
    return augment.load_size(config.discriminator.size, config.margin)


def contact_sheet(split: Split) -> np.ndarray:
    """SHOWN random pictures as training loads them, with one caption each: `[h, w, 3]` uint8."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(split))[:SHOWN])
    return images.contact_sheet(
        [split.images[i] for i in chosen], [split.captions[i][0] for i in chosen]
    )


def announce(splits: Mapping[str, Split], encoder: str) -> None:
    """Prints, when training starts, which data are used, how they were read, and warnings.

    Args:
        splits: name of the split → the split, for all of SPLITS.
        encoder: the name of the text encoder.
    """
    if jax.process_index() != 0:
        return
    lines = outline(splits)
    if encoder == CHAR_CNN_RNN:
        both = [c for split in splits.values() for c in split.some_captions()]
        lines += _losses_of_char_cnn_rnn(both)
    print("\n".join(lines), flush=True)


def show(split: Split, workdir: Path) -> None:
    """Writes the contact sheet of a run's data into its folder, where it stays.

    It is the first picture of a run, long before a generator draws.

    Args:
        split: of training.
        workdir: of the run.
    """
    sheet = workdir / CONTACT_SHEET
    if jax.process_index() == 0 and not sheet.exists():
        images.save_png(sheet, contact_sheet(split))
        print(f"Pictures of the data: {sheet}", flush=True)


def summary(splits: Mapping[str, Split]) -> str:
    """Describes prepared data: the outline, sizes, captions and duplicates.

    Args:
        splits: name of the split → the split, for all of SPLITS.
    """
    load_size = splits["train"].images.shape[1]
    details = [*_sizes(splits, load_size), *_captions(splits), *_duplicates(splits)]
    return "\n".join([*outline(splits), *details])


def outline(splits: Mapping[str, Split]) -> list[str]:
    """Lines on the layout of prepared data, their counts, what is left out, and warnings."""
    facts = {name: preparation.facts(split.directory) for name, split in splits.items()}
    first = next(iter(facts.values()))
    return [
        f"{first['source']}, at {first['load_size'] or 'their own number of'} pixels, crop "
        f"{first['crop']}",
        *_table(splits, facts),
        *first["remarks"],
        *(
            f"{each['left_out']:,} files are left out: {split.directory / preparation.LEFT_OUT}"
            for split, each in zip(splits.values(), facts.values(), strict=True)
            if each["left_out"]
        ),
    ]


def _table(splits: Mapping[str, Split], facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The counts of each split, a column for each."""
    counts = [split.counts | {"damaged": facts[name]["damaged"]} for name, split in splits.items()]
    rows = [("", *splits)]
    rows += [(name, *(f"{each[name]:,}" for each in counts)) for name in counts[0]]
    return ["".join(f"{cell:>12}" for cell in row) for row in rows]


def _spread(values: np.ndarray) -> str:
    """The smallest, largest and median value."""
    low, middle, high = (int(number) for number in np.percentile(values, (0, 50, 100)))
    return f"{low:,} to {high:,}, median {middle:,}"


def _sizes(splits: Mapping[str, Split], load_size: int) -> list[str]:
    sizes = np.concatenate([np.load(s.directory / "sizes.npy") for s in splits.values()])
    lines = [f"Sizes: width {_spread(sizes[:, 0])}; height {_spread(sizes[:, 1])} pixels."]
    small = int(np.sum(sizes.min(axis=1) < load_size))
    if small:
        lines.append(f"{small:,} images are smaller than {load_size} pixels and were enlarged.")
    return lines


def _captions(splits: Mapping[str, Split]) -> list[str]:
    both = [caption for split in splits.values() for caption in split.some_captions()]
    vocabulary = {name: set(_words(split.some_captions())) for name, split in splits.items()}
    new = vocabulary["test"] - vocabulary["train"]
    shared = sum(n for n in collections.Counter(both).values() if n > 1)
    return [
        f"Captions: {_spread(np.array([len(c) for c in both]))} characters, "
        f"{_spread(np.array([len(c.split()) for c in both]))} words; "
        f"{shared / len(both):.0%} occur at more than one image.",
        f"Vocabulary: {len(set().union(*vocabulary.values())):,} words, {len(new):,} of them in "
        "test captions only.",
        *_losses_of_char_cnn_rnn(both),
    ]


def _losses_of_char_cnn_rnn(captions: Sequence[str]) -> list[str]:
    """The captions and characters that the char-CNN-RNN cannot read."""
    lines = []
    if long := sum(len(caption) > LENGTH for caption in captions):
        lines.append(f"{long:,} captions are cut at {LENGTH} characters by the char-CNN-RNN.")
    if blank := sum(map(is_blank, captions)):
        lines.append(f"Warning: the char-CNN-RNN can read no character of {blank:,} captions.")
    known = collections.Counter("".join(captions).lower())
    outside = collections.Counter({c: n for c, n in known.items() if c not in ALPHABET})
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

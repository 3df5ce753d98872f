"""Decodes the records of any source into a prepared split on disk, complete or not at all."""

import collections
import concurrent.futures
import contextlib
import hashlib
import json
import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from stackgan_jax.data import decoding
from stackgan_jax.data.records import Record, Source
from stackgan_jax.data.split_writer import FACTS, LEFT_OUT, SplitWriter
from stackgan_jax.runtime import cores
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.files import replacing_folder
from stackgan_jax.runtime.locking import locked, unwritable
from stackgan_jax.runtime.progress import Progress

FORMAT = 3  # of the written files; splits of another format lie in another folder

# The picture, or why there is none; the hash of its image file; the image file.
Decoded = tuple[decoding.Picture | decoding.DamagedImage, bytes, bytes]


def place(source: Source, split: str, load_size: int, crop: str) -> Path:
    """Returns the folder of a prepared split, whether it exists yet or not."""
    return source.directory / f"decoded-{FORMAT}-{crop}-{load_size}" / split


def prepare(source: Source, split: str, load_size: int, crop: str, max_damaged: float) -> Path:
    """Decodes a split, unless this is done already, and returns its folder.

    Images that can't be used are skipped and listed in `left_out.txt`, before the source's files
    that no record uses. One process prepares while the others wait. Files that an interrupted
    preparation left behind are removed first.

    The folder holds: images.npy uint8 `[n, load_size, load_size, 3]`, labels.npy int32 `[n]`,
    captions.json, attributes.npz, sizes.npy int32 `[n, 2]` (width and height after EXIF rotation),
    digests.npy (hashes of the image files), names.json, facts.json, left_out.txt.

    Args:
      source: the data set.
      split: "train" or "test".
      load_size: side of the stored pictures in pixels.
      crop: one of `decoding.CROPS`.
      max_damaged: largest accepted share of images that can't be used, 0 to 1.

    Raises:
      UserError: the crop is unknown, the split is empty, more than `max_damaged` of its images
        can't be used, or the disk can't be written.
    """
    require_crop(crop)
    directory = place(source, split, load_size, crop)
    if not directory.exists():
        # Count first: a TFDS builder must be prepared before the lock creates its folder.
        count = source.count(split)
        try:
            with locked(directory):
                if not directory.exists():
                    _write(source, count, split, load_size, crop, directory)
        except OSError as error:
            raise unwritable(directory, error) from error
    require_enough_images(directory, max_damaged)
    return directory


def require_crop(crop: str) -> None:
    """Raises UserError if `crop` is none of `decoding.CROPS`."""
    if crop not in decoding.CROPS:
        choices = ", ".join(decoding.CROPS)
        raise UserError(f"Unknown config.data.crop {crop!r}; choose from {choices}.")


def facts(directory: Path) -> dict:
    """Returns the facts of a prepared split: images, records, damaged, fingerprint and others."""
    return json.loads((directory / FACTS).read_text(encoding="utf-8"))


def require_enough_images(directory: Path, max_damaged: float) -> None:
    """Raises UserError if a prepared split is empty, or too many of its images can't be used."""
    known = facts(directory)
    damaged, records = known["damaged"], known["records"]
    if not records:
        raise UserError(f"The split {known['split']} of {known['source']} is empty.")
    if known["images"] and damaged <= max_damaged * records:
        return
    lines = (directory / LEFT_OUT).read_text(encoding="utf-8").splitlines()
    share = f"{-(-1000 * damaged // records) / 1000:g}"  # rounded up to a thousandth
    remedy = f"repair or remove them, or allow more with --config.data.max_damaged={share}"
    raise UserError(
        f"{damaged:,} of {records:,} images of {known['source']} ({known['split']}) can't be used, "
        f"more than config.data.max_damaged={max_damaged:g} allows: {'; '.join(lines[:3])}"
        f"{' …' if damaged > 3 else ''}. All are listed in {directory / LEFT_OUT}; "
        + (remedy if known["images"] else "repair them")
        + "."
    )


def _write(
    source: Source, count: int, split: str, load_size: int, crop: str, directory: Path
) -> None:
    """Decodes and writes a split. The caller holds the lock."""
    _remove_interrupted(directory)
    progress = Progress(f"{source.name}, {split}, {load_size} pixels", count, "decoded")
    with replacing_folder(directory) as folder:
        with SplitWriter(folder, load_size) as writer:
            results = decoded(source.records(split), load_size, crop)
            for done, (record, (picture, digest, _)) in enumerate(results, 1):
                writer.add(record, picture, digest)
                progress(done)
        source.finish()
        writer.finish(
            # These lines cover the whole source, so they are written once.
            left_out=source.left_out() if split == "train" else (),
            source=source.name,
            split=split,
            load_size=load_size,
            crop=crop,
            remarks=list(source.remarks()),
        )


def _remove_interrupted(directory: Path) -> None:
    """Removes partial folders of killed processes; under the lock, nobody else writes there."""
    older = directory.with_name(f".{directory.name}.partial")  # of earlier versions
    for partial in (older, *directory.parent.glob(f".{directory.name}-*")):
        shutil.rmtree(partial, ignore_errors=True)


def decoded(
    records: Iterable[Record], load_size: int, crop: str
) -> Iterator[tuple[Record, Decoded]]:
    """Yields each record with its decoded picture, in order; all cores decode a few ahead.

    Threads are enough: Pillow releases Python's global lock while it decodes and resizes.
    """
    workers = cores.usable()
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    waiting = collections.deque()
    with contextlib.ExitStack() as stack:
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # Pillow's warnings about images that it can read
        for record in records:
            waiting.append((record, pool.submit(_decode, record, load_size, crop)))
            if len(waiting) > 4 * workers:
                record, future = waiting.popleft()
                yield record, future.result()
        for record, future in waiting:
            yield record, future.result()


def _decode(record: Record, load_size: int, crop: str) -> Decoded:
    if record.problem:
        return decoding.DamagedImage(record.problem), b"", b""
    try:
        content = record.image if isinstance(record.image, bytes) else record.image.read()
        picture = decoding.decode(content, load_size, crop, record.box)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return decoding.DamagedImage(f"can't be read ({reason})"), b"", b""
    except decoding.DamagedImage as damaged:
        return damaged, b"", b""
    return picture, hashlib.blake2b(content, digest_size=16).digest(), content

"""Writes folders of pictures and captions for tests, and reads them as data sets."""

import io
import json
import tarfile
from pathlib import Path

from PIL import Image

from stackgan_jax.data import input_pipeline, registry


def picture(number=0, kind="PNG", size=(8, 8)):
    """An encoded picture of one colour, which depends on the number."""
    file = io.BytesIO()
    Image.new("RGB", size, (number % 256, number * 7 % 256, 99)).save(file, kind)
    return file.getvalue()


def write_files(folder, files):
    """Writes name → bytes, text, or JSON lines."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(line) + "\n" for line in content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(folder)


def data_config(folder, **changes):
    """`config.data` for a folder."""
    config = registry.config("folder")
    config.update(path=str(folder), dir=str(Path(folder).parent / "cache"), max_damaged=0.99)
    config.update(changes)
    return config


def contents(folder, **changes):
    """Everything that is read from a folder."""
    return registry.source(data_config(folder, **changes)).contents


def by_name(folder, **changes):
    """Name → (split, record) of the usable images."""
    found = contents(folder, **changes).records
    return {r.name: (split, r) for split, each in found.items() for r in each if not r.problem}


def problems(folder):
    """Name → reason of the images that can't be used."""
    found = contents(folder).records
    return {r.name: r.problem for each in found.values() for r in each if r.problem}


def prepared(folder, split="train", **changes):
    """A split of a folder, decoded to 8 x 8 pixels."""
    return input_pipeline.load(data_config(folder, **changes), split, 8)


def write_numbered_pictures(folder, images, **extra):
    """Writes `images` pictures 000.png, … with their captions "number 0", …"""
    write_files(folder, {f"{i:03d}.png": picture(i) for i in range(images)})
    write_files(folder, {f"{i:03d}.txt": f"number {i}" for i in range(images)})
    return write_files(folder, extra)


def write_shard(path, members):
    """Writes a tar file of name → content; None stands for a link."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))

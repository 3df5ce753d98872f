"""Preparing and streaming need bounded memory for any number of pictures."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROBE = Path(__file__).parents[1] / "memory_probe.py"


def make_shard(path, images):
    """Writes a shard of pictures of the size of photographs; after ten they repeat."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(10):
        small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
        file = io.BytesIO()
        small.resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        drawn.append(file.getvalue())
    with tarfile.open(path, "w") as tar:
        for number in range(images):
            words = json.dumps({"text": [f"photograph {number}, caption {i}" for i in range(5)]})
            parts = {"jpg": drawn[number % 10], "json": words.encode()}
            for suffix, content in parts.items():
                member = tarfile.TarInfo(f"{number:07d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    held = {}
    for count in (400, 3200):
        folder = tmp_path / str(count)
        folder.mkdir()
        make_shard(folder / "0.tar", count)
        command = [sys.executable, str(PROBE), str(folder), str(tmp_path / "cache"), "304"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=550)
        assert done.returncode == 0, done.stderr
        measured = json.loads(done.stdout.splitlines()[-1])
        images, held[count] = measured["images"], max(measured["preparing"], measured["streaming"])
        assert images == count * 9 // 10
    # 2,800 more pictures are 776 MB; the names, captions and numbers of each are a few kB.
    assert held[3200] - held[400] < 40_000, held

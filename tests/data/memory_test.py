"""Preparing and streaming hold a bounded part of the pictures in memory, however many there are."""

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
    """Of photographs, as large as people's; ten are drawn, the rest are the same again."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(10):
        small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
        file = io.BytesIO()
        small.resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        drawn.append(file.getvalue())
    with tarfile.open(path, "w") as tar:
        for number in range(images):
            words = json.dumps(
                {"text": [f"photograph {number}, said in way {i}" for i in range(5)]}
            )
            parts = {"jpg": drawn[number % 10], "json": words.encode()}
            for suffix, content in parts.items():
                member = tarfile.TarInfo(f"{number:07d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_bounded(tmp_path):
    held = {}
    for count in (400, 3200):
        folder = tmp_path / str(count)
        folder.mkdir()
        make_shard(folder / "0.tar", count)
        command = [sys.executable, str(PROBE), str(folder), str(tmp_path / "cache"), "304"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=550)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        images, held[count] = told["images"], max(told["preparing"], told["streaming"])
        assert images == count * 9 // 10
    # 2,800 pictures more are 776 MB; their names, captions and numbers a few kB each.
    assert held[3200] - held[400] < 40_000, held

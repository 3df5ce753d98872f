"""Preparing and streaming hold a bounded part of the pictures in memory, however many there are."""

import io
import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

# Prepares a folder at 304 pixels, streams an epoch, and prints the peak of anonymous memory: what
# the process itself holds, without the pages of files that the system may drop at any time.
PROGRAM = """
import sys, threading, time
from stackgan_jax import configuration, input_pipeline
peak = 0
def watch():
    global peak
    while True:
        with open("/proc/self/status") as file:
            told = dict(line.split(":", 1) for line in file)
        peak = max(peak, int(told["RssAnon"].split()[0]))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
data = configuration.data_set("folder")
data.update(path=sys.argv[1], dir=sys.argv[2])
split = input_pipeline.load(data, "train", 304)
order = input_pipeline.epoch_order
for step in range(len(split) // 64):
    split.images[order(0, step, 64, len(split))].sum()
print(len(split), peak)
"""


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
        command = [sys.executable, "-c", PROGRAM, str(folder), str(tmp_path / "cache")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=550)
        assert done.returncode == 0, done.stderr
        images, held[count] = map(int, done.stdout.split()[-2:])
        assert images == count * 9 // 10
    # 2,800 pictures more are 776 MB; their names, captions and numbers a few kB each.
    assert held[3200] - held[400] < 40_000, held

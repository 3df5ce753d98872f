"""A small training for minutes or hours: memory and file descriptors stay flat.

But for what TensorStore 0.1.86 never frees: about 0.5 kB for each array that it opens, 4 to 12 kB
each time that Orbax reads its counters, which it does at every save. These are some 200 arrays.
"""

import os
import re
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from programs import Programs

from stackgan_jax.runtime.run_files import saved_steps

MINUTES = float(os.environ.get("STACKGAN_JAX_MINUTES", "3"))
WARM = 2  # Saves after which the program has all that it needs; the minutes begin then.
SAVE_EVERY = 2000
UNFREED = 0.3  # MB a save, at most.


def used(process: BaseProcess) -> tuple[float, int]:
    """Megabytes of memory that a process holds itself, and its open file descriptors."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    kilobytes = int(re.search(r"RssAnon:\s+(\d+)", status)[1])
    return kilobytes / 1024, len(os.listdir(f"/proc/{process.pid}/fd"))


def latest(place: Path) -> int:
    """The step of the newest save of the run in a folder."""
    return max(saved_steps(place / "run" / "checkpoints"), default=0)


@pytest.mark.slow
def test_memory_and_descriptors_of_a_long_training_stay_flat(
    folder_config, folder_runs, tmp_path, capsys
):
    encoder = str(folder_runs / "text_encoder")
    often = {"log_every": 20, "preview_every": SAVE_EVERY, "save_every": SAVE_EVERY}
    config = folder_config("stage1", text_encoder=encoder, steps=100_000_000, **often)
    programs = Programs({"stage1": config}, folder_runs / "stage1", tmp_path / "configs")
    started = programs.start("stage1", tmp_path)
    (process,) = started.processes
    measured = []
    try:
        while (first := latest(tmp_path)) < WARM * SAVE_EVERY:
            assert not started.ends(2), started.said()
        began = time.monotonic()
        while (now := time.monotonic() - began) < 60 * MINUTES:
            time.sleep(2)
            measured.append((now / 3600, *used(process)))
    finally:
        process.terminate()
        process.join()
    hours, megabytes, descriptors = np.array(measured).T
    growth = np.polyfit(hours, megabytes, 1)[0] * (hours[-1] - hours[0])
    last = started.said().strip().splitlines()[-1]
    with capsys.disabled():
        print(
            f"\n{MINUTES:g} minutes from step {first:,}: memory {megabytes[0]:.0f} to "
            f"{megabytes[-1]:.0f} MB; descriptors {descriptors[0]:.0f} to {descriptors[-1]:.0f}. "
            f"{last}"
        )
    assert last.startswith("Stopped at step"), last
    # Each save opens an event loop, which the garbage collector closes some saves later.
    half = len(descriptors) // 2
    assert np.median(descriptors[half:]) <= np.median(descriptors[:half]) + 5
    saves = (int(re.search(r"[\d,]+", last)[0].replace(",", "")) - first) / SAVE_EVERY
    assert growth < 30 + UNFREED * saves

"""A full disk, wherever it fills: one sentence with the place, and freeing it mends the program."""

import contextlib
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from programs import TRIALS, assert_same

# What lies on the small disk: (program, the environment variable that points there or "").
PLACES = (
    ("stage1", ""),
    ("prepare", ""),
    ("report", ""),
    ("evaluate", ""),
    ("text_encoder", ""),
    ("stage2", ""),
    ("stage1", "JAX_COMPILATION_CACHE_DIR"),
    ("stage1", "TMPDIR"),
    ("stage1", "previews"),
    ("report", "TMPDIR"),
)


@contextlib.contextmanager
def disk(folder: Path):
    """Mounts a disk on a folder; yields what gives it so many free bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a small disk can't be mounted here")

    def leave(free: int):
        has = os.statvfs(folder)
        size = (has.f_blocks - has.f_bfree) * has.f_frsize + free
        subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)

    try:
        yield leave
    finally:
        subprocess.run(["umount", folder], check=True)


def size_of(folder: Path) -> int:
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_stops_in_a_sentence_and_freeing_it_mends_the_run(
    programs, undisturbed, tmp_path, capsys
):
    ended = 0
    for trial in range(TRIALS):
        (name, variable), rng = PLACES[trial % len(PLACES)], np.random.default_rng(trial)
        expected, whole, _ = undisturbed(name)
        work, small = tmp_path / f"work{trial}", tmp_path / "small"
        work.mkdir()
        if variable == "previews":
            small, needed = work / "run" / "previews", size_of(whole / "run" / "previews")
        elif variable:
            needed = 100_000
        else:
            begun = size_of(programs.finished) if name in ("report", "evaluate") else 0
            needed = size_of(whole) - begun
        place = work if variable else small
        elsewhere = {variable: str(small)} if variable.isupper() else {}
        room = int(rng.uniform(0.02, 1) * needed)
        what = f"trial {trial}: {name}, {variable or 'its own folder'}, {room:,} bytes free"
        with disk(small) as leave:
            programs.arguments(name, place)  # copies the run that it works on
            leave(room)
            started = programs.start(name, place, **elsewhere)
            started.ends()
            said = started.said()
            assert "Traceback" not in said, f"{what}\n{said}"
            last = said.strip().splitlines()[-1]
            print(f"\n{what}: {last if started.status else 'goes on'}")
            if started.status:
                ended += 1
                assert started.status == 1 and last.startswith("stackgan_jax: "), said
                assert "o space left" in last and str(small) in last, f"{what}\n{said}"
            leave(1 << 30)
            assert_same(programs.finish(name, place), expected)
    with capsys.disabled():
        print(f"{TRIALS} full disks: {ended} programs ended in a sentence, all went on.")

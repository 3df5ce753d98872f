"""`kill -9` at random instants of every program that writes: nothing is lost, nothing differs."""

import time

import numpy as np
import pytest
from programs import NAMES, TRAININGS, TRIALS, TWO, assert_same

from stackgan_jax.runtime.run_files import saved_steps
from stackgan_jax.training import metrics_log

KILLS = 6  # of one run, at most
SAVE_EVERY = 2  # steps; while one save is written, training goes on to the next


def lost(run):
    """How many steps that a run has logged are after its newest checkpoint."""
    file = run / metrics_log.FILE
    logged = [line["step"] for line in (metrics_log.read(file) if file.exists() else [])]
    return max(logged, default=0) - max(saved_steps(run / "checkpoints"), default=0)


@pytest.mark.slow
def test_kills_at_any_instant_lose_nothing(programs, undisturbed, tmp_path, capsys):
    """After each kill a program goes on from its last save, and ends as an undisturbed one."""
    rng = np.random.default_rng(0)
    kills, chains, most = 0, dict.fromkeys(NAMES, 0), 0
    began = time.monotonic()
    while kills < TRIALS:
        name = NAMES[sum(chains.values()) % len(NAMES)]
        expected, _, seconds = undisturbed(name)
        place = tmp_path / f"chain{sum(chains.values())}"
        place.mkdir()
        for _ in range(KILLS):
            started = programs.start(name, place)
            if started.ends(rng.uniform(0, seconds)):
                assert started.status == 0, started.said()
                break
            alone = int(rng.integers(2)) if name == TWO and rng.integers(2) else None
            started.kill(alone)
            kills += 1
            assert "Traceback" not in started.said(), started.said()
            if name in (*TRAININGS, TWO):
                most = max(most, lost(place / "run"))
                assert most <= 2 * SAVE_EVERY
        assert_same(programs.finish(name, place), expected)
        chains[name] += 1
        with capsys.disabled():
            print(f"{time.monotonic() - began:.0f} s: {kills} kills, {chains}; lost {most} steps")
    with capsys.disabled():
        print(f"{kills} kills in {chains}: each went on and ended as an undisturbed one.")

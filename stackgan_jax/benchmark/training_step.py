"""Measures the training step, alone or in turn with the same step in PyTorch."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from stackgan_jax.benchmark import machine, peer, timing
from stackgan_jax.benchmark.subject import Subject
from stackgan_jax.runtime import compilation, mesh
from stackgan_jax.training.learner import Learner


def measure(
    subject: Subject,
    devices: jax.sharding.Mesh,
    learner: Learner,
    peaks: dict[str, float],
    seconds: float,
    peer_name: str | None,
) -> dict[str, Any]:
    """Measures one step, dispatched singly or with as many others as in training.

    Args:
        subject: what to measure.
        devices: the mesh that shares the batch.
        learner: the subject's learner on this mesh.
        peaks: what `machine.peaks` returned.
        seconds: how long to repeat the step; with a peer twice as long.
        peer_name: "pytorch", or None for no comparison.

    Returns:
        The step's figures as "train_step"; with a peer also "peer", its figures, "ratios", the
        peer's time divided by ours for each pair of samples, and "ratio", their median.
    """
    step = learner.step if learner.together == 1 else learner.steps
    state = learner.init(jax.random.key(subject.config.seed))
    batch = _placed(subject, devices, learner)
    began = time.monotonic()
    compiled = step.program.compile(state, step.held, batch)
    compile_seconds = time.monotonic() - began
    run = _runner(step, state, batch, learner.together)
    if peer_name:
        samples, result = _in_turn_with_peer(subject, run, seconds)
    else:
        (samples, _), result = timing.interleaved([run], seconds), {}
    operations = step.program.operations()
    per_second = operations / float(np.median(samples[:, 0]))
    result["train_step"] = {
        **_speed(subject, samples[:, 0]),
        "steps_per_dispatch": learner.together,
        "residency": "device" if step.held else "host",
        "compile_seconds": round(compile_seconds, 2),
        "operations": operations,
        "compiled": compilation.costs(compiled),
        "operations_per_second": round(per_second),
        "share_of_peak": per_second / peaks["operations_per_second"] / devices.size,
        "peak_memory_bytes": machine.peak_memory(),
    }
    return result


def _in_turn_with_peer(
    subject: Subject, run: Callable[[int], float], seconds: float
) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples of both programs, `[samples, 2]`, and the figures of the peer."""
    with peer.Peer(subject) as other:
        samples, _ = timing.interleaved([run, other.run], 2 * seconds)
        figures = other.about | _speed(subject, samples[:, 1])
    ratios = samples[:, 1] / samples[:, 0]
    return samples, {
        "peer": figures,
        "ratio": round(float(np.median(ratios)), 4),
        "ratios": [round(float(ratio), 3) for ratio in ratios],
    }


def _placed(subject: Subject, devices: jax.sharding.Mesh, learner: Learner) -> dict[str, jax.Array]:
    """The batch of one dispatch on the devices; the batches of several steps are stacked."""
    source = subject.source()
    each = [source.choose(step) for step in range(learner.together)]
    if not learner.step.held:
        each = [source.gather(source.held, choice) for choice in each]
    if learner.together == 1:
        return mesh.place_batch(devices, each[0])
    stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *each)
    return mesh.place_batch(devices, stacked, axis=1)


def _runner(step: Any, state: Any, batch: Any, together: int) -> Callable[[int], float]:
    """Returns a function: n → the seconds that n single steps would take."""
    held = [state]

    def run(n: int) -> float:
        def work() -> None:
            for _ in range(n):
                held[0], metrics = step(held[0], batch)
            jax.block_until_ready(metrics)

        return timing.seconds_of(work) / together

    return run


def _speed(subject: Subject, samples: np.ndarray) -> dict[str, Any]:
    rate = subject.config.batch_size / float(np.median(samples))
    return {"images_per_second": round(rate, 2), "milliseconds": timing.summary(samples)}

"""Measures on this machine: the step (beside a peer's), the input, sampling, whole training, and
how fast evaluation reads pictures."""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from stackgan_jax import sample
from stackgan_jax.benchmark import device, peer, timing, work
from stackgan_jax.data import batches
from stackgan_jax.evaluation import inception
from stackgan_jax.models import convolution
from stackgan_jax.runtime import compilation, mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import learners, loop


def measure(
    subject: work.Subject, what: Sequence[str], seconds: float, peer_name: str | None
) -> dict[str, Any]:
    """All the figures, as the JSON file has them.

    Args:
      what: some of "step", "input", "sampling", "training", "inception".
      seconds: for how long each is repeated.
      peer_name: "pytorch", or None for no comparison.
    """
    config = subject.config
    devices = mesh.data_mesh(config.batch_size)
    result = {
        "config": config.name,
        "batch_size": config.batch_size,
        "dtype": subject.dtype,
        "machine": device.facts(),
    }
    if "input" in what:
        result["input"] = _input(subject, devices, seconds)
    learner = None
    with compilation.readable_out_of_memory(config.batch_size):
        if "step" in what or peer_name:
            result["peaks"] = device.peaks(subject.dtype, min(seconds, 3))
            learner, result["train_step"] = _step(subject, devices, seconds, peer_name, result)
        if "sampling" in what:
            result["sampling"] = _sampling(subject, seconds)
        if "training" in what:
            learner = learner or subject.learner(devices)
            result["training"] = _training(subject, devices, learner, seconds, result)
        if "inception" in what:
            settings = config.eval
            result["inception"] = inception.images_per_second(
                settings.batch_size, subject.game.discriminator.size, settings.dtype, seconds
            )
    return result


def _step(
    subject: work.Subject,
    devices: jax.sharding.Mesh,
    seconds: float,
    peer_name: str | None,
    result: dict[str, Any],
) -> tuple[learners.Learner, dict[str, Any]]:
    """The step, singly or as many together as training takes; the peer's in turn with it."""
    learner = subject.learner(devices)
    state = learner.init(jax.random.key(subject.config.seed))
    together = learner.together
    step = learner.step if together == 1 else learner.steps
    batch = _placed(subject, devices, learner, together)
    began = time.monotonic()
    compiled = step.program.compile(state, step.held, batch)
    compile_seconds = time.monotonic() - began
    run = _runner(step, state, batch, together)
    if peer_name:
        with peer.Peer(subject) as other:
            samples, _ = timing.interleaved([run, other.run], 2 * seconds)
            result["peer"] = other.about | _speed(subject, samples[:, 1])
        result["ratio"] = round(float(np.median(samples[:, 1] / samples[:, 0])), 4)
        result["ratios"] = [round(float(r), 3) for r in samples[:, 1] / samples[:, 0]]
    else:
        samples, _ = timing.interleaved([run], seconds)
    peaks = result["peaks"]
    operations = step.program.operations()
    median = float(np.median(samples[:, 0]))
    return learner, {
        **_speed(subject, samples[:, 0]),
        "steps_per_dispatch": together,
        "residency": "device" if step.held else "host",
        "compile_seconds": round(compile_seconds, 2),
        "operations": operations,
        "compiled": compilation.costs(compiled),
        "operations_per_second": round(operations / median),
        "share_of_peak": operations / median / peaks["operations_per_second"] / devices.size,
        "peak_memory_bytes": device.peak_memory(),
    }


def _placed(
    subject: work.Subject, devices: jax.sharding.Mesh, learner: learners.Learner, together: int
) -> dict[str, jax.Array]:
    """What the step takes for a batch, or for several."""
    source = subject.source(subject.pictures())
    each = [source.choose(step) for step in range(together)]
    if not learner.step.held:
        each = [source.gather(source.held, choice) for choice in each]
    if together == 1:
        return mesh.place_batch(devices, each[0])
    stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *each)
    return mesh.place_batch(devices, stacked, axis=1)


def _runner(step: Any, state: Any, batch: Any, together: int) -> Callable[[int], float]:
    """n → seconds of n steps, had they been dispatched singly."""
    held = [state]

    def run(n: int) -> float:
        def work() -> None:
            for _ in range(n):
                held[0], metrics = step(held[0], batch)
            jax.block_until_ready(metrics)

        return timing.seconds_of(work) / together

    return run


def _speed(subject: work.Subject, samples: np.ndarray) -> dict[str, Any]:
    rate = subject.config.batch_size / float(np.median(samples))
    return {"images_per_second": round(rate, 2), "milliseconds": timing.summary(samples)}


def _input(
    subject: work.Subject, devices: jax.sharding.Mesh, seconds: float
) -> dict[str, dict[str, Any]]:
    """Batches of both residencies, on the devices; the host's pictures are memory-mapped."""
    source = subject.source(subject.pictures())
    held = mesh.place_everywhere(devices, source.held)
    gather = jax.jit(source.gather)

    def on_device(choice: batches.Batch) -> Any:
        return gather(held, mesh.place_batch(devices, choice))

    result = {"device": _rate(subject, source.choices, on_device, seconds)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "images.npy")
        np.save(file, source.held["image"])
        source.held["image"] = np.load(file, mmap_mode="r")
        try:
            result["host"] = _rate(
                subject, source.batches, lambda batch: mesh.place_batch(devices, batch), seconds
            )
        except UserError as error:
            result["host"] = {"not_measured": str(error)}
    return result


def _rate(
    subject: work.Subject, stream: Callable, place: Callable, seconds: float
) -> dict[str, float]:
    """Images a second of a stream of batches, and by a second of one core's time."""
    iterator = stream(0, 10**9)
    jax.block_until_ready(place(next(iterator)))  # compiles
    count, began, busy = 0, time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds or count < timing.LEAST:
        placed = place(next(iterator))
        count += 1
    jax.block_until_ready(placed)
    wall, busy = time.monotonic() - began, time.process_time() - busy
    images = count * subject.config.batch_size
    return {
        "images_per_second": round(images / wall, 1),
        "images_per_second_and_core": round(images / max(busy, 1e-9), 1),
    }


def _sampling(subject: work.Subject, seconds: float) -> dict[str, Any]:
    """Drawing as `--mode=sample` does, from embeddings to pictures on the host."""
    state = jax.jit(subject.init)(jax.random.key(0))
    count = sample.CHUNK
    embedding = np.zeros((count, subject.embedding), np.float32)
    noise = [part for part in subject.game.noise(jax.random.key(0), count) if part is not None]
    draw = jax.jit(subject.game.generate, compiler_options=convolution.compiler_options())

    def run(n: int) -> float:
        def work() -> None:
            for _ in range(n):
                jax.device_get(draw(state, embedding, *noise))

        return timing.seconds_of(work)

    samples, _ = timing.interleaved([run], seconds)
    return {
        "batch_size": count,
        "images_per_second": round(count / float(np.median(samples)), 2),
        "milliseconds": timing.summary(samples[:, 0]),
    }


def _training(
    subject: work.Subject,
    devices: jax.sharding.Mesh,
    learner: learners.Learner,
    seconds: float,
    result: dict[str, Any],
) -> dict[str, Any]:
    """The training loop itself: three stretches, of which the last, all compiled, is timed.

    Each stretch ends with a preview and a save, and has log lines as often as the config asks, at
    least one; what all of that cost is told for the config, where it is as frequent as it says.
    """
    config = subject.config.copy_and_resolve_references()
    step = result.get("train_step", {}).get("milliseconds", {}).get("median", 1000) / 1e3
    stretch = max(1, round(seconds / step / learner.together)) * learner.together
    log_every = min(config.log_every, stretch)
    stretch = stretch // log_every * log_every
    config.update(steps=3 * stretch, log_every=log_every)
    config.update(preview_every=stretch, save_every=stretch)
    with tempfile.TemporaryDirectory() as folder:
        try:
            _, halts = loop.run(learner, config, Path(folder), devices)
        except UserError as error:
            return {"not_measured": str(error)}
        text = Path(folder, "metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    ends = {line["step"]: line["seconds"] for line in lines}
    logs = stretch // log_every
    spent = halts["log"][2 * logs - 1 : 3 * logs - 1]
    costs = {"log": sum(spent) / logs, "preview": halts["preview"][1], "save": halts["save"][1]}
    halted = sum(spent) + costs["preview"] + costs["save"]
    each = (ends[3 * stretch] - ends[2 * stretch] - halted) / stretch
    original = subject.config
    frequency = {
        "log": original.log_every,
        "preview": original.preview_every,
        "save": original.save_every,
    }
    bookkeeping = sum(costs[kind] / frequency[kind] for kind in costs)
    return {
        "images_per_second": round(config.batch_size / (each + bookkeeping), 2),
        "milliseconds_per_step": round(each * 1e3, 4),
        "of_the_bare_step": round(each / step, 4) if "train_step" in result else None,
        "seconds_of_one": {kind: round(spent, 4) for kind, spent in costs.items()},
        "share_of_logging_previews_saving": round(bookkeeping / (each + bookkeeping), 4),
        "whole_schedule_hours": round(original.steps * (each + bookkeeping) / 3600, 3),
    }

"""Measures a config on this machine: all parts together, and input and sampling themselves."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from stackgan_jax import sample
from stackgan_jax.benchmark import machine, timing, training_step, whole_training
from stackgan_jax.benchmark.subject import Subject
from stackgan_jax.data import batches
from stackgan_jax.evaluation import inception
from stackgan_jax.models import convolution
from stackgan_jax.runtime import compilation, mesh
from stackgan_jax.runtime.errors import UserError

MANY_STEPS = 10**9  # more batches than any measurement reads


def measure(
    subject: Subject, parts: Sequence[str], seconds: float, peer_name: str | None
) -> dict[str, Any]:
    """Measures the parts and returns all figures, as the JSON file has them.

    Args:
        subject: what to measure.
        parts: some of "step", "input", "sampling", "training", "inception".
        seconds: how long to repeat each part.
        peer_name: "pytorch" to measure the step in PyTorch as well; None for no comparison.

    Raises:
        UserError: the device's memory is too small, or the peer can't run.
    """
    config = subject.config
    devices = mesh.data_mesh(config.batch_size)
    result = {
        "config": config.name,
        "batch_size": config.batch_size,
        "dtype": subject.dtype,
        "machine": machine.description(),
    }
    if "input" in parts:
        result["input"] = _input(subject, devices, seconds)
    learner = None
    with compilation.readable_out_of_memory(config):
        if "step" in parts or peer_name:
            result["peaks"] = machine.peaks(subject.dtype, min(seconds, 3))
            learner = subject.learner(devices)
            result |= training_step.measure(
                subject, devices, learner, result["peaks"], seconds, peer_name
            )
        if "sampling" in parts:
            result["sampling"] = _sampling(subject, seconds)
        if "training" in parts:
            learner = learner or subject.learner(devices)
            step = result.get("train_step", {}).get("milliseconds", {}).get("median")
            result["training"] = whole_training.measure(subject, devices, learner, seconds, step)
        if "inception" in parts:
            result["inception"] = inception.images_per_second(
                config.eval.batch_size,
                subject.game.discriminator.size,
                config.eval.dtype,
                seconds,
            )
    return result


def _input(
    subject: Subject, devices: jax.sharding.Mesh, seconds: float
) -> dict[str, dict[str, Any]]:
    """Batches placed on the devices, from data on the devices and from a file on the host.

    The host's images are memory-mapped, as in training.
    """
    source = subject.source()
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


def _rate(subject: Subject, stream: Callable, place: Callable, seconds: float) -> dict[str, float]:
    """Images per second of a stream of batches, and per second of one core's time."""
    iterator = stream(0, MANY_STEPS)
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


def _sampling(subject: Subject, seconds: float) -> dict[str, Any]:
    """Draws as `--mode=sample` does, from embeddings to images on the host."""
    state = jax.jit(subject.init)(jax.random.key(0))
    count = sample.CHUNK
    embedding = np.zeros((count, subject.embedding), np.float32)
    noise = subject.game.cascade.noise(jax.random.key(0), count)
    draw = jax.jit(subject.game.generate, compiler_options=convolution.compiler_options())

    def run(n: int) -> float:
        def work() -> None:
            for _ in range(n):
                jax.device_get(draw(state, embedding, noise))

        return timing.seconds_of(work)

    samples, _ = timing.interleaved([run], seconds)
    return {
        "batch_size": count,
        "images_per_second": round(count / float(np.median(samples)), 2),
        "milliseconds": timing.summary(samples[:, 0]),
    }

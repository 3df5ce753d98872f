"""The benchmark's figures as lines of text."""

from collections.abc import Iterator
from typing import Any

GIBI = 2**30


def lines(result: dict[str, Any]) -> Iterator[str]:
    """Yields the lines for the parts that `result`, as in the JSON file, has."""
    target = f" for {result['target']}" if "target" in result else ""
    yield (
        f"\n{result['config']}{target}, batch {result['batch_size']}, {result['dtype']} generator"
    )
    parts = {
        "machine": _machine,
        "peaks": _peaks,
        "train_step": _step,
        "input": _input,
        "sampling": _sampling,
        "training": _training,
        "inception": _inception,
    }
    for name, part in parts.items():
        if name in result:
            yield from part(result[name])
        if name == "train_step" and "peer" in result:
            yield from _peer(result)
    if "target" in result:
        yield from _target(result)


def _machine(machine: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield (
        f"{machine['date']}: {machine['devices']} × {machine['device']} ({machine['platform']}), "
        f"{machine['cores']} cores, load {machine['load_average']}; {versions}"
    )


def _peaks(peaks: dict[str, float]) -> Iterator[str]:
    yield (
        f"measured peak: {peaks['operations_per_second'] / 1e12:.3g} TFLOP/s, "
        f"{peaks['bytes_per_second'] / 1e9:.4g} GB/s"
    )


def _step(step: dict[str, Any]) -> Iterator[str]:
    together = step["steps_per_dispatch"]
    several = f", {together} steps per dispatch" if together > 1 else ""
    yield f"train step: {_speed(step)}; data on the {step['residency']}{several}"
    yield (
        f"  {step['operations'] / 1e9:.4g} GFLOP as written, "
        f"{step['operations_per_second'] / 1e12:.3g} TFLOP/s, "
        f"{step['share_of_peak']:.0%} of the measured peak"
    )
    yield f"  {_account(step['compiled'])}; compiled in {step['compile_seconds']:.1f} s"
    yield f"  peak memory: {step['peak_memory_bytes'] / GIBI:.2f} GiB"


def _peer(result: dict[str, Any]) -> Iterator[str]:
    peer = result["peer"]
    yield f"peer: {peer['program']} {peer['version']}, {peer['form']}, on {peer['device']}"
    yield f"  {_speed(peer)}; tried, ms: {peer['milliseconds_tried']}"
    yield f"  ratio {result['ratio']:.3f}: median over pairs {result['ratios']}"


def _input(residencies: dict[str, Any]) -> Iterator[str]:
    for name, rate in residencies.items():
        yield f"input from the {name}: {_rate(rate)}"


def _sampling(sampling: dict[str, Any]) -> Iterator[str]:
    yield f"sampling, {sampling['batch_size']} at once: {_speed(sampling)}"


def _inception(reading: dict[str, Any]) -> Iterator[str]:
    yield (
        f"Inception, {reading['batch_size']} at once, {reading['dtype']}: "
        f"{reading['images_per_second']:.5g} images/s of {reading['size']} pixels"
    )


def _speed(figures: dict[str, Any]) -> str:
    times = figures["milliseconds"]
    return (
        f"{figures['images_per_second']:.5g} images/s, {times['median']:.4g} ms "
        f"({times['first_quartile']:.4g}–{times['third_quartile']:.4g}, "
        f"{times['samples']} samples)"
    )


def _rate(rate: dict[str, Any]) -> str:
    if "not_measured" in rate:
        return f"not measured: {rate['not_measured']}"
    return (
        f"{rate['images_per_second']:,.0f} images/s, "
        f"{rate['images_per_second_and_core']:,.0f} per second of one core"
    )


def _training(training: dict[str, Any]) -> Iterator[str]:
    if "not_measured" in training:
        yield f"whole training: not measured: {training['not_measured']}"
        return
    costs = training["seconds_of_one"]
    bare = training["of_the_bare_step"]
    yield (
        f"whole training: {training['images_per_second']:.5g} images/s, "
        f"{training['milliseconds_per_step']:.4g} ms per step"
        + (f", {bare:.3f} times the step alone" if bare else "")
    )
    yield (
        f"  {training['share_of_logging_previews_saving']:.2%} of the time for logging "
        f"({costs['log'] * 1e3:.3g} ms each), previews ({costs['preview'] * 1e3:.3g} ms), "
        f"saving ({costs['save'] * 1e3:.3g} ms); the whole schedule takes "
        f"{training['whole_schedule_hours']:.3g} h"
    )


def _account(account: dict[str, Any]) -> str:
    return (
        f"compiled: {account['operations'] / 1e9:.4g} GFLOP, "
        f"{account['bytes'] / 1e9:.4g} GB moved, {account['memory_bytes'] / GIBI:.2f} GiB of memory"
    )


def _target(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['chips']} × {result['kind']}; for each device:"
    yield f"  {_account(result['compiled'])} of {result['chip_memory_bytes'] / GIBI:.0f}"
    if "kernels" in result:
        source = f"{result['kernels']} kernels at the GPU's published peaks: at least"
    else:
        source = f"{result['estimated_cycles'] / 1e6:.4g} M cycles by the compiler's cost model:"
    yield (
        f"  {source} {result['estimated_milliseconds']:.4g} ms, "
        f"{result['estimated_images_per_second'] or 0:,.0f} images/s (calculated, not run)"
    )
    for kind, counts in result["collectives"].items():
        yield f"  {counts['count']:4d} {kind}: {counts['bytes'] / 1e6:.3g} MB"

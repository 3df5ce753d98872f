"""Compilation of jitted functions: ahead of time, reported, cached, with clear memory errors."""

import contextlib
import hashlib
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.progress import print_line

REPORT_EVERY = 15.0  # seconds between two lines while the compiler works
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


class Program:
    """A jitted function that is compiled before its first call; the terminal shows when.

    Args:
        name: the program's name on the terminal: "training step".
        function: the function, as for `jax.jit`.
        options: the other arguments of `jax.jit`.
    """

    def __init__(self, name: str, function: Callable, **options: Any) -> None:
        self.name = name
        self._jitted = jax.jit(function, **options)
        self._lowered: jax.stages.Lowered | None = None
        self._compiled: jax.stages.Compiled | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Runs the program; the first call compiles it."""
        compiled = self._compiled or self.compile(*arguments)
        return compiled(*arguments)

    def compile(self, *arguments: Any) -> jax.stages.Compiled:
        """Compiles the program for arguments of these shapes; later calls use the result.

        Args:
            arguments: arrays, or `jax.ShapeDtypeStruct`s.
        """
        with compiling(f"the {self.name}"):
            self._lowered = self._jitted.lower(*arguments)
            self._compiled = self._lowered.compile()
        return self._compiled

    def operations(self) -> float:
        """Returns the floating-point operations of one call, counted before optimisation."""
        return (self._lowered.cost_analysis() or {}).get("flops", 0.0)


def costs(compiled: jax.stages.Compiled) -> dict[str, float]:
    """Returns what one call of a compiled program costs.

    Returns:
        `operations`: floating-point operations; `bytes`: bytes read and written; `memory_bytes`:
        bytes of one device's memory.
    """
    analysis, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    return {
        "operations": analysis.get("flops", 0.0),
        "bytes": analysis.get("bytes accessed", 0.0),
        "memory_bytes": (
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes  # Outputs that reuse the memory of donated arguments.
            + memory.temp_size_in_bytes
            + memory.generated_code_size_in_bytes
        ),
    }


@contextlib.contextmanager
def compiling(what: str) -> Iterator[None]:
    """Reports on stdout that `what` is being compiled, that it still is, and how long it took.

    Only process 0 reports.
    """
    if jax.process_index():
        yield
        return
    print_line(f"Compiling {what} …")
    start, finished = time.monotonic(), threading.Event()

    def report() -> None:
        while not finished.wait(REPORT_EVERY):
            print_line(f"… still compiling, {time.monotonic() - start:.0f} s")

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        finished.set()
        reporter.join()
    print_line(f"Compiled {what} in {time.monotonic() - start:.1f} s.")


@contextlib.contextmanager
def readable_out_of_memory(config: ConfigDict) -> Iterator[None]:
    """Turns out-of-memory errors of the compiler or the device into a `UserError` with remedies.

    Args:
        config: of the training; the remedies are fields that it has.

    Raises:
        UserError: the block ran out of memory.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and OUT_OF_MEMORY not in str(error):
            raise
        raise UserError(_out_of_memory_sentence(str(error), config)) from error


def _out_of_memory_sentence(message: str, config: ConfigDict) -> str:
    lines = message.removeprefix(f"{OUT_OF_MEMORY}: ").strip().splitlines()
    reason = lines[0].rstrip(".") if lines else "full"
    size = config.batch_size
    remedies = [f"--config.batch_size={size // 2} (now {size})"] if size > 1 else []
    if "rematerialise" in config.get("training", {}):
        remedies.append("--config.training.rematerialise=True")
    typed = [name for name in ("generator", "discriminator", "text", "image") if name in config]
    remedies.append(" with ".join(f"--config.{name}.dtype=bfloat16" for name in typed))
    remedies.append("--config.data.residency=host")
    return (
        f"The device's memory is too small ({reason}); these options need less: "
        f"{', '.join(filter(None, remedies))}."
    )


def keep_compiled() -> Path | None:
    """Keeps compiled programs in the user's cache folder, so that the next start is faster.

    The environment variable JAX_COMPILATION_CACHE_DIR chooses another folder, and
    JAX_ENABLE_COMPILATION_CACHE=false switches the cache off.

    Returns:
        The folder, or None if it cannot be created.
    """
    if jax.config.jax_compilation_cache_dir:
        return Path(jax.config.jax_compilation_cache_dir)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = caches / "stackgan_jax" / "compiled" / _instruction_set()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"Compiled programs are not kept: {directory}: {error.strerror}.", file=sys.stderr)
        return None
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return directory


def _instruction_set() -> str:
    """Returns a name for the processor's instruction set: code for another one may crash here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        kept = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    except OSError:
        kept = {platform.processor()}
    text = "\n".join([platform.machine(), *sorted(kept)])
    return f"{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

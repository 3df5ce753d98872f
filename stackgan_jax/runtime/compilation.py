"""Compiling: ahead of time with progress shown, kept for the next start, out of memory in words."""

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

from stackgan_jax.runtime.errors import UserError

SIGN_OF_LIFE = 15.0  # seconds between words while the compiler works
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


class Program:
    """A function that is compiled before its first call, telling so on the terminal.

    Args:
      name: what it is, for the terminal: "training step".
      function: as for `jax.jit`, and so are the other arguments.
    """

    def __init__(self, name: str, function: Callable, **options: Any):
        self.name = name
        self._jitted = jax.jit(function, **options)
        self._lowered: jax.stages.Lowered | None = None
        self._compiled: jax.stages.Compiled | None = None

    def __call__(self, *arguments: Any) -> Any:
        compiled = self._compiled or self.compile(*arguments)
        return compiled(*arguments)

    def compile(self, *arguments: Any) -> jax.stages.Compiled:
        """Compiles for arguments or ShapeDtypeStructs of these shapes, for later calls too."""
        with progress(f"the {self.name}"):
            self._lowered = self._jitted.lower(*arguments)
            self._compiled = self._lowered.compile()
        return self._compiled

    def operations(self) -> float:
        """Of one call, as written, by the compiler's count before it optimises."""
        return (self._lowered.cost_analysis() or {}).get("flops", 0.0)


def account(compiled: jax.stages.Compiled) -> dict[str, float]:
    """A compiled program's operations, bytes read and written, and bytes of a device's memory."""
    costs, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    return {
        "operations": costs.get("flops", 0.0),
        "bytes": costs.get("bytes accessed", 0.0),
        "memory_bytes": (
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes  # outputs in the place of donated arguments
            + memory.temp_size_in_bytes
            + memory.generated_code_size_in_bytes
        ),
    }


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """Says that `what` is being compiled, now and then that it still is, and how long it took."""
    if jax.process_index():
        yield
        return
    print(f"Compiling {what} …", flush=True)
    began, done = time.monotonic(), threading.Event()

    def tell() -> None:
        while not done.wait(SIGN_OF_LIFE):
            print(f"… still compiling, {time.monotonic() - began:.0f} s", flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
    print(f"Compiled {what} in {time.monotonic() - began:.1f} s.", flush=True)


@contextlib.contextmanager
def memory_in_words(batch_size: int = 0) -> Iterator[None]:
    """Turns out-of-memory of the compiler or the device into a UserError that says what takes less.

    `batch_size` is the config's, where it is known.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and OUT_OF_MEMORY not in str(error):
            raise
        raise UserError(_advice(str(error), batch_size)) from error


def _advice(message: str, batch_size: int) -> str:
    reason = message.removeprefix(f"{OUT_OF_MEMORY}: ").strip().splitlines()
    smaller = f"--config.batch_size={batch_size // 2} (now {batch_size})" if batch_size > 1 else ""
    smaller = smaller or "a smaller --config.batch_size"
    return (
        f"The device's memory is too small ({reason[0].rstrip('.') if reason else 'full'}); "
        f"what takes less: {smaller}, --config.training.rematerialise=True, "
        "--config.generator.dtype=bfloat16 with --config.discriminator.dtype=bfloat16, "
        "--config.data.residency=host."
    )


def keep_compiled() -> Path | None:
    """Keeps what is compiled in the user's cache directory, for the next start.

    JAX_COMPILATION_CACHE_DIR names another directory, and JAX_ENABLE_COMPILATION_CACHE=false
    switches it off. → the directory, or None when it can't be made.
    """
    if jax.config.jax_compilation_cache_dir:
        return Path(jax.config.jax_compilation_cache_dir)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = caches / "stackgan_jax" / "compiled" / _machine()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"Nothing compiled is kept: {directory}: {error.strerror}.", file=sys.stderr)
        return None
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return directory


def _machine() -> str:
    """A name for the processor's instruction set: code for another one may crash here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        kept = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    except OSError:
        kept = {platform.processor()}
    text = "\n".join([platform.machine(), *sorted(kept)])
    return f"{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

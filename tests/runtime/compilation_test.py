"""Compilation: once and reported, cached for the next start, readable out-of-memory errors."""

import os
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import pytest

from stackgan_jax.runtime import compilation, configuration
from stackgan_jax.runtime.errors import UserError


def test_a_program_is_compiled_once_and_reported(capsys):
    traced = []

    def product(x):
        traced.append(x.shape)
        return x @ x

    program = compilation.Program("product", product)
    x = jnp.ones((16, 16))
    assert program(x)[0, 0] == program(x)[0, 0] == 16
    assert traced == [(16, 16)]
    assert program.operations() == 2 * 16**3
    printed = capsys.readouterr().out
    assert printed.count("Compiling the product …") == 1
    assert "Compiled the product in" in printed


def test_costs_count_operations_and_memory():
    x = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    costs = compilation.costs(compilation.Program("product", lambda x: x @ x).compile(x))
    assert costs["operations"] == pytest.approx(2 * 256**3, rel=0.01)
    assert costs["memory_bytes"] >= 2 * 256**2 * 4


def test_a_long_compilation_is_reported_again_and_again(capsys, monkeypatch):
    monkeypatch.setattr(compilation, "REPORT_EVERY", 0.01)
    printed, deadline = "", time.monotonic() + 30
    with compilation.compiling("slow program"):
        while printed.count("still compiling") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
            printed += capsys.readouterr().out
    assert printed.count("still compiling") >= 2


def test_an_out_of_memory_error_names_options_that_need_less():
    message = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes.\ndetails"
    config = configuration.load("stage1.py")
    with pytest.raises(UserError) as raised, compilation.readable_out_of_memory(config):
        raise jax.errors.JaxRuntimeError(message)
    sentence = str(raised.value)
    assert "allocate 123 bytes" in sentence and "details" not in sentence
    for remedy in ("batch_size=32 (now 64)", "rematerialise", "bfloat16", "residency=host"):
        assert remedy in sentence


def test_other_device_errors_are_not_changed():
    with (
        pytest.raises(jax.errors.JaxRuntimeError, match="something else"),
        compilation.readable_out_of_memory(configuration.load("stage1.py")),
    ):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_compiled_programs_are_kept_in_the_users_cache(tmp_path):
    program = (
        "from stackgan_jax.runtime import compilation\n"
        "import jax\n"
        "print(compilation.keep_compiled())\n"
        "hits = []\n"
        "jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))\n"
        "jax.jit(lambda x: x * 3 + 1)(1.0)\n"
        "print(sum(name.endswith('cache_hits') for name in hits))\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)

    def start():
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    directory, hits = start()
    assert directory.startswith(str(tmp_path / "stackgan_jax"))
    assert hits == "0"
    assert start() == [directory, "1"]

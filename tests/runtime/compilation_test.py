"""Compiling: once and told of, kept for the next start, out of memory in one sentence."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from stackgan_jax.runtime import compilation
from stackgan_jax.runtime.errors import UserError


def test_a_program_is_compiled_once_and_says_so(capsys):
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


def test_the_account_of_a_program():
    x = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    account = compilation.account(compilation.Program("product", lambda x: x @ x).compile(x))
    assert account["operations"] == pytest.approx(2 * 256**3, rel=0.01)
    assert account["memory_bytes"] >= 2 * 256**2 * 4


def test_a_long_compilation_gives_signs_of_life(capsys, monkeypatch):
    monkeypatch.setattr(compilation, "SIGN_OF_LIFE", 0.01)
    with compilation.progress("slow program"):
        while "still compiling" not in capsys.readouterr().out:
            pass


def test_out_of_memory_says_what_takes_less():
    message = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes.\ndetails"
    with pytest.raises(UserError) as told, compilation.memory_in_words(batch_size=64):
        raise jax.errors.JaxRuntimeError(message)
    sentence = str(told.value)
    assert "allocate 123 bytes" in sentence and "details" not in sentence
    for remedy in ("batch_size=32 (now 64)", "rematerialise", "bfloat16", "residency=host"):
        assert remedy in sentence


def test_other_errors_of_the_device_stay_what_they_are():
    with pytest.raises(jax.errors.JaxRuntimeError), compilation.memory_in_words():
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

"""Checkpoints: saved and restored exactly, kept by policy, rejected shapes, full disks."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.checkpoint import Checkpoints


def state_of(value, width=4):
    params = {"dense": {"kernel": jnp.full((width, 3), value), "bias": jnp.arange(3.0)}}
    return {"params": params, "opt_state": optax.adam(1e-3).init(params), "step": jnp.int32(7)}


def test_restores_every_array_bit_by_bit(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    state = state_of(np.float32(1) / 3)
    checkpoints.save(5, state, {"loss": 0.5})
    checkpoints.wait()
    restored = checkpoints.restore(jax.tree.map(jnp.zeros_like, state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    assert checkpoints.metrics() == {"loss": 0.5}
    checkpoints.close()


def test_keeps_the_newest_the_best_and_every_kth_checkpoint_across_restarts(tmp_path):
    options = {"newest": 2, "every": 10, "best": "loss"}
    for part in (range(0, 35, 5), range(35, 70, 5)):
        checkpoints = Checkpoints(tmp_path, **options)
        for step in part:
            checkpoints.save(step, state_of(float(step)), {"loss": abs(step - 15)})
        checkpoints.close()
    assert Checkpoints(tmp_path).steps == [0, 10, 15, 20, 30, 40, 50, 60, 65]


def test_restores_onto_another_number_of_devices(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    saved = jax.device_put(state_of(2.0), mesh.replicated(mesh.data_mesh(8)))
    checkpoints.save(1, saved, {})
    checkpoints.wait()
    one = jax.device_put(state_of(0.0), jax.devices()[3])
    restored = checkpoints.restore(one)
    kernel = restored["params"]["dense"]["kernel"]
    assert kernel.devices() == {jax.devices()[3]}
    assert float(kernel[0, 0]) == 2.0


def test_restores_named_fields_only(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state_of(3.0), {})
    checkpoints.close()
    part = Checkpoints(tmp_path).restore_part(("params",))
    assert list(part) == ["params"]
    assert float(part["params"]["dense"]["kernel"][0, 0]) == 3.0


def test_other_shapes_missing_steps_and_missing_fields_are_rejected(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(UserError, match="train it first"):
        checkpoints.restore(state_of(0.0))
    checkpoints.save(1, state_of(0.0), {})
    checkpoints.wait()
    with pytest.raises(UserError, match=r"dense/kernel has shape \(4, 3\) there and \(5, 3\)"):
        checkpoints.restore(state_of(0.0, width=5))
    with pytest.raises(UserError, match=r"step 9 .* there are \[1\]"):
        checkpoints.restore(state_of(0.0), step=9)
    with pytest.raises(UserError, match="has no ema; it holds"):
        checkpoints.restore_part(("ema",))


def test_a_full_disk_leaves_earlier_checkpoints_intact(tmp_path):
    """A limit on the size of a written file stands in for the full disk."""
    program = f"""
        import resource, signal
        import jax.numpy as jnp, jax
        from stackgan_jax.training.checkpoint import Checkpoints
        from stackgan_jax.runtime.errors import UserError

        checkpoints = Checkpoints({str(tmp_path / "run")!r})
        noise = lambda n: {{"w": jax.random.normal(jax.random.key(0), (n,))}}
        checkpoints.save(1, noise(1000), {{}})
        checkpoints.wait()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        try:
            checkpoints.save(2, noise(1_000_000), {{}})
            checkpoints.wait()
        except UserError as error:
            print("SENTENCE", error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        again = Checkpoints({str(tmp_path / "run")!r})
        print("STEPS", again.steps, again.restore(noise(1000))["w"].shape)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert "SENTENCE Failed while saving" in done.stdout, done.stdout + done.stderr
    assert "Earlier checkpoints are intact" in done.stdout
    assert "STEPS [1] (1000,)" in done.stdout

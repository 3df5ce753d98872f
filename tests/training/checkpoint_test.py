"""Checkpoints: saved and restored exactly, kept by policy, rejected shapes, full disks."""

import os
import shutil
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stackgan_jax.runtime import mesh, seals
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
    restored = checkpoints.restore(jax.tree.map(jnp.zeros_like, state)).state
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
    restored = checkpoints.restore(one).state
    kernel = restored["params"]["dense"]["kernel"]
    assert kernel.devices() == {jax.devices()[3]}
    assert float(kernel[0, 0]) == 2.0


def test_restores_named_fields_only(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state_of(3.0), {})
    checkpoints.close()
    part = Checkpoints(tmp_path).restore_part(("params",)).state
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
        print("STEPS", again.steps, again.restore(noise(1000)).state["w"].shape)
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


def two_steps(folder, best=""):
    checkpoints = Checkpoints(folder / "checkpoints", newest=5, best=best)
    for step in (1, 2, 3):
        checkpoints.save(step, state_of(float(step)), {"loss": abs(step - 2)})
    checkpoints.close()
    return folder / "checkpoints"


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def damaged_copies(folder, checkpoint):
    """Copies of a run: in each another file of a checkpoint is changed, cut or deleted."""
    for number, file in enumerate(files_of(checkpoint)):
        run = folder / str(number)
        shutil.copytree(checkpoint.parent, run / "checkpoints")
        damaged = run / "checkpoints" / file.relative_to(checkpoint.parent)
        content = bytearray(file.read_bytes())
        if number % 3 == 0:
            content[len(content) // 2] ^= 4
            damaged.write_bytes(content)
        elif number % 3 == 1:
            damaged.write_bytes(content[: len(content) // 2])
        else:
            damaged.unlink()
        yield run


def test_any_damage_is_noticed_and_an_older_checkpoint_read(tmp_path):
    checkpoints = two_steps(tmp_path / "run")
    (tmp_path / "copies").mkdir()
    for run in damaged_copies(tmp_path / "copies", checkpoints / "3"):
        before = files_of(run)
        read = Checkpoints(run / "checkpoints", read_only=True).restore_part(("params",))
        harmless = not seals.is_sealed(run / "checkpoints/3") or not seals.damage(
            run / "checkpoints/3"
        )
        assert read.step == 2 or harmless, run
        assert float(read.state["params"]["dense"]["kernel"][0, 0]) == read.step
        assert files_of(run) == before


def test_training_sets_damaged_checkpoints_aside_and_goes_on(tmp_path, capsys):
    folder = two_steps(tmp_path)
    (folder / "3/metrics/metrics").write_text("")
    (folder / "1/metrics/metrics").unlink()
    checkpoints = Checkpoints(folder)
    restored = checkpoints.restore(state_of(0.0))
    checkpoints.save(4, restored.state, {})
    checkpoints.close()
    assert restored.step == 2 and checkpoints.steps == [2, 4]
    assert sorted(each.name for each in (tmp_path / "damaged_checkpoints").iterdir()) == ["1", "3"]
    said = capsys.readouterr().out
    assert "Step 3 of" in said and "Step 2 is used instead." in said and "Step 1 of" in said


def test_without_a_sound_checkpoint_nothing_is_changed(tmp_path):
    checkpoints = two_steps(tmp_path)
    for step in (1, 2, 3):
        (checkpoints / str(step) / "metrics/metrics").write_text("{}")
    before = files_of(tmp_path)
    with pytest.raises(UserError, match=r"No checkpoint in .*step 3: metrics/metrics isn't as"):
        Checkpoints(checkpoints).restore(state_of(0.0))
    assert files_of(tmp_path) == before


def test_a_damaged_step_that_was_asked_for_is_refused(tmp_path):
    checkpoints = two_steps(tmp_path)
    (checkpoints / "2/metrics/metrics").unlink()
    with pytest.raises(UserError, match=r"step 2: metrics/metrics is missing.*use one of \[1, 3\]"):
        Checkpoints(checkpoints, read_only=True).restore_part(("params",), 2)


def test_a_checkpoint_without_a_seal_is_read_and_given_up_if_it_cant_be(tmp_path, capsys):
    checkpoints = two_steps(tmp_path)
    (checkpoints / "3" / seals.NAME).unlink()
    assert Checkpoints(checkpoints).restore(state_of(0.0)).step == 3
    assert "has no seal to verify it by" in capsys.readouterr().out
    for file in files_of(checkpoints / "3/state"):
        file.write_bytes(b"")
    assert Checkpoints(checkpoints).restore(state_of(0.0)).step == 2
    assert "can't be read" in capsys.readouterr().out


def test_the_best_checkpoint_is_drawn_from_and_the_newest_trained_on(tmp_path):
    checkpoints = Checkpoints(two_steps(tmp_path, "loss"), best="loss")
    assert checkpoints.restore_part(("params",)).step == 2
    assert checkpoints.restore(state_of(0.0)).step == 3


def test_what_a_killed_process_was_saving_is_removed_and_not_sealed(tmp_path):
    folder = two_steps(tmp_path)
    left = folder / "4.orbax-checkpoint-tmp"
    (left / "state").mkdir(parents=True)
    checkpoints = Checkpoints(folder)
    checkpoints.save(4, state_of(4.0), {})
    checkpoints.close()
    assert not left.exists()
    assert seals.is_sealed(folder / "4") and not seals.damage(folder / "4")


def test_the_seal_keeps_the_runs_config(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "stage1"}')
    checkpoints = two_steps(tmp_path)
    assert seals.carried(checkpoints / "3") == {"config.json": '{"kind": "stage1"}'}

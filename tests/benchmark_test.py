"""The benchmark measures what it says, beside a peer of the same networks, and described TPUs."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from stackgan_jax import configuration
from stackgan_jax.benchmark import here, peer, target, timing, words, work
from stackgan_jax.errors import UserError

CONFIGS = Path(__file__).parents[1] / "configs"
TINY = {"features": 8, "condition": 8}


def subject(name, argument="", **changes):
    config = configuration.load(CONFIGS / f"{name}.py", argument)
    config.update(changes)
    return work.subject(config, CONFIGS)


def tiny(name="stage1"):
    config = configuration.load(CONFIGS / f"{name}.py")
    config.update(batch_size=8)
    for network in (config.generator, config.discriminator):
        network.update(TINY)
    config.discriminator.size = 64 if name == "stage2" else 16
    if name == "stage1":
        config.generator.size = 16
    return work.subject(config, CONFIGS)


@pytest.fixture(scope="module")
def pytorch():
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("pytorch_peer", peer.PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("argument", ["birds", "coco"])
@pytest.mark.parametrize("name", ["stage1", "stage2"])
def test_the_peer_has_the_same_parameters(name, argument, pytorch):
    import torch

    ours = subject(name, argument, batch_size=2)
    state = jax.eval_shape(ours.init, jax.random.key(0))
    with torch.device("meta"):
        theirs = pytorch.Networks(peer.description(ours))
    pairs = [(state.generator, theirs.generator), (state.discriminator, theirs.discriminator)]
    for net, module in pairs:
        count = sum(leaf.size for leaf in jax.tree.leaves(net.params))
        assert sum(p.numel() for p in module.parameters()) == count


def test_the_peer_steps_when_asked(monkeypatch):
    pytest.importorskip("torch")
    real = peer.description
    quick = {"try_compiled": False, "threads": 1}
    monkeypatch.setattr(peer, "description", lambda subject: {**real(subject), **quick})
    with peer.Peer(tiny()) as other:
        assert other.about["form"] == "channels_last, eager"
        assert other.run(1) > 0


def test_a_peer_that_cant_run_says_why_in_one_sentence(monkeypatch, tmp_path):
    program = tmp_path / "peer.py"
    monkeypatch.setattr(peer, "PROGRAM", program)
    with pytest.raises(UserError, match=r"needs .*peer.py"):
        peer.Peer(tiny())
    program.write_text("""print('{"error": "PyTorch is not installed."}')""")
    with pytest.raises(UserError, match="--peer=pytorch: PyTorch is not installed"):
        peer.Peer(tiny())
    program.write_text("raise SystemExit(1)")
    with pytest.raises(UserError, match="ended unexpectedly"):
        peer.Peer(tiny())


def test_samples_are_taken_in_turn_and_long_enough():
    order = []

    def work(name, seconds):
        def run(n):
            order.append((name, n))
            return n * seconds

        return run

    samples, times = timing.interleaved([work("a", 0.05), work("b", 0.5)], 0)
    np.testing.assert_allclose(samples, [[0.05, 0.5]] * timing.LEAST)
    assert times == [2, 1]
    assert order[4:] == [("a", 2), ("b", 1)] * timing.LEAST
    summary = timing.summary(np.array([1.0, 2.0, 3.0]))
    assert summary["median"] == 2000 and summary["smallest"] == 1000 and summary["samples"] == 3


@pytest.mark.parametrize(
    "wrong, words",
    [("v9:2x2", "v5e:2x2"), ("v5e", "v5e:2x2"), ("v5e:two", "v5e:2x2")],
)
def test_a_topology_that_doesnt_exist_is_refused(wrong, words):
    with pytest.raises(UserError, match=f"Unknown --target='{wrong}'.*{words}"):
        target.topology(wrong)


def test_a_config_of_no_stage_is_refused():
    with pytest.raises(UserError, match="stage1 or stage2, not 'text_encoder'"):
        subject("text_encoder")
    with pytest.raises(UserError, match="not 'several at once'"):
        subject("quickstart")


def test_a_dtype_that_doesnt_exist_is_refused():
    config = configuration.load(CONFIGS / "stage1.py")
    config.generator.dtype = "float8"
    with pytest.raises(UserError, match="'float8'; choose from float32, bfloat16"):
        work.subject(config, CONFIGS)


def test_collectives_are_read_from_a_compiled_program():
    text = """
  %a = (f32[8,4]{1,0}, f32[4]{0}) all-reduce(%x, %y), metadata={op_name="f/transpose(jvp(G))/dot"}
  %b = f32[4]{0} all-reduce-start(%z), metadata={op_name="jit(f)/jvp(G)/up8/norm/reduce_sum"}
  %b2 = f32[4]{0} all-reduce-done(%b), metadata={op_name="jit(f)/jvp(G)/up8/norm/reduce_sum"}
  %c = f32[] all-reduce(%l), metadata={op_name="jit(f)/reduce_sum"}
  %d = bf16[16,32]{1,0} all-gather(%e), channel_id=7, metadata={op_name="f/jvp(mismatch)/gather"}
  %d2 = bf16[16,32]{1,0} all-gather(%e2), channel_id=7, metadata={op_name="f/jvp(mismatch)/gather"}
  %f = f32[8,4]{1,0} all-reduce(%g)
  %h = u8[64,5]{1,0} all-gather(%i), metadata={op_name="jit(f)/strange"}
  %j = (f32[64]{0}, f32[8,4]{1,0}) all-reduce(%k, %l)
"""
    assert target.collectives(text, [(8, 4), (4,)], images=64) == {
        "all-reduce of gradients": {"count": 3, "bytes": 144 + 128 + 256 + 128},
        "all-reduce of normalisation": {"count": 1, "bytes": 16},
        "all-reduce of scalars": {"count": 1, "bytes": 4},
        "all-gather of mismatch": {"count": 1, "bytes": 1024},
        "all-gather of jit(f)/strange": {"count": 1, "bytes": 320},
    }


@pytest.mark.slow
def test_everything_is_measured():
    result = here.measure(tiny(), ("step", "input", "sampling", "training", "inception"), 0.2, None)
    step = result["train_step"]
    assert step["images_per_second"] == pytest.approx(8e3 / step["milliseconds"]["median"], 1e-2)
    assert step["operations"] > 1e6 and 0 < step["share_of_peak"] < 1
    assert result["input"]["host"]["images_per_second"] > 0
    assert result["input"]["device"]["images_per_second"] > 0
    assert result["sampling"]["images_per_second"] > 0
    assert result["inception"]["images_per_second"] > 0
    training = result["training"]
    assert training["images_per_second"] > 0
    assert all(seconds > 0 for seconds in training["seconds_of_one"].values())
    json.dumps(result)
    assert "images/s" in "\n".join(words.lines(result))


@pytest.mark.slow
@pytest.mark.parametrize("config", ["stage1.py:birds", "stage2.py:coco"])
def test_the_step_compiles_for_a_tpu_that_isnt_here(config, tmp_path):
    """Four chips tell each other gradients, batch statistics and which text is whose, no more."""
    pytest.importorskip("libtpu")
    narrow = [f"--config.{net}.features=16" for net in ("generator", "discriminator")]
    narrow += [f"--config.{net}.dtype=bfloat16" for net in ("generator", "discriminator")]
    command = [sys.executable, "-m", "stackgan_jax.benchmark", f"--config={CONFIGS / config}"]
    command += ["--config.batch_size=256", "--target=v5e:2x2", f"--json={tmp_path / 'tpu.json'}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(CONFIGS.parent)])}
    done = subprocess.run(command + narrow, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "tpu.json").read_text())
    assert result["compiled"]["memory_bytes"] < result["chip_memory_bytes"]
    assert result["estimated_cycles"] > 0
    origins = {kind.split(" of ")[1] for kind in result["collectives"]}
    assert {"gradients", "normalisation"} <= origins
    assert origins <= {"gradients", "normalisation", "mismatch", "scalars"}, result["collectives"]

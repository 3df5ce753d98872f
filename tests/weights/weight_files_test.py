"""Weight files: every format gives the same arrays, and code in them is never run."""

import os
import pickle
import sys

import numpy as np
import pytest
from conversion import DATA

from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.game import build
from stackgan_jax.weights import recognition, weight_files


def test_pytorchs_newer_format_gives_the_same_arrays(tmp_path):
    torch = pytest.importorskip("torch")
    old = weight_files.read_pytorch(DATA / "pt_stage1_netG.pth")
    newer = {key: torch.from_numpy(array).double() for key, array in old.items()}
    newer["fc.1.num_batches_tracked"] = torch.tensor(7)
    torch.save(newer, tmp_path / "new.pth")
    assert (tmp_path / "new.pth").read_bytes()[:2] == b"PK"
    found = weight_files.read_pytorch(tmp_path / "new.pth")
    assert all(np.array_equal(found[key], old[key]) for key in old)
    weights = recognition.recognise("pytorch", str(tmp_path / "new.pth"))
    assert weights.variables({"generator": published_generator(weights)})


def published_generator(weights):
    config = configuration.load("stage1.py", "coco")
    config.generator.update(weights.sizes["generator"].fields)
    return build(config).generator


def test_tensorflows_format_v2_without_bookkeeping_gives_the_same_arrays(tmp_path):
    tf = pytest.importorskip("tensorflow")
    arrays = weight_files.read_tensorflow(DATA / "tf_stage1_v1.ckpt")
    kept = {k: v for k, v in arrays.items() if k.startswith("g_net") and "Adam" not in k}
    kept = {k: v for k, v in kept.items() if not k.endswith(("biased", "local_step"))}
    prefix = str(tmp_path / "model.ckpt")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(kept),
        shape_and_slices=[""] * len(kept),
        tensors=list(kept.values()),
    )
    for given in (prefix, f"{prefix}.index", f"{prefix}.data-00000-of-00001"):
        found = weight_files.read_tensorflow(given)
        assert found.keys() == kept.keys()
        assert all(np.array_equal(found[name], kept[name]) for name in kept)
    alone = recognition.recognise("tensorflow", prefix)
    assert alone.stage == 1 and "discriminator" not in alone.sizes
    both = recognition.recognise("tensorflow", prefix, str(DATA / "tf_stage1_v1.ckpt"))
    assert both.sizes["discriminator"].fields == {"size": 64, "features": 4, "condition": 8}


def write_evil(path, how):
    """Writes a file that would run a command if unpickled; returns the file it would make."""
    torch = pytest.importorskip("torch")
    witness = path.with_name("it_ran")

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {witness}",)

    if how == "zip":
        torch.save({"ca_net.fc.weight": Evil()}, path)
    else:
        with path.open("wb") as file:
            header = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
            for part in (*header, {"ca_net.fc.weight": Evil()}, []):
                pickle.dump(part, file, protocol=2)
    return witness


@pytest.mark.parametrize("how", ["zip", "legacy"])
def test_code_in_a_pickle_is_not_run(how, tmp_path):
    witness = write_evil(tmp_path / "netG.pth", how)
    with pytest.raises(UserError, match=r"asks for (posix|nt)\.system, .*nothing in it was run"):
        recognition.recognise("pytorch", str(tmp_path / "netG.pth"))
    assert not witness.exists()


def test_without_pytorch_files_are_read_and_writing_names_the_install_command(
    monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert weight_files.read_pytorch(DATA / "pt_stage1_netG.pth")
    with pytest.raises(UserError, match="install it with `pip install torch`"):
        weight_files.write_pytorch(tmp_path / "new.pth", {})


def test_weights_of_a_failed_training_are_rejected(monkeypatch):
    found = weight_files.read_pytorch(DATA / "pt_stage1_netG.pth")
    name = next(iter(found))
    broken = found | {name: np.full_like(found[name], np.nan)}
    monkeypatch.setattr(weight_files.pytorch_files, "read", lambda _: broken)
    with pytest.raises(UserError, match=f"not finite, in {name}"):
        weight_files.read_pytorch(DATA / "pt_stage1_netG.pth")

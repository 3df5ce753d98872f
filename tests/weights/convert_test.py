"""The command `convert`: its messages, and the input that it rejects."""

import json
import shutil
from pathlib import Path

import lua_torch
import numpy as np
import pytest
from commands import command as command_line
from conversion import DATA, command, files_of, write_lua_torch

from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.weights import weight_files


@pytest.mark.slow
def test_the_command_prints_what_it_found_and_how_to_train_further(tmp_path, capsys):
    command(*files_of("tf_stage2"), f"--workdir={tmp_path / 'run'}", "--dataset=flowers")
    printed = capsys.readouterr().out
    assert "Stage II of StackGAN" in printed and "residual_blocks 4; 103,138 parameters" in printed
    assert "sentence embedding 32, noise 10" in printed and "no text encoder" in printed
    assert "Stage I's discriminator was checked and left out" in printed
    going_on = printed.strip().splitlines()[-1]
    assert f"stage2.py:flowers --workdir={tmp_path / 'run'} --config." in going_on
    # The printed options turn the published config into the run's.
    config = configuration.load("stage2.py", "flowers")
    for option in going_on.split(" --config.")[1:]:
        name, value = option.split("=")
        owner = config[name.split(".")[0]]
        owner[name.split(".")[1]] = json.loads(value)
    configuration.refuse_another(
        configuration.read(tmp_path / "run" / "config.json"), config, tmp_path
    )


def bad_input(kind, tmp_path):
    """Returns source, generator, discriminator and a part of the error for a kind of bad input."""
    torch = pytest.importorskip("torch")
    path, net = tmp_path / "bad", lambda name: str(DATA / f"{name}.pth")
    good = dict(weight_files.read_pytorch(net("pt_stage1_netG")))

    def saved(arrays):
        torch.save({key: torch.from_numpy(array) for key, array in arrays.items()}, path)
        return "pytorch", str(path), ""

    if kind == "missing file":
        return "pytorch", str(path), "", "No such file"
    if kind == "no checkpoint":
        path.write_text("weights")
        return "pytorch", str(path), "", "not a PyTorch checkpoint: its first bytes are different"
    if kind == "truncated":
        path.write_bytes(Path(net("pt_stage1_netG")).read_bytes()[:100_000])
        return "pytorch", str(path), "", "damaged"
    if kind == "list":
        torch.save([1, 2], path)
        return "pytorch", str(path), "", "something other than weights by name"
    if kind == "discriminator as generator":
        return "pytorch", net("pt_stage1_netD"), "", r"ca_net\.fc\.weight is missing"
    if kind == "other model":
        return *saved({"layer1.weight": np.zeros(3, np.float32)}), "it holds layer1.weight"
    if kind == "missing weight":
        del good["upsample2.2.running_var"]
        return *saved(good), r"upsample2\.2\.running_var is missing"
    if kind == "extra weight":
        return *saved(good | {"upsample2.2.oops": np.zeros(3)}), r"upsample2\.2\.oops is not known"
    if kind == "other shape":
        good["upsample2.1.weight"] = np.zeros((16, 31, 3, 3), np.float32)
        return *saved(good), r"upsample2\.1\.weight gives shape \(3, 3, 31, 16\)"
    if kind == "other stage":
        nets = net("pt_stage2_netG"), net("pt_stage1_netD")
        return "pytorch", *nets, "reads images of 64 pixels and the generator draws 256"
    if kind == "other condition":
        discriminator = dict(weight_files.read_pytorch(net("pt_stage1_netD")))
        discriminator["get_cond_logits.outlogits.0.weight"] = np.zeros((32, 39, 3, 3), np.float32)
        saved(discriminator)
        return "pytorch", net("pt_stage1_netG"), str(path), "takes 7 numbers .* gives 8"
    if kind == "tensorflow truncated":
        path.write_bytes((DATA / "tf_stage1_v1.ckpt").read_bytes()[:300_000])
        return "tensorflow", str(path), "", "no TensorFlow checkpoint, or a damaged one"
    if kind == "tensorflow missing":
        return "tensorflow", str(path), "", "There is no TensorFlow checkpoint"
    assert kind == "tensorflow given .pth"
    return "tensorflow", net("pt_stage1_netG"), "", "no TensorFlow checkpoint"


KINDS = (
    "missing file",
    "no checkpoint",
    "truncated",
    "list",
    "discriminator as generator",
    "other model",
    "missing weight",
    "extra weight",
    "other shape",
    "other stage",
    "other condition",
    "tensorflow truncated",
    "tensorflow missing",
    "tensorflow given .pth",
)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_rejected_in_one_sentence_and_nothing_is_written(kind, tmp_path):
    source, generator, discriminator, message = bad_input(kind, tmp_path)
    before = sorted(tmp_path.iterdir())
    options = [f"--source={source}", f"--generator={generator}"]
    options += [f"--discriminator={discriminator}"] if discriminator else []
    with pytest.raises(UserError, match=message) as error:
        command(*options, f"--workdir={tmp_path / 'run'}")
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_workdir_that_is_not_empty_is_left_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is not an empty folder"):
        command(*files_of("tf_stage1"), f"--workdir={tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_full_disk_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=300_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"needs 1 MB and .* has 0 MB left"):
        command(*files_of("tf_stage1"), f"--workdir={tmp_path / 'run'}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "needs --workdir"),
        (["--workdir=w"], "needs --source, one of pytorch, tensorflow, char_cnn_rnn"),
        (["--workdir=w", "--source=pytorch"], "needs --generator"),
        (["--workdir=w", "--source=char_cnn_rnn"], "needs --encoder"),
        (["--workdir=w", "--source=char_cnn_rnn", "--generator=g"], "takes no --generator"),
        (["--workdir=w", "--export=e", "--source=pytorch"], "--export takes no --source"),
    ],
)
def test_incomplete_commands_are_rejected(options, message):
    with pytest.raises(UserError, match=message):
        command(*options)


def test_a_failing_command_prints_one_line_and_exits_with_status_1(tmp_path):
    other = write_lua_torch(tmp_path / "other.t7", lua_torch.Table(a=1))
    options = [f"--encoder={other}", f"--workdir={tmp_path / 'run'}"]
    done = command_line("--source=char_cnn_rnn", *options, module="convert")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("stackgan_jax: ")
    assert [path.name for path in tmp_path.iterdir()] == ["other.t7"]

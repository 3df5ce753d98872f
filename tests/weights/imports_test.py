"""Imported weights draw what the published programs drew, and can be trained further."""

import jax
import lua_torch
import numpy as np
import pytest
from conversion import (
    DATA,
    close,
    command,
    files_of,
    load_golden,
    published_weights,
    template,
    write_lua_torch,
    write_small_encoder,
)

from stackgan_jax import sample, text
from stackgan_jax.models.char_cnn_rnn import PUBLISHED
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import gan_learner, loop
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.weights import recognition

GANS = ("pt_stage1", "pt_stage2", "tf_stage1", "tf_stage2")


def thin(images):
    return images[:, 3::16, 5::16]


@pytest.mark.parametrize("name", GANS)
def test_an_imported_run_draws_what_the_original_drew(imported_run, name):
    golden = load_golden(name)
    # The TensorFlow program's Stage-I sampler sets z to 0 while it trains (stageI/trainer.py).
    z = np.zeros_like(golden["in_z"]) if name == "tf_stage1" else golden["in_z"]
    second = golden["in_eps_stage2" if name.startswith("pt") else "in_eps_hr"]
    epsilons = (golden["in_eps"], second if name.endswith("2") else None)
    drawn = sample.generate(imported_run(name), golden["in_embedding"], z, *epsilons)
    kind = "eval" if name.startswith("pt") else "test"
    if name.endswith("1"):
        close(drawn["stage1"], golden[f"{kind}_fake"])
    else:
        large = "eval_fake" if name.startswith("pt") else "test_hr_fake"
        close(drawn["stage1"], golden["eval_stage1_fake" if name.startswith("pt") else "test_fake"])
        close(thin(drawn["stage2"]), golden[large])
        close(drawn["stage2"].mean((1, 2)), golden[f"{large}_mean"])


@pytest.mark.parametrize("name", GANS)
def test_an_imported_run_is_a_training_state_with_fresh_optimisers(imported_run, name):
    config, wanted = template(imported_run(name))
    state = Checkpoints(imported_run(name) / "checkpoints").restore(wanted).state
    assert state.step == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state.generator.opt_state))
    assert jax.tree.all(jax.tree.map(np.array_equal, state.ema["params"], state.generator.params))
    # An untrained network has statistics 0 and 1.
    means = state.discriminator.batch_stats["down_1"]["norm"]
    assert np.any(means["mean"] != 0) and np.any(means["var"] != 1)
    published = {"pt": "coco", "tf": "birds"}[name[:2]]
    assert config.dataset == published
    assert config.training.mismatch == {"coco": "shifted_text"}.get(published, "other_class_image")


def test_the_learning_rate_continues_from_the_given_step(tmp_path):
    command(*files_of("tf_stage1"), f"--workdir={tmp_path / 'run'}", "--step=7000")
    _, wanted = template(tmp_path / "run")
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    state = checkpoints.restore(wanted).state
    assert checkpoints.latest == state.step == 7000
    counts = {str(count) for count in jax.tree.leaves(state.generator.opt_state) if not count.ndim}
    assert counts == {"0", "7000"}


@pytest.mark.slow
def test_stage1_is_imported_alone_from_files_of_stage2(tmp_path, capsys):
    pytest.importorskip("torch")
    generator = f"--generator={DATA / 'pt_stage2_netG.pth'}"
    workdir = f"--workdir={tmp_path / 'run'}"
    command("--source=pytorch", generator, "--only_stage1", workdir)
    golden = load_golden("pt_stage2")
    drawn = sample.generate(
        tmp_path / "run", golden["in_embedding"], golden["in_z"], golden["in_eps"]
    )
    close(drawn["stage1"], golden["eval_stage1_fake"])
    config, wanted = template(tmp_path / "run")
    state = Checkpoints(tmp_path / "run" / "checkpoints").restore(wanted).state
    assert config.kind == "stage1" and config.discriminator.features == 4
    scale = state.discriminator.params["down_1"]["norm"]["scale"]
    assert 0 < np.abs(scale - 1).max() < 0.2
    assert "No discriminator was given" in capsys.readouterr().out


def test_stage1_is_recognised_alone_in_a_tensorflow_checkpoint_of_stage2():
    path = str(DATA / "tf_stage2_v1.ckpt")
    weights = recognition.recognise("tensorflow", path, only_stage1=True)
    assert weights.stage == 1
    assert weights.files[0].parts == {"g_net": "generator", "d_net": "discriminator"}


@pytest.mark.slow
def test_stage2_trains_from_an_imported_stage1(tmp_path, small_config):
    encoder = write_small_encoder(tmp_path / "encoder.t7")
    stage1 = tmp_path / "stage1"
    command(*files_of("tf_stage1"), f"--encoder={encoder}", f"--workdir={stage1}")
    config = small_config("stage2", text_encoder=str(stage1), stage1=str(stage1), steps=3)
    config.discriminator.size = 256
    config.training.z_features = 10
    state = loop.train(config, tmp_path / "stage2", gan_learner.create)
    assert state.step == 3
    imported = Checkpoints(stage1 / "checkpoints").restore_part(("ema",)).state["ema"]["params"]
    assert jax.tree.all(jax.tree.map(np.array_equal, state.priors[0]["params"], imported))
    drawn = sample.generate(tmp_path / "stage2", np.zeros((1, 32)))
    assert np.isfinite(drawn["stage2"]).all()


def test_another_data_set_keeps_the_published_networks(tmp_path):
    workdir = tmp_path / "run"
    command(*files_of("tf_stage1"), f"--workdir={workdir}", "--dataset=synthetic_birds")
    config = configuration.read(workdir / "config.json")
    birds = configuration.load("stage1.py", "birds")
    assert config.dataset == config.data.name == "synthetic_birds"
    assert config.training.halve_every == birds.training.halve_every


@pytest.mark.slow
def test_an_imported_encoder_embeds_as_published_and_can_be_trained(tmp_path, capsys):
    fields = PUBLISHED["flowers_icml"]
    weights = published_weights(fields)
    graph = lua_torch.Encoder(weights).graph(fields["cell"], fields["final_pooling"])
    file = write_lua_torch(tmp_path / "encoder.t7", lua_torch.checkpoint(graph))
    workdir = tmp_path / "run"
    command("--source=char_cnn_rnn", f"--encoder={file}", f"--workdir={workdir}")
    printed = capsys.readouterr().out
    assert "plain recurrence, features (384, 512, 512), as flowers_icml: 2,994,560" in printed
    golden = load_golden("char_cnn_rnn")
    close(text.embed(workdir, golden["captions"].tolist()), golden["emb/flowers_icml"])
    state = Checkpoints(workdir / "checkpoints").restore_part(("params",)).state["params"]
    hidden = state["text"]["recurrence"]["hidden"]["kernel"]
    assert np.array_equal(hidden, weights["rnn.h2h.weight"].T)
    assert configuration.read(workdir / "config.json").kind == "text_encoder"


def test_a_gan_is_imported_with_its_encoder_if_the_widths_match(tmp_path):
    torch = pytest.importorskip("torch")
    weights = {k: torch.from_numpy(v) for k, v in lua_torch.small_encoder().weights.items()}
    torch.save(weights, tmp_path / "encoder.pth")
    command(
        *files_of("tf_stage1"),
        f"--encoder={tmp_path / 'encoder.pth'}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert text.load_encoder(tmp_path / "run").width == 32
    other = write_small_encoder(tmp_path / "other.t7", width=31)
    with pytest.raises(UserError, match="31 numbers, but the network was made for 32"):
        command(*files_of("tf_stage1"), f"--encoder={other}", f"--workdir={tmp_path / 'no'}")
    assert not (tmp_path / "no").exists()

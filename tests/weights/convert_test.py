"""Imports of published weights draw what the published programs drew; exports are their inverse."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import lua_torch
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from stackgan_jax import convert, sample, text
from stackgan_jax.models.char_cnn_rnn import PUBLISHED, CharCnnRnn
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import learners
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.weights import imports, recognition, weight_files
from stackgan_jax.weights.encoder_names import shapes

DATA = Path(__file__).parents[1] / "data"
GANS = ("pt_stage1", "pt_stage2", "tf_stage1", "tf_stage2")


def command(*arguments):
    with flagsaver.flagsaver():
        flags.FLAGS(["convert", *arguments])
        convert.run()


def files_of(name):
    if name.startswith("tf"):
        return ["--source=tensorflow", f"--generator={DATA / name}_v1.ckpt"]
    networks = (f"--{kind}={DATA / name}_net{kind[0].upper()}.pth" for kind in NETWORKS)
    pytest.importorskip("torch")
    return ["--source=pytorch", *networks]


NETWORKS = ("generator", "discriminator")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """name → the workdir that the command made of that golden checkpoint."""
    made = {}

    def make(name):
        if name not in made:
            workdir = tmp_path_factory.mktemp("runs") / name
            command(*files_of(name), f"--workdir={workdir}")
            made[name] = workdir
        return made[name]

    return make


@pytest.fixture(scope="module")
def golden():
    def load(name):
        with np.load(DATA / f"{name}.npz") as archive:
            return dict(archive)

    return load


def close(found, expected):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def thin(images):
    return images[:, 3::16, 5::16]


# What is drawn


@pytest.mark.parametrize("name", GANS)
def test_imported_run_draws_what_the_original_drew(run, golden, name):
    g = golden(name)
    # The TensorFlow program's Stage-I sampler sets z to 0 while it trains (stageI/trainer.py).
    z = np.zeros_like(g["in_z"]) if name == "tf_stage1" else g["in_z"]
    second = g["in_eps_stage2" if name.startswith("pt") else "in_eps_hr"]
    epsilons = (g["in_eps"], second if name.endswith("2") else None)
    drawn = sample.generate(run(name), g["in_embedding"], z, *epsilons)
    kind = "eval" if name.startswith("pt") else "test"
    if name.endswith("1"):
        close(drawn["stage1"], g[f"{kind}_fake"])
    else:
        large = "eval_fake" if name.startswith("pt") else "test_hr_fake"
        close(drawn["stage1"], g["eval_stage1_fake" if name.startswith("pt") else "test_fake"])
        close(thin(drawn["stage2"]), g[large])
        close(drawn["stage2"].mean((1, 2)), g[f"{large}_mean"])


# What goes on training


def template(workdir):
    config = configuration.read(workdir / "config.json")
    stage1 = workdir / learners.STAGE1_CONFIG
    game = learners.build(config, configuration.read(stage1) if stage1.exists() else None)
    abstract = jax.eval_shape(lambda key: game.init(key, 32), jax.random.key(0))
    return config, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract)


@pytest.mark.parametrize("name", GANS)
def test_imported_run_is_a_state_to_train_with_fresh_optimisers(run, name):
    config, wanted = template(run(name))
    state = Checkpoints(run(name) / "checkpoints").restore(wanted)
    assert state.step == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state.generator.opt_state))
    assert jax.tree.all(jax.tree.map(np.array_equal, state.ema["params"], state.generator.params))
    # Moved by training from 0 and 1, the statistics of an untrained network.
    means = state.discriminator.batch_stats["down_1"]["norm"]
    assert np.any(means["mean"] != 0) and np.any(means["var"] != 1)
    published = {"pt": "coco", "tf": "birds"}[name[:2]]
    assert config.dataset == published
    assert config.training.mismatch == {"coco": "shifted_text"}.get(published, "other_class_image")


def test_learning_rate_goes_on_from_the_step(tmp_path):
    command(*files_of("tf_stage1"), f"--workdir={tmp_path / 'run'}", "--step=7000")
    _, wanted = template(tmp_path / "run")
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    state = checkpoints.restore(wanted)
    assert checkpoints.latest == state.step == 7000
    counts = {str(count) for count in jax.tree.leaves(state.generator.opt_state) if not count.ndim}
    assert counts == {"0", "7000"}


def test_only_stage1_of_stage2(tmp_path, golden, capsys):
    pytest.importorskip("torch")
    generator = f"--generator={DATA / 'pt_stage2_netG.pth'}"
    workdir = f"--workdir={tmp_path / 'run'}"
    command("--source=pytorch", generator, "--only_stage1", workdir)
    g = golden("pt_stage2")
    drawn = sample.generate(tmp_path / "run", g["in_embedding"], g["in_z"], g["in_eps"])
    close(drawn["stage1"], g["eval_stage1_fake"])
    config, wanted = template(tmp_path / "run")
    state = Checkpoints(tmp_path / "run" / "checkpoints").restore(wanted)
    assert config.kind == "stage1" and config.discriminator.features == 4
    scale = state.discriminator.params["down_1"]["norm"]["scale"]
    assert 0 < np.abs(scale - 1).max() < 0.2
    assert "No discriminator was given" in capsys.readouterr().out


def test_only_stage1_of_a_tensorflow_checkpoint():
    path = str(DATA / "tf_stage2_v1.ckpt")
    weights = recognition.recognise("tensorflow", path, only_stage1=True)
    assert weights.stage == 1
    assert weights.files[0].parts == {"g_net": "generator", "d_net": "discriminator"}


@pytest.mark.slow
def test_stage2_trains_from_an_imported_stage1(tmp_path, small_config):
    from stackgan_jax.training import loop

    encoder = tmp_path / "encoder.t7"
    encoder.write_bytes(lua_torch.dump(lua_torch.small_encoder().graph("plain", True)))
    stage1 = tmp_path / "stage1"
    command(*files_of("tf_stage1"), f"--encoder={encoder}", f"--workdir={stage1}")
    config = small_config("stage2", text_encoder=str(stage1), stage1=str(stage1), steps=3)
    config.discriminator.size = 256
    config.training.z_features = 10
    state = loop.train(config, tmp_path / "stage2")
    assert state.step == 3
    imported = Checkpoints(stage1 / "checkpoints").restore_part(("ema",))["ema"]["params"]
    assert jax.tree.all(jax.tree.map(np.array_equal, state.prior["params"], imported))
    drawn = sample.generate(tmp_path / "stage2", np.zeros((1, 32)))
    assert np.isfinite(drawn["stage2"]).all()


# What is told


def test_it_says_what_it_recognised_and_how_to_go_on(tmp_path, capsys):
    command(*files_of("tf_stage2"), f"--workdir={tmp_path / 'run'}", "--dataset=flowers")
    told = capsys.readouterr().out
    assert "Stage II of StackGAN" in told and "residual_blocks 4; 103,138 parameters" in told
    assert "sentence embedding 32, noise 10" in told and "no text encoder" in told
    assert "Stage I's discriminator was checked and left out" in told
    going_on = told.strip().splitlines()[-1]
    assert f"stage2.py:flowers --workdir={tmp_path / 'run'} --config." in going_on
    # The printed options make the run's config out of the published one.
    config = configuration.load(imports.CONFIGS / "stage2.py", "flowers")
    for option in going_on.split(" --config.")[1:]:
        name, value = option.split("=")
        owner = config[name.split(".")[0]]
        owner[name.split(".")[1]] = json.loads(value)
    configuration.refuse_another(
        configuration.read(tmp_path / "run" / "config.json"), config, tmp_path
    )


def test_another_dataset_keeps_the_published_networks(tmp_path):
    workdir = tmp_path / "run"
    command(*files_of("tf_stage1"), f"--workdir={workdir}", "--dataset=synthetic_birds")
    config = configuration.read(workdir / "config.json")
    birds = configuration.load(imports.CONFIGS / "stage1.py", "birds")
    assert config.dataset == config.data.name == "synthetic_birds"
    assert config.training.halve_every == birds.training.halve_every


# The other formats of the same weights


def test_newer_formats_give_the_same_arrays(tmp_path):
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
    config = configuration.load(imports.CONFIGS / "stage1.py", "coco")
    config.generator.update(weights.sizes["generator"].fields)
    return learners.build(config).generator


def test_tensorflow_format_v2_without_bookkeeping(tmp_path):
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


# Encoders


def test_encoder_run_embeds_and_goes_on_training(tmp_path, capsys):
    fields = PUBLISHED["flowers_icml"]
    weights = {
        key: lua_torch.draw(key, shape) for key, shape in shapes(CharCnnRnn(**fields)).items()
    }
    graph = lua_torch.Encoder(weights).graph(fields["cell"], fields["final_pooling"])
    (tmp_path / "encoder.t7").write_bytes(lua_torch.dump(lua_torch.checkpoint(graph)))
    workdir = tmp_path / "run"
    command("--source=char_cnn_rnn", f"--encoder={tmp_path / 'encoder.t7'}", f"--workdir={workdir}")
    told = capsys.readouterr().out
    assert "plain recurrence, features (384, 512, 512), as flowers_icml: 2,994,560" in told
    with np.load(DATA / "char_cnn_rnn.npz") as golden:
        embedded = text.embed(workdir, golden["captions"].tolist())
        close(embedded, golden["emb/flowers_icml"])
    state = Checkpoints(workdir / "checkpoints").restore_part(("params",))["params"]
    hidden = state["text"]["recurrence"]["hidden"]["kernel"]
    assert np.array_equal(hidden, weights["rnn.h2h.weight"].T)
    assert configuration.read(workdir / "config.json").kind == "text_encoder"


def test_encoder_state_dict_beside_a_gan(tmp_path):
    torch = pytest.importorskip("torch")
    weights = {k: torch.from_numpy(v) for k, v in lua_torch.small_encoder().weights.items()}
    torch.save(weights, tmp_path / "encoder.pth")
    command(
        *files_of("tf_stage1"),
        f"--encoder={tmp_path / 'encoder.pth'}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert text.load_encoder(tmp_path / "run").width == 32
    other = tmp_path / "other.t7"
    other.write_bytes(lua_torch.dump(lua_torch.small_encoder(width=31).graph("plain", True)))
    with pytest.raises(UserError, match="31 numbers, but the network was made for 32"):
        command(*files_of("tf_stage1"), f"--encoder={other}", f"--workdir={tmp_path / 'no'}")
    assert not (tmp_path / "no").exists()


# What is refused


def evil(path, how):
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
def test_code_in_a_pickle_does_not_run(how, tmp_path):
    witness = evil(tmp_path / "netG.pth", how)
    with pytest.raises(UserError, match=r"asks for (posix|nt)\.system, .*nothing of it was run"):
        recognition.recognise("pytorch", str(tmp_path / "netG.pth"))
    assert not witness.exists()


def damaged(kind, tmp_path):
    """(source, generator, discriminator, part of the sentence) of each kind of bad input."""
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
        return "pytorch", str(path), "", "not a PyTorch checkpoint, by how it begins"
    if kind == "truncated":
        path.write_bytes(Path(net("pt_stage1_netG")).read_bytes()[:100_000])
        return "pytorch", str(path), "", "damaged"
    if kind == "list":
        torch.save([1, 2], path)
        return "pytorch", str(path), "", "something else than weights by name"
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
        return "pytorch", *nets, "judges pictures of 64 pixels and the generator draws 256"
    if kind == "other condition":
        judge = dict(weight_files.read_pytorch(net("pt_stage1_netD")))
        judge["get_cond_logits.outlogits.0.weight"] = np.zeros((32, 39, 3, 3), np.float32)
        saved(judge)
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
def test_bad_input_is_told_in_a_sentence(kind, tmp_path):
    source, generator, discriminator, told = damaged(kind, tmp_path)
    before = sorted(tmp_path.iterdir())
    options = [f"--source={source}", f"--generator={generator}"]
    options += [f"--discriminator={discriminator}"] if discriminator else []
    with pytest.raises(UserError, match=told) as error:
        command(*options, f"--workdir={tmp_path / 'run'}")
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def test_workdir_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="already holds something"):
        command(*files_of("tf_stage1"), f"--workdir={tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=300_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"needs 1 MB and .* has 0 MB left"):
        command(*files_of("tf_stage1"), f"--workdir={tmp_path / 'run'}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "needs --workdir"),
        (["--workdir=w"], "needs --source, one of pytorch, tensorflow, char_cnn_rnn"),
        (["--workdir=w", "--source=pytorch"], "needs --generator"),
        (["--workdir=w", "--source=char_cnn_rnn"], "needs --encoder"),
        (["--workdir=w", "--source=char_cnn_rnn", "--generator=g"], "takes no --generator"),
        (["--workdir=w", "--export=e", "--source=pytorch"], "--export takes no --source"),
    ],
)
def test_incomplete_commands(options, told):
    with pytest.raises(UserError, match=told):
        command(*options)


def test_without_pytorch_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="install it with `pip install torch`"):
        weight_files.read_pytorch(DATA / "pt_stage1_netG.pth")


def test_exit_status_of_the_command(tmp_path):
    (tmp_path / "other.t7").write_bytes(lua_torch.dump(lua_torch.Table(a=1)))
    options = [f"--encoder={tmp_path / 'other.t7'}", f"--workdir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-m", "stackgan_jax.convert", "--source=char_cnn_rnn", *options],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("stackgan_jax: ")
    assert [path.name for path in tmp_path.iterdir()] == ["other.t7"]


# The way back


@pytest.mark.parametrize("name", ["pt_stage1", "pt_stage2"])
def test_export_is_the_inverse_of_import(run, name, tmp_path):
    torch = pytest.importorskip("torch")
    command(f"--export={tmp_path / 'out'}", f"--workdir={run(name)}")
    for network in "GD":
        original = torch.load(DATA / f"{name}_net{network}.pth", weights_only=True)
        exported = torch.load(tmp_path / "out" / f"net{network}.pth", weights_only=True)
        assert list(exported) == list(original)
        assert all(torch.equal(exported[key], original[key]) for key in original)


def test_networks_that_pytorch_never_had_are_not_exported(run, tmp_path):
    with pytest.raises(UserError, match=r"of the COCO configs alone, .*noise_first=False"):
        command(f"--export={tmp_path / 'out'}", f"--workdir={run('tf_stage1')}")
    assert not list(tmp_path.iterdir())


def test_exported_encoder_holds_the_normalisation(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "e.t7"
    path.write_bytes(lua_torch.dump(lua_torch.small_encoder().graph("plain", True)))
    captions = ["a small red bird", "a large blue one"]
    normalised = imports.read_encoder(path).normalised_by(captions)
    text.save_encoder(normalised, tmp_path / "encoder")
    command(f"--export={tmp_path / 'out'}", f"--workdir={tmp_path / 'encoder'}")
    read = imports.read_encoder(tmp_path / "out" / "encoder.pth")
    expected = normalised.embed(captions)
    assert np.abs(read.embed(captions) - expected).max() < 1e-3 * np.abs(expected).max()

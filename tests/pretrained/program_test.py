"""A StableHLO program draws what the model draws, with JAX alone."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jax import export

from stackgan_jax import UserError
from stackgan_jax.data import images
from stackgan_jax.pretrained import exports, program

RED = "a small red bird with black wings"
PAGE = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    return model.export(tmp_path_factory.mktemp("program") / "birds.stablehlo")


@pytest.mark.parametrize("count", [1, 3])
def test_it_draws_the_pictures_of_every_stage_for_any_number_of_sentences(model, written, count):
    call = export.deserialize(written.read_bytes()).call
    noise = model.sampler.noise(count, 5)
    drawn = call(model.encoder.tokens([RED] * count), noise.z, *noise.epsilons)
    expected = model.sampler.draw(model.embed([RED] * count), noise)
    for pictures, other in zip(drawn, expected.values(), strict=True):
        difference = np.int32(pictures) - images.to_uint8(other)
        assert np.abs(difference).max() <= 1


def test_it_is_a_program_for_every_kind_of_device(written):
    assert export.deserialize(written.read_bytes()).platforms == program.PLATFORMS


def test_the_loader_of_the_page_works_and_needs_jax_alone(written):
    code, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    code += (
        "\nimport sys"
        "\nprint([each.shape for each in pictures])"
        "\nassert not {'stackgan_jax', 'flax', 'orbax', 'tensorflow'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=written.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(8, 16, 16, 3), (8, 64, 64, 3)]"


def test_a_model_of_embeddings_takes_embeddings(model, tmp_path):
    without = dataclasses.replace(model, encoder=None)
    path = without.export(tmp_path / "birds.stablehlo")
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert about["reader"] == {"kind": "embedding", "width": 16}
    noise = model.sampler.noise(1, 0)
    call = export.deserialize(path.read_bytes()).call
    drawn = call(model.embed(RED), noise.z, *noise.epsilons)
    assert np.abs(np.int32(drawn[-1][0]) - np.int32(model(RED)[0])).max() <= 1


@pytest.mark.parametrize(
    ("format", "output", "dtype", "sentence"),
    [
        ("stablehlo", "birds.onnx", "float32", "give --output=birds.stablehlo"),
        ("onnx", "birds.stablehlo", "float32", "give --output=birds.onnx"),
        ("stablehlo", "birds.stablehlo", "bfloat16", "leave --dtype out"),
        ("onnx", "birds.onnx", "bfloat16", "leave --dtype out"),
        ("pth", "none", "float32", "has only the networks of the COCO configs"),
        ("safetensors", "none/birds.safetensors", "float32", "no folder none"),
    ],
)
def test_an_export_that_cannot_be_written_is_refused(runs, format, output, dtype, sentence):
    with pytest.raises(UserError, match=sentence):
        exports.write(runs / "stage1", format, output, dtype)


@pytest.mark.parametrize("format", exports.PROGRAMS)
def test_weights_too_large_for_a_program_are_refused_before_work(
    model, tmp_path, monkeypatch, format
):
    monkeypatch.setattr(program, "LARGEST", 1000)
    with pytest.raises(UserError, match=r"take \d\.\d GiB, .* choose --format=safetensors"):
        model.export(tmp_path / f"birds.{format}")
    assert not list(tmp_path.iterdir())


def test_pytorch_files_are_of_a_run_because_they_have_its_discriminator(tmp_path):
    with pytest.raises(UserError, match="only a run holds the discriminator"):
        exports.write(None, "pth", str(tmp_path / "exported"), "float32")


@pytest.mark.parametrize("format", sorted(exports.SUFFIXES.keys() - {"pth"}))
def test_every_format_is_named_after_the_model_by_default(
    runs, format, tmp_path, monkeypatch, capsys
):
    if format == "onnx":
        pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    exports.write(runs / "stage1", format, None, "float32")
    assert (tmp_path / f"stage1{exports.SUFFIXES[format]}").exists()
    assert "Written to" in capsys.readouterr().out


def test_an_export_into_a_folder_gets_a_name_there(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exports.write(runs / "stage1", "safetensors", ".", "float32")
    assert (tmp_path / "model.safetensors").exists()

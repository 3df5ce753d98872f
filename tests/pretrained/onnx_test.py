"""An ONNX file draws in ONNX Runtime what the model draws here."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from stackgan_jax import UserError
from stackgan_jax.data import images
from stackgan_jax.models.bag_of_words import BagOfWords
from stackgan_jax.models.char_cnn_rnn import CharCnnRnn
from stackgan_jax.runtime import configuration
from stackgan_jax.training import game
from stackgan_jax.training.gan import Noise

RED = "a small red bird with black wings"
PAGE = Path(__file__).parents[2] / "docs" / "export.md"
NEITHER = "with neither onnx nor ONNX Runtime there is nothing to compare"


@pytest.fixture(scope="module")
def runtime():
    pytest.importorskip("onnx", reason=NEITHER)
    return pytest.importorskip("onnxruntime", reason=NEITHER)


def in_onnx(runtime, function, arrays, outputs=1):
    """Converts a function for any batch, and runs it."""
    from stackgan_jax.pretrained.to_onnx.conversion import convert

    (many,) = export.symbolic_shape("pictures")
    shapes = [jax.ShapeDtypeStruct((many, *a.shape[1:]), a.dtype) for a in arrays]
    inputs = {f"input{i}": shape for i, shape in enumerate(shapes)}
    converted = convert(function, inputs, [f"output{i}" for i in range(outputs)])
    session = runtime.InferenceSession(converted.SerializeToString())
    return session.run(None, dict(zip(inputs, map(np.asarray, arrays), strict=True)))


def weights_of(shapes):
    """Random numbers in place of weights: variances are positive, and no gate is closed."""
    random = np.random.default_rng(0)

    def weights(array):
        if len(array.shape) < 2:
            return np.float32(random.uniform(0.1, 0.5, array.shape))
        deviation = np.prod(array.shape[:-1]) ** -0.5
        return np.float32(random.normal(0, deviation, array.shape))

    return jax.tree.map(weights, shapes)


def narrow_cascade(stages, dataset, dtype="float32"):
    """The narrowest generators of a data set's configs, and weights for them."""
    configs = [configuration.load(f"stage{i}.py", dataset) for i in range(1, stages + 1)]
    for stage, config in enumerate(configs, start=1):
        config.generator.features = config.generator.condition = 8
        config.generator.dtype = dtype
        config.discriminator.size = 4 ** (stage + 1)
    configs[0].generator.size = 16
    cascade = game.build(configs[-1], configs[:-1]).cascade
    shapes = [
        jax.eval_shape(lambda stage=stage: cascade.init(stage, jax.random.key(0), 16))
        for stage in range(stages)
    ]
    return cascade, tuple(weights_of(shapes))


@pytest.mark.parametrize("dataset", ["birds", "coco", "birds,modern"])
@pytest.mark.parametrize("stages", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_generator_draws_the_same(runtime, stages, dataset):
    for picture, expected in both_drawn(runtime, *narrow_cascade(stages, dataset)):
        assert 0.01 < np.std(expected) < 0.9
        np.testing.assert_allclose(picture, expected, atol=1e-4)


@pytest.mark.parametrize("dataset", ["birds", "birds,modern"])
def test_a_generator_of_bfloat16_draws_the_same_up_to_its_rounding(runtime, dataset):
    ((picture, expected),) = both_drawn(runtime, *narrow_cascade(1, dataset, "bfloat16"))
    assert 0.01 < np.std(expected) < 0.9
    assert 0 < np.sqrt(np.mean((picture - expected) ** 2)) < 0.02 * np.std(expected)


def both_drawn(runtime, cascade, weights):
    """(picture by ONNX Runtime, picture by JAX) of each stage, for random texts and noise."""
    stages = len(weights)
    draw = lambda text, *noise: tuple(
        cascade.draw(weights, text, Noise(noise[0], noise[1:])).values()
    )
    noise = jax.eval_shape(lambda: cascade.noise(jax.random.key(0), 3))
    random = np.random.default_rng(1)
    sizes = 16, noise.z.shape[1], *(each.shape[1] for each in noise.epsilons)
    arrays = [np.float32(random.normal(size=(3, size))) for size in sizes]
    drawn = in_onnx(runtime, draw, arrays, stages)
    return zip(drawn, map(np.float32, jax.jit(draw)(*arrays)), strict=True)


@pytest.mark.parametrize(
    "module",
    [
        CharCnnRnn(16, (8, 8, 8), "plain", True),
        CharCnnRnn(16, (8, 8, 8), "gated", False),
        BagOfWords(16, 70),
    ],
    ids=["plain", "gated", "words"],
)
def test_every_text_encoder_embeds_the_same(runtime, module):
    tokens = np.random.default_rng(0).integers(0, 70, (3, 201), np.uint8)
    params = jax.eval_shape(lambda: module.init(jax.random.key(0), tokens))["params"]
    params = jax.tree.map(lambda a: a - 0.2, weights_of(params))
    embed = lambda tokens: (module.apply({"params": params}, tokens),)
    (embedding,) = in_onnx(runtime, embed, [tokens])
    np.testing.assert_allclose(embedding, jax.jit(embed)(tokens)[0], atol=1e-4)


@pytest.fixture(scope="module")
def written(runtime, model, tmp_path_factory):
    return model.export(tmp_path_factory.mktemp("onnx") / "birds.onnx")


@pytest.mark.parametrize("count", [1, 3])
def test_a_file_draws_the_pictures_of_every_stage(runtime, model, written, count):
    session = runtime.InferenceSession(written)
    names = [each.name for each in session.get_inputs()]
    assert names == ["text", "z", "epsilon1", "epsilon2"]
    noise = model.sampler.noise(count, 5)
    arrays = model.encoder.tokens([RED] * count), noise.z, *noise.epsilons
    drawn = session.run(None, dict(zip(names, map(np.asarray, arrays), strict=True)))
    expected = model.sampler.draw(model.embed([RED] * count), noise)
    assert [each.name for each in session.get_outputs()] == list(expected)
    for pictures, other in zip(drawn, expected.values(), strict=True):
        assert np.abs(np.int32(pictures) - images.to_uint8(other)).max() <= 1


def test_a_file_is_described_as_a_stablehlo_program_is(model, written, tmp_path):
    other = model.export(tmp_path / "birds.stablehlo")
    about, expected = (
        json.loads(each.with_suffix(".json").read_text()) for each in (written, other)
    )
    assert about == expected


def test_the_example_of_the_page_runs_without_this_project(written):
    _, code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    code += (
        "\nimport sys"
        "\nprint([each.shape for each in pictures])"
        "\nassert not {'stackgan_jax', 'jax', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=written.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(8, 16, 16, 3), (8, 64, 64, 3)]"


def twice(x):
    """The loop of a scan, which is not a call."""
    return jax.lax.scan(lambda carry, _: (2 * carry, None), x, length=2)[0]


@pytest.mark.parametrize(
    ("function", "operation"),
    [(jnp.sort, "sort"), (twice, "scan"), (lambda x: jnp.einsum("ba,ca->bc", x, x), "dot_general")],
    ids=["unknown", "loop", "form"],
)
def test_an_operation_without_a_form_in_onnx_is_named(runtime, function, operation):
    with pytest.raises(UserError, match=f"JAX's {operation} .* --format=stablehlo") as raised:
        in_onnx(runtime, lambda x: (function(x),), [np.zeros((2, 3), np.float32)])
    assert "\n" not in str(raised.value)


def test_without_onnx_one_sentence_says_how_to_install_it(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "stackgan_jax.pretrained.to_onnx.conversion", raising=False)
    with pytest.raises(UserError, match=r"ONNX file needs onnx, .*`pip install onnx`"):
        model.export(tmp_path / "birds.onnx")
    assert not list(tmp_path.iterdir())

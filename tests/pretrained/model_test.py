"""A model in Python: the pictures of the command line, seeds, stages, and sentences it refuses."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from stackgan_jax import UserError, sample, sheets, text
from stackgan_jax.data import images

RED, BLUE = "a small red bird with black wings", "a blue bird"


def arrays(pictures):
    return [np.asarray(picture) for picture in pictures]


def same(a, b):
    return len(a) == len(b) and all(map(np.array_equal, arrays(a), arrays(b)))


def test_pictures_are_those_of_the_command_line(runs, model):
    embeddings = np.repeat(text.embed(runs / "stage2", [RED, BLUE]), 3, axis=0)
    drawn = sample.generate(runs / "stage2", embeddings, seed=5)["stage2"]
    assert same(model([RED, BLUE], n=3, seed=5), images.to_uint8(drawn))


def test_a_seed_is_that_of_the_command_line(runs, model, tmp_path):
    request = sheets.Request([RED, BLUE], seeds=[4, 7])
    sheets.write(runs / "stage2", request, f"{tmp_path}/drawn/")
    files = [Image.open(tmp_path / "drawn" / f"caption2_seed{seed}.png") for seed in (4, 7)]
    assert same(model.draw(BLUE, seeds=[4, 7]), files)


def test_a_picture_is_drawn_again_by_its_sentence_and_seed(model):
    together = model.draw([RED, BLUE, RED], seeds=[3, 4, 5])
    alone = model.draw(RED, seeds=[5])
    assert same(together[2:], alone)
    other = model.draw(RED, seeds=[3, 5], stage=1)
    assert not same(other[:1], other[1:])


def test_any_stage_draws(model):
    assert model.sizes == (16, 64) == tuple(model.draw(RED, stage=i)[0].width for i in (1, 2))


def test_a_way_between_sentences_starts_and_ends_with_them(model):
    way = model.interpolate(RED, BLUE, steps=3, seed=2)
    embeddings = model.embed([RED, BLUE])
    first, last = (model(embedding[None], seed=2)[0] for embedding in embeddings)
    for one, other in ((way[0], first), (way[2], last)):
        assert np.abs(np.int32(one) - np.int32(other)).max() <= 1


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda m: m(""), "empty"),
        (lambda m: m([]), "no caption"),
        (lambda m: m("красная птица"), "can read nothing"),
        (lambda m: m("a bird " * 200), "has 1,400 letters"),
        (lambda m: m(RED, n=0), "n is 0"),
        (lambda m: m.draw(RED, stage=3), "stage is 3; this model has 1 to 2"),
        (lambda m: m.draw([RED, BLUE], seeds=[1, 2, 3]), "2 sentences and 3 seeds"),
        (lambda m: m.interpolate(RED, BLUE, steps=1), "steps is 1"),
        (lambda m: m(np.zeros((2, 3), np.float32)), "embedding has shape"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(model, draw, sentence):
    with pytest.raises(UserError, match=sentence):
        draw(model)


def test_what_it_is_fits_a_line_and_a_dictionary(model):
    assert repr(model).endswith("16×16 → 64×64, step 4>")
    assert len(repr(model.sampler)) < 200
    assert model.info["sizes"] == (16, 64)
    assert len(model.captions) == 12
    assert repr(model(RED, n=2)) == "2 pictures of 64×64"


def test_jupyter_shows_a_grid(model):
    assert model(RED, n=4)._repr_png_().startswith(b"\x89PNG")


def test_drawing_imports_no_tensorflow(runs):
    program = f"""
import sys, stackgan_jax
stackgan_jax.load({str(runs / "stage1")!r})({RED!r})
sys.exit("tensorflow" in sys.modules)
"""
    assert not subprocess.run([sys.executable, "-c", program], check=False).returncode

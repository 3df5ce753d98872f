"""The judge of synthetic birds: exact resizing, fair scores, what it reads, and its training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from stackgan_jax.data.synthetic_birds.attributes import CAPTION_ATTRIBUTES, COLOUR_ATTRIBUTES
from stackgan_jax.evaluation import attribute_training, attributes
from stackgan_jax.models.attribute_classifier import doubled, found_places, look, resize
from stackgan_jax.runtime.errors import UserError


@dataclasses.dataclass
class Oracle(attributes.Judge):
    """Reads only the first pixel, which selects one of two answers."""

    def read(self, images):
        first = np.asarray(images)[:, 0, 0, 0] > 0
        return {
            "crown": np.where(first, "red", "blue"),
            "wings": np.where(first, "red", "blue"),
            "pose": np.where(first, "level", "upright"),
            "beak": np.where(first, "black", "grey"),
        }


ORACLE = Oracle({}, {"crown": 0.99, "wings": 0.95, "pose": 1.0, "beak": 0.3})
PICTURES = np.sign(np.arange(4) - 1.5).reshape(4, 1, 1, 1) * np.ones((4, 8, 8, 3), np.float32)

# Birds whose pupil is the darkest place around, looking to one side.
FACING = {
    side: (("direction", side), ("eyes", "black"), ("crown", "white")) for side in ("left", "right")
}


def test_score_counts_named_attributes_that_are_read_reliably():
    wanted = [
        {"crown": "blue", "wings": "red"},
        {"crown": "red", "beak": "black"},
        {"pose": "level"},
        {},
    ]
    shares = attributes.score(ORACLE, PICTURES, wanted)
    assert shares == {
        "overall": 2 / 4,
        "colours": 1 / 3,
        "crown": 1 / 2,
        "wings": 0.0,
        "pose": 1.0,
    }


def test_chance_is_the_mean_score_over_all_pairings():
    wanted = [{"crown": "blue"}, {"crown": "red", "pose": "forward"}, {"wings": "red"}, {}]
    shifted = [attributes.score(ORACLE, np.roll(PICTURES, i, 0), wanted) for i in range(4)]
    for name, share in attributes.chance(ORACLE, PICTURES, wanted).items():
        assert share == pytest.approx(np.mean([score[name] for score in shifted]))


def test_only_attributes_that_are_read_reliably_are_judged():
    assert ORACLE.judged == ["crown", "wings", "pose"]


@pytest.mark.parametrize("before, after", [(304, 76), (304, 64), (76, 64), (12, 12), (5, 10)])
def test_resizing_averages_areas(before, after):
    image = np.random.default_rng(0).uniform(-1, 1, (2, before, before, 3)).astype(np.float32)
    resized = resize(jnp.asarray(image), after)
    assert np.allclose(resized.mean((1, 2)), image.mean((1, 2)), atol=1e-5)
    channel = Image.fromarray(image[0, :, :, 1]).resize((after, after), Image.Resampling.BOX)
    if before % after == 0:
        assert np.allclose(resized[0, :, :, 1], channel, atol=1e-5)


def test_doubling_repeats_pixels():
    x = jnp.arange(2 * 2 * 3 * 2.0).reshape(2, 2, 3, 2)
    assert jnp.array_equal(doubled(x), jnp.repeat(jnp.repeat(x, 2, 1), 2, 2))


def test_a_look_averages_a_square_of_the_picture_and_sees_nothing_outside():
    image = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    centres = jnp.asarray([[0.5, 0.25], [1.0, 0.5]])  # x, y
    seen = look(jnp.asarray(image), centres, 0.5, 8)
    pairs = image.reshape(2, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.allclose(seen[0], pairs[0, :8, 4:12], atol=1e-5)
    assert np.allclose(seen[1, :, :4], pairs[1, 4:12, 12:], atol=1e-5)
    assert not np.any(seen[1, :, 4:])


def test_a_place_is_the_mean_of_its_attention():
    where = jnp.full((1, 4, 4, 2), -30.0).at[0, 1, 3, 0].set(30.0)
    where = where.at[0, 0, 0, 1].set(30.0).at[0, 0, 2, 1].set(30.0)
    assert np.allclose(found_places(where)[0], [(7 / 8, 3 / 8), (3 / 8, 1 / 8)])


def test_the_judge_of_the_package_reads_the_birds_of_both_stages():
    """Eyes, beak, tail and pattern too, of birds that it was not trained on."""
    birds = attribute_training.stacked([attribute_training.bird(7, i) for i in range(150)])
    judge = attributes.load()
    assert set(judge.judged) >= {*COLOUR_ATTRIBUTES, "eyes", "beak", "pose", "background"}
    found = attribute_training.accuracy(judge.variables, birds)
    assert found.keys() == judge.accuracy.keys() == set(CAPTION_ATTRIBUTES)
    for name in judge.judged:
        assert found[name] > 0.9, name


def test_degraded_pictures_stay_in_range_and_differ():
    image = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)), jnp.float32)
    degraded = jax.jit(attribute_training._degrade)(jax.random.key(0), image)
    assert degraded.shape == image.shape and jnp.abs(degraded).max() <= 1
    assert 0.01 < jnp.abs(degraded - image).mean() < 0.5


@pytest.mark.parametrize("direction", ["left", "right"])
def test_the_places_of_a_drawn_bird_are_those_of_its_parts(direction):
    """The eye's place is the dark pupil's, whichever way the bird looks and it is cropped."""
    numbers = [attributes.ATTRIBUTES[n].index(v) for n, v in FACING[direction]]
    drawn = (attribute_training.bird(3, i) for i in range(400))
    image, _, places = next(
        each for each in drawn if [each[1][n] for n, _ in FACING[direction]] == numbers
    )
    assert abs(places[0, 0] - places[1, 0]) > 0.05  # the beak is beside the eye
    assert (places[1, 0] > places[0, 0]) == (direction == "right")
    x, y = np.floor(places[0] * len(image)).astype(int)
    assert image[y - 1 : y + 2, x - 1 : x + 2].mean() < 60
    crop, moved = attribute_training._cropped(
        jax.random.key(0), jnp.asarray(image)[None], jnp.asarray(places)[None]
    )
    x, y = np.floor(np.asarray(moved[0, 0]) * attribute_training.SIZE).astype(int)
    assert crop[0, y - 1 : y + 2, x - 1 : x + 2].mean() < -0.5


@pytest.fixture(scope="module")
def birds():
    drawn = [attribute_training.bird(0, i) for i in range(48)]
    return attribute_training.stacked(drawn[:32]), attribute_training.stacked(drawn[32:])


@pytest.mark.slow
def test_a_judge_learns_attributes(birds):
    judge = attribute_training.train(*birds, steps=150, batch_size=8)
    images, truth, _ = birds[0]
    read = judge.read(images[:, 12:140, 12:140] / np.float32(127.5) - 1)
    values = attributes.ATTRIBUTES
    assert set(read) == set(CAPTION_ATTRIBUTES) == set(judge.accuracy)
    right = [np.mean(np.take(values[n], truth[n]) == read[n]) for n in COLOUR_ATTRIBUTES]
    # Chance is 1 / 8.
    assert np.mean(right) > 0.3
    assert all(0 <= share <= 1 for share in judge.accuracy.values())


@pytest.mark.slow
def test_training_is_deterministic_and_reports_progress(birds, tmp_path):
    calls = []
    one = attribute_training.train(*birds, seed=3, steps=3, batch_size=8, progress=calls.append)
    two = attribute_training.train(*birds, seed=3, steps=3, batch_size=8)
    assert calls == [1, 2, 3]
    assert one.accuracy == two.accuracy
    assert jax.tree.all(jax.tree.map(np.array_equal, one.variables, two.variables))
    one.save(tmp_path / "made" / "judge")
    again = attributes.load(tmp_path / "made" / "judge")
    assert again.accuracy == one.accuracy
    pictures = birds[1].images / np.float32(127.5) - 1
    assert all(np.array_equal(again.read(pictures)[n], v) for n, v in one.read(pictures).items())
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["judge"]


def test_a_file_without_a_judge_is_rejected(tmp_path):
    (tmp_path / "other").write_bytes(b"not a judge")
    for name in ("missing", "other"):
        with pytest.raises(UserError, match=r"holds no attribute classifier of this version"):
            attributes.load(tmp_path / name)

"""The judge of synthetic birds: exact resizing, fair scores, training, and its file."""

import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from stackgan_jax.data import registry
from stackgan_jax.data.synthetic_birds import worker
from stackgan_jax.data.synthetic_birds.attributes import CAPTION_ATTRIBUTES, COLOUR_ATTRIBUTES
from stackgan_jax.evaluation import attributes
from stackgan_jax.models.attribute_classifier import doubled, resize
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


def test_degraded_pictures_stay_in_range_and_differ():
    image = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)), jnp.float32)
    degraded = jax.jit(attributes._degrade)(jax.random.key(0), image)
    assert degraded.shape == image.shape and jnp.abs(degraded).max() <= 1
    assert 0.01 < jnp.abs(degraded - image).mean() < 0.5


@pytest.fixture(scope="module")
def birds(data_dir):
    """(images uint8 [n, 304, 304, 3], truth) of each split of the tiny data set."""
    builder = registry.prepare("synthetic_birds", "tiny", data_dir)
    splits = []
    for split in ("train", "test"):
        examples = list(builder.as_dataset(split=split).as_numpy_iterator())
        names = examples[0]["attributes"]
        truth = {name: np.array([e["attributes"][name] for e in examples]) for name in names}
        splits += [np.stack([example["image"] for example in examples]), truth]
    return splits


@pytest.fixture(scope="module")
def judge(birds):
    return attributes.train(*birds, seed=0, steps=120, batch_size=8)


@pytest.mark.slow
def test_a_judge_learns_attributes(birds, judge):
    images, truth, _, held_out = birds
    read = judge.read(images[:, 24:280, 24:280] / 127.5 - 1.0)
    values = attributes.ATTRIBUTES
    assert set(read) == set(CAPTION_ATTRIBUTES) == set(judge.accuracy)
    right = [np.mean(np.take(values[n], truth[n]) == read[n]) for n in COLOUR_ATTRIBUTES]
    # Chance is 1 / 8.
    assert np.mean(right) > 0.3
    assert all(0 <= share <= 1 for share in judge.accuracy.values())
    assert len(held_out["crown"]) == 12


@pytest.mark.slow
def test_training_is_deterministic_and_reports_progress(birds):
    calls = []
    progress = lambda *state: calls.append(state)
    one = attributes.train(*birds, seed=3, steps=3, batch_size=8, progress=progress)
    two = attributes.train(*birds, seed=3, steps=3, batch_size=8)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert one.accuracy == two.accuracy
    assert jax.tree.all(jax.tree.map(np.array_equal, one.variables, two.variables))


@pytest.mark.slow
def test_a_judge_survives_saving_and_loading(birds, judge, tmp_path):
    judge.save(tmp_path / "report" / "judge")
    again = attributes.load(tmp_path / "report" / "judge")
    assert again.accuracy == judge.accuracy
    pictures = birds[2] / np.float32(127.5) - 1
    assert all(np.array_equal(again.read(pictures)[n], v) for n, v in judge.read(pictures).items())
    assert [file.name for file in (tmp_path / "report").iterdir()] == ["judge"]


def test_a_file_without_a_judge_is_rejected(tmp_path):
    with pytest.raises(UserError, match=r"no attribute classifier at .*train it"):
        attributes.load(tmp_path / "missing")
    (tmp_path / "other").write_bytes(b"not a judge")
    with pytest.raises(UserError, match=r"holds no attribute classifier of this version"):
        attributes.load(tmp_path / "other")


@pytest.mark.slow
def test_colours_of_unseen_species_are_read_reliably():
    """Draws 2,880 small pictures and trains as long as the quickstart; takes minutes."""
    plan = worker.Plan(train_species=504, test_species=72, images_per_species=5)
    splits = {"train": range(plan.train_images), "test": range(plan.train_images, plan.images)}
    parts = []
    for indices in splits.values():
        examples = list(worker.examples(plan, indices, workers=2))
        images = [Image.open(io.BytesIO(e["image"])).reduce(4) for e in examples]
        truth = {
            name: np.array([values.index(e["attributes"][name]) for e in examples])
            for name, values in attributes.ATTRIBUTES.items()
        }
        parts += [np.stack([np.asarray(image) for image in images]), truth]
    judge = attributes.train(*parts)
    assert set(judge.judged) >= {*COLOUR_ATTRIBUTES, "pose", "background"}

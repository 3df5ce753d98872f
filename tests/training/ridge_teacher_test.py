"""The ridge teacher: features that tell words apart teach captions their places."""

import numpy as np

from stackgan_jax.training import ridge_teacher

WORDS = ("red", "blue", "green", "yellow", "black", "white")


def taught(width, noise=0.05):
    rng = np.random.default_rng(0)
    colours = rng.integers(len(WORDS), size=120)
    means = rng.standard_normal((len(WORDS), 10))
    features = means[colours][:, None] + noise * rng.standard_normal((120, 2, 10))
    features = (features - features.mean((0, 1))) / features.std((0, 1))
    captions = [[f"a {WORDS[c]} bird", f"this bird is {WORDS[c]}"] for c in colours]
    return ridge_teacher.teacher(features, captions, width), features, colours


def test_a_picture_lies_nearest_to_the_captions_of_its_word():
    teacher, features, colours = taught(width=8)
    pictures = features[:, 0] @ teacher.kernel
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    nearest = (unit(pictures) @ unit(teacher.places).T).argmax(axis=1)
    assert np.mean(colours[nearest // 2] == colours) > 0.95


def test_shapes_follow_the_width_even_beyond_the_vocabulary():
    teacher, _, _ = taught(width=32)
    assert teacher.kernel.shape == (10, 32)
    assert teacher.places.shape == (240, 32) and np.isfinite(teacher.places).all()


def test_features_without_spread_give_finite_places():
    teacher = ridge_teacher.teacher(np.zeros((4, 1, 3)), [["a bird"]] * 4, width=2)
    assert all(np.isfinite(each).all() for each in teacher)

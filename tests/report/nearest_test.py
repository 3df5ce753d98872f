"""The training images nearest to pictures."""

import numpy as np

from stackgan_jax.report.nearest import find_nearest


def test_the_nearest_training_image_is_found_in_the_mirror_too():
    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (700, 10, 10, 3), np.uint8)
    shown = np.stack(
        [training[600, 1:9, 1:9], training[3, 1:9, 1:9][:, ::-1], training[5, 1:9, 1:9]]
    )
    shown[2] += np.where(shown[2] < 128, 10, -10).astype(np.uint8)
    nearest = find_nearest(shown, training)
    assert nearest.index.tolist() == [600, 3, 5]
    assert nearest.mirrored.tolist() == [False, True, False]
    np.testing.assert_allclose(nearest.distance, [0, 0, 10], atol=0.1)
    for i in range(2):
        np.testing.assert_array_equal(nearest.image(training, i, 8), shown[i])

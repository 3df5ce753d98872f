"""A split is decoded once and completely; its captions are embedded once."""

import numpy as np
import pytest

from stackgan_jax import text
from stackgan_jax.data import augment, input_pipeline, registry
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError


@pytest.fixture(scope="module")
def split(data_dir):
    data = registry.config("synthetic_birds")
    data.update(builder_config="tiny", dir=str(data_dir))
    return input_pipeline.load(data, "train", 19)


def test_a_split_is_decoded_completely(split):
    assert split.images.shape == (36, 19, 19, 3) and split.images.dtype == np.uint8
    assert split.images.std() > 20
    assert all(len(captions) == 10 for captions in split.captions)
    assert sorted(set(split.labels)) == list(range(12))
    assert {"crown", "wings"} <= split.attributes.keys()
    assert isinstance(split.images, np.memmap)


@pytest.mark.parametrize(("margin", "side"), [(3 / 16, 19), (0.0, 16), (1.0, 32)])
def test_a_stage_stores_pictures_larger_than_its_crops_by_the_margin(data_dir, margin, side):
    config = configuration.load("stage1.py")
    config.data.update(builder_config="tiny", dir=str(data_dir))
    config.margin = margin
    split = input_pipeline.load_for(config, "train", 16)
    assert split.images.shape == (36, side, side, 3)
    whole = input_pipeline.load(config.data, "train", 16).images[0].astype(float)
    middle = np.asarray(augment.centre(split.images[:1], 16))[0] * 127.5 + 127.5
    assert (np.abs(middle - whole).mean() < 0.01) == (margin == 0)  # of 255


def test_captions_are_embedded_once(split, runs):
    encoder = text.load_encoder(runs / "text_encoder")
    first = split.embed_captions(encoder)
    (file,) = split.directory.glob(f"embeddings-{encoder.fingerprint}.npy")
    written = file.stat().st_mtime_ns
    again = split.embed_captions(encoder)
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.flat, again.flat)
    expected = encoder.embed(split.captions[1])
    np.testing.assert_allclose(first.flat[10:20], expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_crop_is_rejected(data_dir):
    data = registry.config("synthetic_birds")
    data.update(builder_config="tiny", dir=str(data_dir), crop="round")
    with pytest.raises(UserError, match="'round'; choose from none, square, bbox"):
        input_pipeline.load(data, "train", 20)

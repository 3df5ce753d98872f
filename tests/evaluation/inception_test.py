"""FID's Inception-v3: torch-fidelity's numbers, the resizes, and weights of other networks."""

import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
import random_inception
from PIL import Image

from stackgan_jax.evaluation import inception, inception_weights
from stackgan_jax.runtime.errors import UserError

DATA = Path(__file__).parents[1] / "data"
OTHER = "can't be compared with any published FID"


@pytest.fixture(scope="module")
def golden():
    with np.load(DATA / "inception_fid.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def state_dict():
    return random_inception.state_dict()


@pytest.fixture(scope="module")
def variables(state_dict):
    return inception_weights.from_state_dict(state_dict)


@pytest.fixture(scope="module")
def pictures(golden):
    """The golden images: two of 64 pixels, from the file, and two of 256, drawn by its seed."""
    draws = np.random.RandomState(41)
    draws.randint(0, 256, (2, 64, 64, 3))
    return {"a": golden["images_a"], "b": draws.randint(0, 256, (2, 256, 256, 3)).astype(np.uint8)}


@pytest.mark.parametrize("name", ["a", pytest.param("b", marks=pytest.mark.slow)])
def test_every_layer_equals_torch_fidelity(name, golden, variables, pictures):
    found = inception.Extractor(variables)(pictures[name])
    assert set(found) == {"64", "192", "768", "2048", "logits", "logits_unbiased"}
    for layer, features in found.items():
        expected = golden[f"{name}/{layer}"]
        assert np.abs(features - expected).max() <= 1e-5 * np.abs(expected).max(), layer


@pytest.mark.slow
def test_features_from_a_file_do_not_depend_on_devices_or_batches(golden, pictures, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    random_inception.write(path)
    many = np.concatenate([pictures["a"]] * 9)  # 8 devices, a batch of 16 and 2 of another
    found = inception.inception_features(path, many, batch_size=16)
    assert jax.local_device_count() == 8
    for layer, features in found.items():
        expected = np.concatenate([golden[f"a/{layer}"]] * 9)
        assert np.abs(features - expected).max() <= 1e-5 * np.abs(expected).max(), layer
    assert not inception_weights.load(path).published


@pytest.mark.slow
def test_bfloat16_is_close_to_float32(golden, variables, pictures):
    found = inception.Extractor(variables, dtype="bfloat16")(pictures["b"])
    for layer, features in found.items():
        expected = golden[f"b/{layer}"]
        assert np.abs(features - expected).max() <= 0.02 * np.abs(expected).max(), layer


@pytest.mark.parametrize("size", [32, 256, 299, 400])
def test_resizes_equal_those_of_the_published_programs(size):
    picture = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)

    def resized(name):
        matrix = inception.resize_matrix(name, size)
        return np.asarray(inception.resized(picture, name, matrix, matrix))[0]

    channels = [Image.fromarray(picture[0, ..., c].astype(np.float32)) for c in range(3)]
    by_pil = [channel.resize((299, 299), Image.Resampling.BICUBIC) for channel in channels]
    expected = np.clip(np.stack([np.asarray(channel) for channel in by_pil], axis=-1), 0, 255)
    np.testing.assert_allclose(resized("clean"), expected, atol=1e-3)

    place = np.arange(299) * size / 299  # TensorFlow 1: corners, not middles, of pixels
    low = np.minimum(place.astype(int), size - 1)
    high, weight = np.minimum(low + 1, size - 1), (place - low)[:, None]
    rows = picture[0, low] * (1 - weight[..., None]) + picture[0, high] * weight[..., None]
    expected = rows[:, low] * (1 - weight) + rows[:, high] * weight
    np.testing.assert_allclose(resized("tensorflow"), expected, atol=1e-3)


def test_half_pixel_resize_equals_pytorch():
    torch = pytest.importorskip("torch")
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    matrix = inception.resize_matrix("pytorch", 64)
    found = np.asarray(inception.resized(picture, "pytorch", matrix, matrix))
    tensor = torch.from_numpy(picture).permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(tensor, (299, 299), mode="bilinear")
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1).numpy(), atol=1e-3)


def torchvisions(weights):
    return weights | {
        "fc.weight": np.zeros((1000, 2048), np.float32),
        "fc.bias": np.zeros(1000, np.float32),
        "AuxLogits.fc.weight": np.zeros((1000, 768), np.float32),
    }


def fine_tuned(weights):
    return weights | {"fc.weight": np.zeros((50, 2048), np.float32), "fc.bias": np.zeros(50)}


def another(weights):
    return {"features.0.weight": np.zeros((8, 3, 3, 3), np.float32)}


def wider(weights):
    return weights | {"Conv2d_2a_3x3.bn.bias": np.zeros(48, np.float32)}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (torchvisions, f"is torchvision's Inception-v3 \\(1000 classes\\).*{OTHER}"),
        (fine_tuned, "fine-tuned to 50 classes, not FID's of 1008"),
        (another, "another network \\(with features.0.weight\\)"),
        (wider, r"Conv2d_2a_3x3.bn.bias has shape \(48,\) in the file and \(32,\)"),
    ],
)
def test_weights_of_another_network_are_named(changed, sentence, state_dict):
    with pytest.raises(ValueError, match=sentence):
        inception_weights.from_state_dict(changed(state_dict))


def test_files_of_other_formats_and_damaged_ones_are_named(tmp_path):
    keras, script, graph = tmp_path / "v3.h5", tmp_path / "inception.pt", tmp_path / "graph.pb"
    keras.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with zipfile.ZipFile(script, "w") as file:
        file.writestr("inception/code/net.py", "")
    graph.write_bytes(b"\x0a\x00")
    page, cut = tmp_path / "page.pth", tmp_path / "cut.pth"
    page.write_text("<html>Not found</html>")
    cut.write_bytes(b"PK\x03\x04" + bytes(100))
    for path, sentence in [
        (keras, f"is Keras's format.*{OTHER}"),
        (script, "is a TorchScript program"),
        (graph, r"is a \.pb file of TensorFlow or Python, not a state dict"),
        (page, "is not a PyTorch checkpoint"),
        (cut, "is no PyTorch checkpoint, or is damaged"),
        (tmp_path / "none.pth", "There is no file"),
    ]:
        with pytest.raises(UserError, match=f"(?s){sentence}.*SHA-256 6726825d") as raised:
            inception_weights.load(path)
        assert "pytorch-fid" in str(raised.value) and "torch-fidelity" in str(raised.value)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 8, 8, 3)), np.zeros((0, 8, 8, 3), np.uint8), np.zeros((8, 8, 3))]
)
def test_only_uint8_pictures_are_accepted(images, variables):
    with pytest.raises(UserError, match="reads uint8 pictures"):
        inception.Extractor(variables)(images)


def test_unknown_choices_are_rejected(variables):
    with pytest.raises(UserError, match="Unknown resize 'nearest'; choose from tensorflow"):
        inception.Extractor(variables, resize="nearest")
    with pytest.raises(UserError, match="Unknown dtype 'float16'; choose from float32"):
        inception.Extractor(variables, dtype="float16")

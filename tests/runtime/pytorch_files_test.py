"""PyTorch's state dicts: read as PyTorch reads them, without it; damage is reported."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackgan_jax.runtime import pytorch_files
from stackgan_jax.runtime.errors import UserError

FORMATS = pytest.mark.parametrize("zipped", [False, True], ids=["old", "zip"])


def tensors(torch):
    """Tensors of many types and layouts, some of them views of the same numbers."""
    base = torch.arange(60.0).reshape(3, 4, 5) / 7
    types = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    return {
        "whole": base,
        "transposed": base.permute(2, 0, 1),
        "part": base[1:, ::2, 3],
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(base.T.contiguous() if base.ndim == 2 else base[0]),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        **{str(kind): base.to(kind) for kind in types},
    }


@FORMATS
def test_values_types_and_strides_are_those_that_pytorch_saved(zipped, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    saved, path = tensors(torch), tmp_path / "some.pth"
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    saved |= module.state_dict()
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    monkeypatch.setitem(sys.modules, "torch", None)
    found = pytorch_files.read(path)
    assert found.keys() == saved.keys()
    for key, tensor in saved.items():
        expected = (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
        assert found[key].dtype == expected.dtype, key
        np.testing.assert_array_equal(found[key], expected, err_msg=key)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The content of a small state dict in both formats."""
    torch = pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("made") / "some.pth"
    contents = []
    for zipped in (False, True):
        torch.save({"w": torch.ones(3, 4)}, path, _use_new_zipfile_serialization=zipped)
        contents.append(path.read_bytes())
    return contents


@settings(max_examples=100)
@given(st.integers(0, 1), st.floats(0, 1), st.binary(max_size=8), st.booleans())
def test_a_damaged_file_is_reported_in_one_sentence(tmp_path_factory, files, which, at, noise, cut):
    content = files[which]
    at = int(at * (len(content) - 1))
    rest = b"" if cut else content[at + len(noise) :]
    path = tmp_path_factory.mktemp("damaged") / "some.pth"
    path.write_bytes(content[:at] + noise + rest)
    try:
        pytorch_files.read(path)
    except UserError as error:
        assert "some.pth" in str(error) and "\n" not in str(error)


def test_a_truncated_file_is_reported(files, tmp_path):
    path = tmp_path / "some.pth"
    for content in files:
        path.write_bytes(content[:-5])
        with pytest.raises(UserError, match="is damaged; copy it from its source again"):
            pytorch_files.read(path)


@pytest.mark.parametrize("changed", [b"K\x7fK\x04", b"K\x00K\x7f", b"K\x03J\xff\xff\xff\xff"])
def test_a_tensor_outside_its_numbers_is_not_read(changed, files, tmp_path):
    """A view that isn't checked would show other memory of the process."""
    path, size = tmp_path / "some.pth", b"K\x03K\x04"
    assert files[0].count(size) == 1
    strides = b"K\x04K\x01"
    assert files[0].count(strides) == 1
    for place in (size, strides):
        path.write_bytes(files[0].replace(place, changed))
        if place == size and changed.startswith(b"K\x00"):
            continue  # No numbers at all: nothing is outside.
        with pytest.raises(UserError, match="is damaged"):
            pytorch_files.read(path)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"none.pth can't be read: No such file"):
        pytorch_files.read(tmp_path / "none.pth")

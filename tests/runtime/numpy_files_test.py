"""NumPy's files are read as far as they hold what their headers claim."""

import io
import zipfile

import numpy as np
import pytest

from stackgan_jax.runtime import numpy_files
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.embedding_files import read_embeddings


def header(shape):
    file = io.BytesIO()
    claimed = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, claimed)
    return file.getvalue()


def test_arrays_are_read(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.savez_compressed(tmp_path / "a.npz", embeddings=values, zeros=np.zeros((1000, 1000)))
    read = numpy_files.read_npz(tmp_path / "a.npz", lambda names: names)
    np.testing.assert_array_equal(read["embeddings"], values)
    assert read["zeros"].shape == (1000, 1000)
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(numpy_files.read_npy(tmp_path / "a.npy"), values)


@pytest.mark.parametrize("shape", [(1 << 20, 1 << 20), (100, 1000)])
def test_headers_that_claim_more_than_the_file_are_rejected(tmp_path, shape):
    content = header(shape) + b"\0" * 64
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("embeddings.npy", content)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(UserError, match=r"a\.np. can't be read: "):
            read_embeddings(tmp_path / name)


def test_a_file_that_unpacks_to_more_than_the_limit_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(numpy_files, "MAX_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", embeddings=np.zeros((1 << 10, 1 << 10), np.float32))
    with pytest.raises(UserError, match="array embeddings claims 4,194,"):
        read_embeddings(tmp_path / "bomb.npz")

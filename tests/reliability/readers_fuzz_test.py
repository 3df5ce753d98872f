"""Mutated files for every reader of users' files: a value or a sentence, no code, little memory."""

import io
import json
import os
import pickle
import re
import sys
import zipfile
from pathlib import Path

import lua_torch
import numpy as np
import pytest
import python2_pickle
from picture_folders import picture, write_files, write_shard
from programs import TRIALS

from stackgan_jax import text
from stackgan_jax.data import decoding
from stackgan_jax.data.folder import layouts
from stackgan_jax.runtime import pickles
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.embedding_files import read_embeddings
from stackgan_jax.weights import weight_files

DATA = Path(__file__).parents[1] / "data"
FILES = 10 * TRIALS  # of each reader
MOST = 512 << 20  # bytes of memory that a file of some kB may take
MOST_OF = {"hdf5": 5 << 30}  # The library allocates the length that a text claims, of 32 bits.
RUNNING = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "os.remove")


class Evil:
    """Runs a command where a reader runs what a pickle asks for."""

    def __reduce__(self):
        return os.system, ("true",)


class Watch:
    """Notes what Python code does in a block: commands, and files that it opens for writing."""

    def __init__(self):
        self.active, self.seen = False, []
        sys.addaudithook(self._hear)

    def _hear(self, event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        if self.active and (event in RUNNING or writes):
            self.seen.append((event, arguments))

    def __enter__(self):
        self.active, self.seen = True, []

    def __exit__(self, *_):
        self.active = False


WATCH = Watch()


def mutated(content: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """A file with one to four changes: bits, cuts, large numbers, parts of other files."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at, length = int(rng.integers(len(changed) + 1)), int(rng.integers(1, 64))
        kind = rng.integers(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[at : at + length] = rng.bytes(length)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length] * int(rng.integers(1, 20))
        elif kind == 4:
            number = (2 ** int(rng.integers(7, 64)) - int(rng.integers(2))) % 2**63
            size = int(rng.choice([4, 8]))
            changed[at : at + size] = number.to_bytes(8, "little")[:size]
        elif kind == 5:
            other = others[rng.integers(len(others))]
            begin = int(rng.integers(len(other) + 1))
            changed[at:at] = other[begin : begin + int(rng.integers(1, 400))]
        elif rng.integers(4) == 0:
            del changed[at:]
    return bytes(changed)


def memory(name: str) -> int:
    """A line of this process's /proc/self/status, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status)[1]) << 10


def read(reader, path, most=MOST):
    """Whether a reader reads a file; what else it may do is to refuse in a sentence."""
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
    try:
        with WATCH:
            reader(path)
        return True
    except (UserError, decoding.DamagedImage) as refused:
        assert "\n" not in str(refused).strip() and str(refused), repr(refused)
        return False
    finally:
        assert not WATCH.seen, WATCH.seen
        assert memory("VmHWM") - before < most


def folder_of(path: Path):
    """Reads a folder that holds a file and two pictures, as training does."""
    pictures = {name: path.parent / name for name in ("a.png", "b.png")}
    for row in layouts.read({path.name: path, **pictures}).rows:
        assert row.problem or row.image is not None


def encoder_of(path: Path):
    text.load_encoder(path.parent).embed(["a red bird"])


def tables():
    rows = [{"file_name": f"{n}.png", "text": f"a {n} bird", "bbox": [0, 0, 4, 4]} for n in "ab"]
    coco = {
        "images": [{"id": n, "file_name": f"{c}.png"} for n, c in enumerate("ab")],
        "annotations": [{"image_id": n, "caption": f"bird {n}"} for n in range(2)],
    }
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    csv = 'file_name;text\na.png;"a ""red"" bird"\nb.png;blue\n'
    contents = {"metadata.jsonl": lines, "metadata.json": json.dumps(rows), "metadata.csv": csv}
    contents |= {"captions.txt": csv.replace(";", ","), "coco.json": json.dumps(coco)}
    return [(name, content.encode()) for name, content in contents.items()]


def shards():
    members = {"1.png": picture(), "1.txt": b"one", "2.png": picture(2), "2.json": b'{"text":"x"}'}
    file = io.BytesIO()
    write_shard(file_path := Path(os.environ["PYTEST_TMP"], "x.tar"), members)
    file.write(file_path.read_bytes())
    return [("x.tar", file.getvalue())]


def pictures():
    kinds = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
    return [(f"x.{kind.lower()}", picture(3, kind, (40, 30))) for kind in kinds]


def pickled():
    value = [b"name", "caf\xe9", 2, 1.5, [np.arange(12, dtype=np.float32).reshape(3, 4)] * 2]
    modern = [pickle.dumps(value, protocol) for protocol in range(6)]
    both = [*modern, python2_pickle.dumps(value, 0), python2_pickle.dumps(value, 2)]
    return [("x.pickle", content) for content in [*both, pickle.dumps([value, Evil()], 2)]]


def saved_by(write):
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def pytorch():
    old = (DATA / "pt_stage1_netD.pth").read_bytes()
    made = [("x.pth", old)]
    torch = pytest.importorskip("torch")
    weights = {"a.weight": torch.ones(3, 4), "b": torch.arange(5), "c": torch.ones(2).half()}
    made.append(("x.pth", saved_by(lambda file: torch.save(weights, file))))
    made.append(("x.pth", saved_by(lambda file: torch.save({"a": Evil()}, file))))
    return made


def lua():
    return [("x.t7", lua_torch.dump(lua_torch.small_encoder().graph("plain", True)))]


def embeddings():
    rows, captions = np.ones((3, 8), np.float32), np.array(["a", "bird", "c"])
    packed = saved_by(lambda file: np.savez_compressed(file, embeddings=rows, captions=captions))
    plain = saved_by(lambda file: np.savez(file, embeddings=rows, captions=captions))
    evil = saved_by(lambda file: np.save(file, np.array([Evil()], dtype=object)))
    array = saved_by(lambda file: np.save(file, rows))
    made = [("x.npz", packed), ("x.npz", plain), ("x.npy", array), ("x.npy", evil)]
    with zipfile.ZipFile(inside := io.BytesIO(), "w") as archive:
        archive.writestr("embeddings.npy", evil)
    return [*made, ("x.npz", inside.getvalue())]


def tensorflow_checkpoints():
    """A checkpoint of format V1, and the two files of V2; the other file lies beside each."""
    tf = pytest.importorskip("tensorflow")
    arrays = {"g/w": np.ones((3, 4, 2), np.float32), "g/b": np.arange(5.0), "step": np.int64(3)}
    names, values = list(arrays), [tf.constant(value) for value in arrays.values()]
    folder = Path(os.environ["PYTEST_TMP"])
    blank = [""] * len(names)
    v2 = {"prefix": f"{folder}/x.ckpt", "shape_and_slices": blank}
    tf.raw_ops.SaveV2(tensor_names=names, tensors=values, **v2)
    tf.raw_ops.Save(filename=f"{folder}/v1.ckpt", tensor_names=names, data=values)
    return [(path.name, path.read_bytes()) for path in sorted(folder.glob("*.ckpt*"))]


def hdf5():
    h5py = pytest.importorskip("h5py")
    captions = np.array(["a", "bird", "c"], h5py.string_dtype())

    def write(file, **options):
        with h5py.File(file, "w") as whole:
            whole.create_dataset("embeddings", data=np.ones((3, 8), np.float32), **options)
            whole.create_dataset("captions", data=captions)

    plain = saved_by(write)
    return [("x.h5", plain), ("x.hdf5", saved_by(lambda file: write(file, compression="gzip")))]


READERS = {
    "tables": (tables, folder_of),
    "shards": (shards, folder_of),
    "pictures": (pictures, lambda path: decoding.decode(path.read_bytes(), 16)),
    "pickles": (pickled, pickles.read),
    "pytorch": (pytorch, weight_files.read_pytorch),
    "lua": (lua, weight_files.read_encoder),
    "embeddings": (embeddings, read_embeddings),
    "tensorflow": (tensorflow_checkpoints, weight_files.read_tensorflow),
    "hdf5": (hdf5, read_embeddings),
}


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_no_mutated_file_ends_in_a_traceback_runs_code_or_takes_memory(
    reader, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path))
    seeds, act = READERS[reader]
    seeds = seeds()
    write_files(tmp_path, {"a.png": picture(1), "b.png": picture(2)})
    fuzz(reader, seeds, act, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("sealed", [True, False])
def test_no_mutated_text_encoder_does_either(sealed, folder_runs, tmp_path, capsys):
    """A sealed one is refused for its digest, one of an earlier version for its content."""
    files = {
        path.name: path.read_bytes()
        for path in sorted((folder_runs / "text_encoder" / "text_encoder").iterdir())
        if sealed or path.name != "seal.json"
    }
    write_files(tmp_path, files)
    read(encoder_of, tmp_path / "encoder.json")  # what it imports
    named = f"{'sealed' if sealed else 'unsealed'} text encoders"
    fuzz(named, list(files.items()), encoder_of, tmp_path, capsys)


def fuzz(what, seeds, act, folder, capsys):
    """Reads `FILES` mutations of some files, and prints how many were refused."""
    refused = 0
    others = [content for _, content in seeds]
    for trial in range(FILES):
        rng = np.random.default_rng(trial)
        name, content = seeds[trial % len(seeds)]
        path = folder / name
        path.write_bytes(mutated(content, others, rng))
        try:
            refused += not read(act, path, MOST_OF.get(what, MOST))
        except BaseException:
            print(f"{what}: trial {trial}, {name}")
            raise
        path.write_bytes(content)
    with capsys.disabled():
        print(f"\n{FILES} mutated {what}: {refused} refused in a sentence, the others read.")

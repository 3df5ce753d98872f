"""Folders of pictures: scores, the cache of real features, and folders that are rejected."""

import json

import numpy as np
import pytest
from PIL import Image

from stackgan_jax.data import images
from stackgan_jax.evaluation import evaluate
from stackgan_jax.evaluation.folders import Folder
from stackgan_jax.runtime.errors import UserError


def test_folders_are_scored_and_real_pictures_are_read_once(folder, colours, cache, tmp_path):
    real, other = folder("real", seed=1), folder("other", seed=2, size=24)
    output = tmp_path / "metrics.json"

    def score(pictures):
        return evaluate.of_folders(pictures, real, {"inception": "x"}, None, output)

    same = score(real)
    assert same.scores["fid"].value < 1e-9
    assert same.scores["precision"].value == same.scores["recall"].value == 1
    assert "subsets of 250 pictures and one side has 40" in same.left_out["kid"]
    assert "can't span 48 dimensions" in same.scores["fid"].warning
    assert "not the published weights" in str(same)  # 5555… and not 6726825d…
    assert sum(colours) == 80
    first, second = score(other), score(other)
    assert sum(colours) == 160  # the real pictures were not read again
    assert first.scores == second.scores and first.scores["fid"].value > 0.001
    assert first.scores["fid"].stamp.size == "24×24, real 16×16"
    assert list(json.loads(output.read_text())["evaluations"][0]["scores"]) == list(first.scores)
    (changed := Image.open(real / "000.png").convert("L").convert("RGB")).save(real / "000.png")
    assert changed.size == (16, 16)
    score(other)
    assert sum(colours) == 240  # the real pictures changed
    (kept,) = {path for path in cache.iterdir() if path.stat().st_mtime == newest(cache)}
    kept.write_bytes(b"PK")
    assert score(other).scores["fid"].value > 0.001  # a damaged cache is replaced


def newest(folder):
    return max(path.stat().st_mtime for path in folder.iterdir())


def test_bad_folders_are_rejected_in_one_sentence(folder, colours, cache, tmp_path):
    real, output = folder("real"), tmp_path / "metrics.json"
    mixed, broken, empty = folder("mixed", 3), folder("broken", 5), folder("empty", 0)
    images.save_png(mixed / "z.png", np.zeros((8, 12, 3), np.uint8))
    (broken / "001.png").write_bytes(b"no picture")
    (broken / "003.png").write_bytes((broken / "004.png").read_bytes()[:150])  # cut off

    def rejected(pictures, sentence, given=None):
        with pytest.raises(UserError, match=sentence):
            evaluate.of_folders(pictures, real, {"inception": "x"} | (given or {}), None, output)

    rejected(mixed, r"sizes \(3 of 16×16 like 000\.png, 1 of 12×8 like z\.png\); resize")
    rejected(broken, r"2 of 5 pictures can't be read: .*001\.png, .*003\.png; repair or remove")
    (broken / "001.png").unlink()
    rejected(broken, r"1 of 4 pictures can't be read: .*003\.png; repair or remove")
    rejected(empty, "There are no pictures in .*jpg, png")
    rejected(tmp_path / "none", "There is no folder .*none")
    rejected(folder("one", 1), "at least 2 pictures, not 1")
    rejected(
        real, r"FID needs pt_inception-2015.*SHA-256 6726825d.*or give --workdir", {"inception": ""}
    )
    assert not output.exists()


def test_pictures_of_all_types_and_in_subfolders_are_read(folder):
    made = folder("kinds", 1)
    grey = Image.fromarray(np.full((16, 16), 7, np.uint8))
    grey.save(made / "grey.png")
    grey.convert("RGBA").save(made / "alpha.png")
    (made / "below").mkdir()
    grey.convert("P").save(made / "below" / "palette.PNG")
    (made / "notes.txt").write_text("not a picture")
    assert Folder(made).shape == (4, 16, 16, 3)
    names = [path.name for path in Folder(made).files]
    assert names == ["000.png", "alpha.png", "palette.PNG", "grey.png"]
    assert np.unique(Folder(made)[1:4]).tolist() == [7]


def test_pictures_are_read_as_training_reads_them(folder, tmp_path):
    made = folder("read", 2)
    Image.fromarray(np.full((16, 16), 257 * 9, np.uint16)).save(made / "grey16.png")
    Image.fromarray(np.full((16, 16), 0.5, np.float32)).save(made / "half.tif")
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(made / "clear.png")
    for hidden in (".ipynb_checkpoints/000.png", "._000.png", "@eaDir/000.png"):
        (made / hidden).parent.mkdir(exist_ok=True)
        (made / hidden).write_bytes(b"?")
    (tmp_path / "linked").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.new("RGB", (16, 16), "white")
    upright.paste("red", (0, 0, 16, 8))
    upright.rotate(90).save(tmp_path / "linked" / "turned.jpg", exif=exif, quality=95)
    (made / "sub").symlink_to(tmp_path / "linked")
    read = Folder(made)
    pixels = {file.name: picture for file, picture in zip(read.files, read[0:9], strict=True)}
    assert len(pixels) == 6
    assert (pixels["grey16.png"] == 9).all()
    assert (pixels["half.tif"] == 128).all()
    assert (pixels["clear.png"] == 255).all()
    assert pixels["turned.jpg"][:7, :, 1].max() < 40 < pixels["turned.jpg"][9:, :, 1].min()

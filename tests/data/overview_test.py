"""--mode=prepare describes the data; it works in parallel and after an interruption."""

import functools
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stackgan_jax.data import input_pipeline, overview
from stackgan_jax.runtime import configuration, progress

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def mine(tmp_path):
    """40 pictures of 4 sizes: two are the same, one is damaged, one has no caption."""
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        pixels = rng.integers(0, 256, (60 + 10 * (number % 4), 90, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        text = ["a red bird", f"größer, number {number}"] if number != 5 else ""
        rows.append({"file_name": f"{number:02d}.png", "text": text})
    (folder / "01.png").write_bytes((folder / "00.png").read_bytes())
    (folder / "02.png").write_bytes(b"GIF89a?")
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def config(mine):
    made = configuration.load(CONFIGS / "stage1.py", "folder")
    made.data.update(path=str(mine), dir=str(mine.parent / "cache"), max_damaged=0.05)
    return made


def test_the_summary_counts_images_captions_problems_and_copies(mine, capsys):
    overview.prepare(config(mine))
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    images = {line[0]: line[1:] for line in lines if line}
    train, test = map(int, images["images"])
    assert train + test == 38 and test == 4
    assert sum(map(int, images["captions"])) == 76
    assert sum(map(int, images["damaged"])) == 1
    assert "width 90 to 90, median 90; height 60 to 90" in printed
    assert "19 images are smaller than 76" in printed
    assert "Copies of another image, byte for byte: 1" in printed
    assert "ö (38), ß (38)" in printed
    assert "Captions: 10 to 17, median" in printed
    sheet = Path(printed.rsplit("Contact sheet: ", 1)[1].strip())
    width, height = Image.open(sheet).size
    assert width > 6 * 150 and height > 6 * 150
    assert (sheet.parent / overview.SUMMARY).read_text().strip() in printed
    parts = [(sheet.parent / split / "left_out.txt").read_text() for split in ("train", "test")]
    damaged, without = sorted("".join(parts).splitlines())
    assert damaged.startswith("02.png: not a JPEG") and without == "05.png: no caption"


def test_training_says_how_the_data_were_read(mine, capsys):
    made = config(mine)
    splits = {name: input_pipeline.load(made.data, name, 8) for name in overview.SPLITS}
    capsys.readouterr()
    overview.announce(splits, "char_cnn_rnn")
    printed = capsys.readouterr().out
    assert "39 of 40 pictures have captions as rows of metadata.jsonl." in printed
    assert re.search(r"[12] files are left out: .*train/left_out\.txt", printed)
    assert "Characters that the char-CNN-RNN reads as spaces: ö (38), ß (38)." in printed
    assert len(printed.splitlines()) < 12
    overview.announce(splits, "bag_of_words")
    assert "spaces" not in capsys.readouterr().out


def test_a_run_keeps_a_contact_sheet_of_its_data(mine, tmp_path, capsys):
    split = input_pipeline.load(config(mine).data, "train", 8)
    capsys.readouterr()
    for printed in (f"Pictures of the data: {tmp_path / overview.CONTACT_SHEET}\n", ""):
        overview.show(split, tmp_path)
        assert capsys.readouterr().out == printed  # A resumed run has it already.
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / overview.CONTACT_SHEET)), overview.contact_sheet(split)
    )


def command(mine):
    made = config(mine)
    return [
        *(sys.executable, "-m", "stackgan_jax.main", "--mode=prepare"),
        f"--config={CONFIGS}/stage1.py:folder",
        *(f"--config.data.{key}={made.data[key]}" for key in ("path", "dir", "max_damaged")),
    ]


@pytest.mark.slow
def test_two_processes_share_one_preparation(mine):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command(mine), **pipes) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    for split in ("train", "test"):  # only one of them decoded it
        assert sum(errors.count(f"{split}, 76 pixels") for _, errors in outputs) == 1
    assert all("Contact sheet" in out for out, _ in outputs)


@pytest.mark.slow
def test_an_interrupted_preparation_is_started_again(mine):
    first = mine / "00.png"
    for number in range(40, 600):  # enough for the signal to come in the middle
        (mine / f"{number}.png").write_bytes(first.read_bytes())
    rows = [{"file_name": f"{n}.png", "text": f"number {n}"} for n in range(40, 600)]
    with (mine / "metadata.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    # A shell's background jobs ignore Ctrl-C, and their child processes inherit that.
    handle_ctrl_c = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        command(mine), stderr=subprocess.PIPE, text=True, preexec_fn=handle_ctrl_c
    )
    cache = mine.parent / "cache"
    while not list(cache.rglob(".train.partial/images.npy")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "the same command begins again" in errors and "Traceback" not in errors
    done = subprocess.run(command(mine), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not list(cache.rglob("*.partial"))


def test_the_remaining_time_does_not_include_the_start_of_the_workers(monkeypatch, capsys):
    clock = iter([0.0, 30.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    report = progress.Progress("mine", 100, "decoded")
    report(1)
    report(51)
    assert capsys.readouterr().err.strip() == "mine: 51 of 100 images decoded, 10 s left"

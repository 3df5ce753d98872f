"""The command line: it starts quickly, finds its configs, and reports bad input in one sentence."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import command
from PIL import Image

from stackgan_jax import usage

CONFIGS = Path(__file__).parents[1] / "configs"

STAGE1 = f"--config={CONFIGS}/stage1.py"
SEVERAL = ["--coordinator=localhost:1", "--num_processes=2"]


def test_help_is_quick():
    quickest = np.inf
    for _ in range(3):
        began = time.monotonic()
        program = [sys.executable, "-m", "stackgan_jax.main", "--help"]
        done = subprocess.run(program, capture_output=True, text=True)
        quickest = min(quickest, time.monotonic() - began)
    assert "--config" in done.stdout and "--text" in done.stdout
    assert done.returncode == 0 and done.stdout.count("\n") < 20
    assert quickest < 2


def test_the_help_of_a_mode_shows_its_options_and_examples():
    shown = {}
    for mode in usage.MODES:
        done = command(f"--mode={mode}", "--help")
        assert done.returncode == 0 and not done.stderr
        examples = [f"  stackgan-jax {mode} {each}" for each in usage.MODES[mode].examples]
        assert examples and all(each.rstrip() in done.stdout for each in examples)
        shown[mode] = set(re.findall(r"^  --(?:\[no\])?(\w+)", done.stdout, re.MULTILINE))
        assert shown[mode] == set(usage.MODES[mode].options)
    assert "text" in shown["sample"] and "text" not in shown["train"]
    every = set(
        re.findall(
            r"^  --(?:\[no\])?(\w+): ",
            command("--helpfull").stdout.split("main.py:")[-1].split("\n\n")[0],
            re.MULTILINE,
        )
    )
    assert every - {"mode"} <= set().union(*shown.values())


def test_a_model_file_is_described_and_nobody_need_read_it_to_the_end():
    done = command("info")
    assert "a model of stage1" in done.stdout and "char_cnn_rnn" in done.stdout
    reader, writer = os.pipe()
    os.close(reader)
    program = [sys.executable, "-m", "stackgan_jax.main", "info"]
    done = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 141 and not done.stderr


def test_the_mode_may_be_the_first_word(tmp_path):
    done = command("sample", "--workdir=none", "--text=a bird", cwd=tmp_path)
    assert done.returncode == 1 and "There is no run in none" in done.stderr
    assert command("sample", "--help").stdout == command("--mode=sample", "-h").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config=configs/stage1.py", "--config.steps=many"], "many"),
        ([f"--config={CONFIGS}/stage1.py:cubs"], "'cubs'; choose from synthetic_birds"),
        ([f"--config={CONFIGS}/stage1.py:folder"], "the folder with your pictures"),
        (["--mode=prepare"], "Preparing needs --config"),
        ([f"--config={CONFIGS}/stage1.py", "--config.colour=red"], "colour"),
        ([f"--config={CONFIGS}/stage1.py", "--config.steps=many"], "many"),
        (["--colour=red"], "colour"),
        (["--mode=paint"], "train|prepare|sample|serve|export|info|report|evaluate>."),
        (["--mode=smple"], "did you mean sample?"),
        (["--txt=a bird"], "did you mean --text?"),
        (["--mode=sample", "--outptu", "a.png"], "did you mean --output?"),
        (["red"], "'red' is no option"),
        (["smple", "--text=a bird"], "'smple' is no mode; did you mean sample?"),
        ([], "needs --config"),
        ([STAGE1, "--process_id=1"], "--coordinator and --num_processes missing"),
        ([STAGE1, *SEVERAL, "--process_id=2"], "--process_id=2 is none of 2 processes"),
        ([STAGE1, *SEVERAL, "--process_id=1", "--coordinator=host"], "--coordinator=host has no"),
        (["--mode=sample"], "needs a caption"),
        (["--mode=sample", "--workdir=none", "--text=a bird"], "There is no run in none"),
        (["--mode=report", "--workdir=none"], "There is no run in none"),
        (["--mode=evaluate"], "needs --workdir"),
        (
            ["--mode=evaluate", "--workdir=none", "--config.eval.inception=x.pth"],
            "There is no run in none",
        ),
        (["--mode=evaluate", "--workdir=none", "--config.eval.colour=red"], "colour"),
        (["--mode", "evaluate", "--images=a", "--reference=b"], "There is no folder a"),
    ],
)
def test_bad_input_is_reported_in_one_sentence(arguments, sentence, tmp_path):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_draws_images_for_sentences(runs, tmp_path):
    page = tmp_path / "birds.png"
    done = command(
        "--mode=sample",
        f"--workdir={runs / 'stage2'}",
        "--text=a small red bird with black wings",
        "--text=ein Vogel, größer",  # characters outside the alphabet are mapped, as published
        "--num=3",
        f"--output={page}",
    )
    assert done.returncode == 0, done.stderr
    width, height = Image.open(page).size
    assert width > 3 * 64 and height > 2 * 64


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("main", ["--config=configs/none.py", "--config.steps=2"]),
        ("main", ["--mode=prepare", "-config=none.py:folder"]),
        ("main", ["--mode=evaluate", "--workdir=none", "--config=configs/none.py"]),
        ("main", ["--mode=sample", "--workdir=none", "--config=configs/none.py"]),
        ("benchmark", ["--config", "none/none.py:birds", "--config.steps=2"]),
    ],
)
def test_an_unknown_config_is_reported_with_the_configs_there_are(module, arguments, tmp_path):
    done = command(*arguments, module=module, cwd=tmp_path)
    assert done.returncode == 1
    assert "none.py" in done.stderr and "configs/stage1.py" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_existing_file_comes_before_the_packages_config_of_its_name(tmp_path):
    (tmp_path / "stage1.py").write_text("raise ValueError('the file of this folder')")
    done = command("--config=stage1.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "the file of this folder" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "needs a caption"),
        (["--text=  "], "is empty; write a sentence"),
        (["--text=a bird", "--interpolate"], "at least two captions"),
        (["--text=a bird", "--output=none/birds.png"], "there is no folder none"),
        (["--text=a bird", "--num=0"], "num"),
        (["--text=a bird", "--seeds=7-0"], "--seeds=7-0 can't be used"),
        (["--text=a bird", "--seeds=0-7", "--num=3"], "leave --num and --seed out"),
        (["--text=a bird", "--text=b", "--interpolate", "--seeds=1"], "give --seed, not --seeds"),
        (["--text=  ", "--output=new/"], "is empty; write a sentence"),
    ],
)
def test_bad_sampling_is_reported_in_one_sentence(arguments, sentence, runs, tmp_path):
    done = command("--mode=sample", f"--workdir={runs / 'stage1'}", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_text_encoder_draws_no_images(runs):
    done = command("--mode=sample", f"--workdir={runs / 'text_encoder'}", "--text=a bird")
    assert done.returncode == 1
    assert "draws no pictures" in done.stderr

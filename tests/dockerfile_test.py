"""The Dockerfile: what it copies, installs for each device, and starts."""

import configparser
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_stubs import Stubs
from packaging_test import BUILT_FROM

ROOT = Path(__file__).parents[1]


def instructions(name):
    """The arguments of all instructions of this name, in order."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    split = (line.split(maxsplit=1) for line in text.replace("\\\n", " ").splitlines() if line)
    return [arguments for word, arguments in split if word == name]


def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not installed")
def test_hadolint_reports_nothing():
    done = subprocess.run(["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_is_built_from_what_the_wheel_needs_and_nothing_else_is_sent():
    copied = {
        source
        for arguments in instructions("COPY")
        if not arguments.startswith("--from")
        for source in shlex.split(arguments)[:-1]
    }
    assert copied == {*BUILT_FROM, "configs", "stackgan_jax"}
    assert all((ROOT / source).exists() for source in copied)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert {line[2:] for line in ignored if line.startswith("!/")} == copied


@pytest.mark.parametrize(
    ("device", "extras"), [("cpu", "gcs"), ("cuda", "gcs,gpu"), ("tpu", "tpu")]
)
def test_each_device_gets_its_extras(device, extras, tmp_path):
    stubs = Stubs(tmp_path)
    stubs.add("pip")
    (install,) = (each for each in instructions("RUN") if "pip install" in each)
    done = stubs.run("sh", "-c", install, DEVICE=device)
    assert done.returncode == 0, done.stderr
    (call,) = stubs.calls()
    assert shlex.split(call)[-1] == f"/wheel/*.whl[{extras}]"
    assert set(extras.split(",")) <= set(setup()["options.extras_require"])


def test_another_device_is_refused_in_one_sentence(tmp_path):
    stubs = Stubs(tmp_path)
    stubs.add("pip")
    (install,) = (each for each in instructions("RUN") if "pip install" in each)
    done = stubs.run("sh", "-c", install, DEVICE="abacus")
    assert done.returncode == 1 and not stubs.calls()
    assert done.stderr == "DEVICE is 'abacus'; choose cpu, cuda or tpu.\n"


def test_it_starts_the_program_without_roots_rights():
    (start,) = instructions("ENTRYPOINT")
    (command,) = json.loads(start)
    programs = setup()["options.entry_points"]["console_scripts"].split("\n")
    (program,) = (line.split(" = ")[1] for line in programs if line.startswith(f"{command} = "))
    module, function = program.split(":")
    # In a process of its own, because its flags have the names of other programs'.
    program = f"from {module} import {function}; assert callable({function})"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert instructions("USER") == ["1000"]
    assert any("--uid=1000" in each for each in instructions("RUN"))

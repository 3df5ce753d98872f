"""The wheel: it contains all modules and configs, and works without a clone."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this clone, built from a copy: a build writes into the folder it builds."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "clone"
    for name in ("stackgan_jax", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, copy)
    options = ("--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}")
    status, output = run(sys.executable, "-m", "pip", "wheel", *options, str(copy))
    assert status == 0, output
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel, installed in a folder."""
    folder = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--no-deps", f"--target={folder}")
    status, output = run(sys.executable, "-m", "pip", "install", *options, str(wheel))
    assert status == 0, output
    return folder


def test_a_light_installation_has_every_package_but_tensorflow_and_what_needs_it():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    everything = set(config["options"]["install_requires"].split("\n")) - {""}
    lines = (ROOT / "requirements-light.txt").read_text().splitlines()
    light = {line for line in lines if not line.startswith("#")}
    assert light < everything
    left_out = {re.match(r"[\w-]+", line)[0].partition("-")[0] for line in everything - light}
    assert left_out == {"clu", "importlib_resources", "tensorboard", "tensorflow"}


@pytest.mark.slow
def test_the_wheel_contains_every_module_config_template_and_the_built_in_model(wheel):
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "stackgan_jax").rglob("*.py")}
    configs = {f"stackgan_jax/configs/{file.name}" for file in (ROOT / "configs").glob("*.py")}
    others = {
        str(file.relative_to(ROOT))
        for folder in ("report/templates", "pretrained/templates", "pretrained/builtin")
        for file in (ROOT / "stackgan_jax" / folder).iterdir()
    }
    contained = {name for name in zipfile.ZipFile(wheel).namelist() if "dist-info" not in name}
    assert contained == modules | configs | others


@pytest.mark.slow
def test_an_installed_wheel_draws_by_its_built_in_model(installed, tmp_path):
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(installed)}}
    arguments = ("--mode=sample", "--text=a red bird", "--output=birds.png")
    status, output = run(sys.executable, "-m", "stackgan_jax.main", *arguments, **options)
    assert status == 0 and (tmp_path / "birds.png").stat().st_size, output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config=configs/stage1.py", "--config.colour=red"], "colour"),
        (["--config=configs/quickstart.py", "--config.stage2.colour=red"], "colour"),
        (["--config=configs/stage1.py:cubs"], "'cubs'; choose from synthetic_birds"),
        (["--config=configs/stage2.py"], "Stage II needs a trained Stage I"),
        (["--mode=evaluate", "--workdir=none", "--config=stage1.py"], "no run in none"),
    ],
)
def test_an_installed_wheel_finds_its_configs_in_an_empty_folder(
    arguments, sentence, installed, tmp_path
):
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(installed)}}
    _, output = run(
        sys.executable, "-c", "import stackgan_jax; print(stackgan_jax.__file__)", **options
    )
    assert output.startswith(str(installed))
    status, output = run(sys.executable, "-m", "stackgan_jax.main", *arguments, **options)
    assert status == 1
    assert sentence in output and "Traceback" not in output
    assert not list(tmp_path.iterdir())

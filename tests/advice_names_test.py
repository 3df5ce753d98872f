"""Whatever the program tells people to type exists: options, fields of configs, configs, extras."""

import ast
import configparser
import re
from pathlib import Path

import pytest

from stackgan_jax import sheets
from stackgan_jax.runtime import configuration, process_flags
from stackgan_jax.runtime.errors import UserError

ROOT = Path(__file__).parents[1]
SOURCES = [*(ROOT / "stackgan_jax").rglob("*.py"), *(ROOT / "configs").glob("*.py")]
KINDS = ("text_encoder.py", "stage1.py", "stage2.py")
# Options of argparse, of Python's and Google's programs, and absl's own.
OTHERS = {"help", "helpfull", "inception", "recursive", "upgrade", "verbosity"}
BEAM = {"runner", "direct_num_workers", "direct_running_mode"}


def said(path):
    """The texts of a module; what is filled in is a `…`."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            yield "".join(
                getattr(part, "value", "…") if _is_text(part) else "…" for part in node.values
            )
        elif _is_text(node) and id(node) not in parts:
            yield node.value


def _is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def found(pattern):
    """Every match of a pattern in what the program says."""
    return {match for path in SOURCES for text in said(path) for match in re.findall(pattern, text)}


def test_every_option_that_is_named_exists():
    defined = r'DEFINE_\w+\(\s*"(\w+)"'
    known = {n for path in SOURCES for n in re.findall(defined, path.read_text(encoding="utf-8"))}
    named = found(r"(?<![\w-])--([a-z_]+)(?![\w.-])")
    assert len(named) > 20 and named <= known | OTHERS | BEAM


def test_every_field_of_a_config_that_an_option_names_exists():
    known = set().union(*(configuration.flat(configuration.load(kind)) for kind in KINDS))
    known |= {f"data.{name}" for name in configuration.load("stage1.py", "folder").data}
    named = found(r"--config\.([a-z_]+(?:\.[a-z_0-9]+)*)(?![\w…]|\.…)")
    assert len(named) > 15 and {name for name in named if name not in known} == set()


def test_every_config_that_is_named_can_be_loaded():
    named = found(r"--config=configs/(\w+\.py)(?::(\w+(?:,\w+)?))?")
    assert len(named) > 5
    for name, argument in named:
        configuration.load(name, argument)


def test_every_extra_that_is_named_can_be_installed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    named = found(r"pip install -e '\.\[(\w+)\]'")
    assert named and named <= set(setup["options.extras_require"])


def sentence_of(action, *arguments):
    with pytest.raises(UserError) as raised:
        action(*arguments)
    return str(raised.value)


@pytest.mark.parametrize("given", ["a", "7-0"])
def test_the_seeds_of_a_sentence_can_be_drawn(given):
    advice = sentence_of(sheets.parse_seeds, given).removeprefix(f"--seeds={given}")
    examples = re.findall(r"--seeds=([\d,-]+)", advice)
    assert examples and all(sheets.parse_seeds(example) for example in examples)


def test_the_options_of_processes_are_those_that_a_sentence_asks_for():
    check = process_flags.is_one_of_several
    address = re.search(r"example (\S+:\d+)", sentence_of(check, "localhost", 2, 0))[1]
    assert check(address, 2, 0)
    last = re.search(r"from 0 to (\d+)", sentence_of(check, address, 2, 2))[1]
    assert check(address, 2, int(last)) and check("auto", None, None)
    assert "--coordinator=auto alone" in sentence_of(check, None, 2, None)

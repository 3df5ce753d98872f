"""The modes of the command line: what each does, its options and examples, as --help shows them."""

import dataclasses
import difflib
import re
import textwrap
from collections.abc import Sequence

from absl import flags

HELP = re.compile("--?(help|helpshort|h)")
WIDTH = 96


@dataclasses.dataclass(frozen=True)
class Mode:
    """A mode of the program.

    Attributes:
        line: what it does.
        options: that it reads, without "--".
        examples: command lines, without the program's name and the mode.
    """

    line: str
    options: Sequence[str]
    examples: Sequence[str]


# Options of each of several processes.
SEVERAL = ("coordinator", "num_processes", "process_id", "peer_timeout")
MODES = {
    "train": Mode(
        "Trains what a config describes, or resumes it.",
        ("config", "workdir", *SEVERAL),
        (
            "--config=configs/quickstart.py",
            "--config=configs/stage1.py:folder --config.data.path=my_pictures --config.steps=5000",
        ),
    ),
    "prepare": Mode(
        "Prepares a data set and prints an overview of it.",
        ("config",),
        (
            "--config=configs/stage1.py",
            "--config=configs/stage1.py:folder --config.data.path=my_pictures",
        ),
    ),
    "sample": Mode(
        "Draws pictures of sentences.",
        (
            *("workdir", "text", "num", "seed", "seeds", "truncation", "interpolate"),
            *("embeddings", "output", "show"),
        ),
        (
            '--text="a small red bird with black wings" --output=birds.png',
            '--workdir=runs/quickstart --text="a small red bird" --seeds=0-7 --output=birds/',
            '--workdir=runs/quickstart --text="a red bird" --text="a blue bird" --interpolate',
        ),
    ),
    "serve": Mode(
        "Serves a web page that draws pictures of sentences.",
        ("workdir", "host", "port"),
        ("", "--workdir=runs/quickstart", "--workdir=birds.safetensors --host=0.0.0.0 --port=8000"),
    ),
    "export": Mode(
        "Writes a model as a file for others.",
        ("workdir", "format", "dtype", "output"),
        (
            "--workdir=runs/quickstart --output=birds.safetensors",
            "--workdir=runs/quickstart --format=stablehlo --output=birds.stablehlo",
            "--workdir=runs/quickstart --format=onnx --output=birds.onnx",
        ),
    ),
    "info": Mode(
        "Says what a run or a model's file is: data, steps, networks, size, last scores.",
        ("workdir",),
        ("--workdir=runs/quickstart", "--workdir=birds.safetensors"),
    ),
    "report": Mode(
        "Writes the page of a run: pictures, curves and what they were made with.",
        ("workdir", "config"),
        (
            "--workdir=runs/quickstart",
            "--workdir=runs/stage1 --config.data.path=my_pictures",
        ),
    ),
    "evaluate": Mode(
        "Scores a run, compares several, or compares two folders of pictures.",
        (
            *("workdir", "config", "follow", "images", "reference", "stamps", "output"),
            *SEVERAL,
        ),
        (
            "--workdir=runs/quickstart",
            "--workdir=runs/one --workdir=runs/other --output=comparison.html",
        ),
    ),
}


def with_mode(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with a mode as first word, "sample", replaced by --mode=sample.

    Raises:
        SystemExit: with one sentence, where the first word is nearly a mode.
    """
    program, *rest = arguments
    if not rest or rest[0].startswith("-"):
        return list(arguments)
    if rest[0] in MODES:
        return [program, f"--mode={rest[0]}", *rest[1:]]
    if nearest := difflib.get_close_matches(rest[0], MODES, 1, cutoff=0.7):
        raise SystemExit(f"stackgan_jax: {rest[0]!r} is no mode; did you mean {nearest[0]}?")
    return list(arguments)


def mode_of(arguments: Sequence[str]) -> str | None:
    """Returns the mode that arguments name; None for none, or one that there isn't."""
    match = re.search(r"(^|\0)--?mode[=\0](\w+)(\0|$)", "\0".join(arguments))
    return match[2] if match and match[2] in MODES else None


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether --help or -h is among the arguments."""
    return any(map(HELP.fullmatch, arguments))


def text(mode: str | None) -> str:
    """Returns the help of a mode: its options and examples; for None, the modes."""
    if mode is None:
        return _overview()
    chosen = MODES[mode]
    lines = [chosen.line, "", "examples:", *_commands(mode), "", "options:"]
    for name in chosen.options:
        lines += _option(mode, name)
    return "\n".join(lines)


def _overview() -> str:
    modes = [f"  {name:<9} {mode.line}" for name, mode in MODES.items()]
    examples = [_commands(name)[0] for name in ("train", "sample")]
    return "\n".join(
        [
            "StackGAN: pictures of sentences. The program has these modes:",
            *("", *modes, ""),
            *("examples:", *examples, ""),
            "The options of a mode, for example --text of sample: --mode=sample --help",
            "All options, for example --config: --helpfull",
        ]
    )


def _commands(mode: str) -> list[str]:
    return [f"  stackgan-jax {mode} {example}".rstrip() for example in MODES[mode].examples]


def _option(mode: str, name: str) -> list[str]:
    """The lines of an option."""
    flag = flags.FLAGS[name]
    value = "" if flag.boolean else "=…"
    default = "" if flag.boolean or flag.default is None else f" (default: {flag.default})"
    negation = "[no]" if flag.boolean and flag.default else ""
    indent = " " * 6
    about = _about(flag.help, mode) + default
    words = textwrap.fill(about, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return [f"  --{negation}{name}{value}", words]


def _about(about: str, mode: str) -> str:
    """What an option's help says of one mode, and of all: "For all; sample: …; evaluate: …"."""
    about = re.sub(r";\s+repeat this option .*", "", about)  # absl's own words
    of_all, *others = re.split(rf"(?:[;.] )?\b({'|'.join(MODES)}): ", about)
    of_mode = [said for name, said in zip(others[::2], others[1::2], strict=True) if name == mode]
    return "; ".join(filter(None, [of_all, *of_mode])).rstrip(".") + "."

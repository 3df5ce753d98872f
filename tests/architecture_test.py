"""The import graph: acyclic, downwards between packages, and free of TensorFlow for training."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "stackgan_jax"
# Each may import itself and what stands before it, lazily as well.
ORDER = (
    "runtime",
    "models",
    "data",
    "text",
    "training",
    "sample",
    "weights",
    "evaluation",
    "report",
    "pretrained",
    "sheets",
    "web",
    "benchmark",
    "stages",
    "convert",
    "usage",
    "main",
)


def modules_in(file, nodes):
    """Modules of the package that the import statements among some nodes of a file name."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stackgan_jax"):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("stackgan_jax")}
    return {name for name in names if module_file(name)}


def module_file(name):
    path = PACKAGE.parent / name.replace(".", "/")
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


def room(file):
    """The package, or the module at the top, that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_file_belongs_to_a_package_or_is_a_known_module_at_the_top():
    assert {room(file) for file in PACKAGE.rglob("*.py")} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("package", ORDER)
def test_packages_import_only_those_below_them(package):
    files = [file for file in PACKAGE.rglob("*.py") if room(file) == package]
    upwards = []
    for file in files:
        for name in modules_in(file, ast.walk(ast.parse(file.read_text()))):
            other = room(module_file(name))
            if other in ORDER and ORDER.index(other) > ORDER.index(package):
                upwards.append(f"{file.relative_to(PACKAGE)} imports {name}")
    assert not upwards


def test_the_import_graph_has_no_cycle():
    files = list(PACKAGE.rglob("*.py"))
    below = {
        file: {module_file(name) for name in modules_in(file, ast.parse(file.read_text()).body)}
        - {file}
        for file in files
    }
    while free := [file for file in below if not below[file]]:
        for file in free:
            del below[file]
        below = {file: needs - set(free) for file, needs in below.items()}
    assert not below, f"these import each other: {sorted(map(str, below))}"


def test_drawing_training_and_converting_import_without_tensorflow():
    modules = (
        *("training.gan_learner", "training.loop", "sheets", "convert"),
        *("evaluation.evaluate", "benchmark.measurements"),
    )
    program = (
        "import sys\n"
        "for name in ('tensorflow', 'tensorflow_datasets', 'clu'): sys.modules[name] = None\n"
    ) + "\n".join(f"import stackgan_jax.{module}" for module in modules)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

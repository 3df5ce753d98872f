"""The import graph: acyclic, and nothing that trains or draws needs TensorFlow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "stackgan_jax"


def imports_at_the_top(file):
    """Modules of the package that a file imports when it is imported."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stackgan_jax"):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if module_file(name)}


def module_file(name):
    path = PACKAGE.parent / name.replace(".", "/")
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


def test_the_import_graph_has_no_cycle():
    files = {file for file in PACKAGE.rglob("*.py")}
    below = {f: {module_file(n) for n in imports_at_the_top(f)} - {f} for f in files}
    while free := [file for file in below if not below[file]]:
        for file in free:
            del below[file]
        below = {file: needs - set(free) for file, needs in below.items()}
    assert not below, f"these import each other: {sorted(map(str, below))}"


@pytest.mark.parametrize(
    "module",
    [
        "training.learners",
        "sample",
        "convert",
        "training.loop",
        "evaluation",
        "benchmark.measurements",
    ],
)
def test_imports_without_tensorflow(module):
    program = (
        "import sys\n"
        "for name in ('tensorflow', 'tensorflow_datasets', 'clu'): sys.modules[name] = None\n"
        f"import stackgan_jax.{module}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

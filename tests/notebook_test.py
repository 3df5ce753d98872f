"""The notebook in docs/ runs from its first cell to its last, with few steps."""

import json
import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "docs/notebooks/folder_to_pictures.ipynb"


def test_the_notebook_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.slow
def test_the_notebook_goes_from_a_folder_to_pictures(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert notebook.cells[1].source.startswith("STEPS = 2400")
    notebook.cells[1].source = "STEPS = 8"
    place = {"metadata": {"path": str(tmp_path)}}
    # A kernel that sees pytest leaves what programs print out of the cells.
    environment = {name: os.environ[name] for name in os.environ if "PYTEST" not in name}
    environment["HOME"] = str(tmp_path)  # where prepared data go
    nbclient.NotebookClient(notebook, resources=place).execute(env=environment)
    shown = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert sum("image/png" in out.get("data", {}) for out in shown) == 4
    printed = "".join(out.get("text", "") for out in shown)
    assert "160 of 160 pictures have captions" in printed
    assert "Joint Fréchet distance" in printed
    assert (tmp_path / "runs/birds/report/index.html").stat().st_size > 100_000
    assert (tmp_path / "birds.safetensors").exists()

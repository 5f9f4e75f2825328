"""The notebook runs from its first cell to its last, in a kernel and an empty folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "reviews.ipynb"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_runs_and_shows_tables_and_colours(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="group docs is not installed")
    nbclient = pytest.importorskip("nbclient", reason="group docs is not installed")
    pytest.importorskip("ipykernel", reason="group docs is not installed")
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    # As in an environment that is activated: the notebook calls the command.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept without results
    folder = tmp_path / "work"
    folder.mkdir()
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    shown = {
        cell["source"].split("\n")[-1]: "".join(
            output.get("data", {}).get("text/html", "") + str(output.get("text", ""))
            for output in cell["outputs"]
        )
        for cell in notebook.cells
        if cell["cell_type"] == "code"
    }
    assert "<table>" in shown["result"]
    assert "━" in shown["result"]  # the bars of the stages, as they were at the end
    assert "vectorize" in shown["result"]
    coloured = next(html for line, html in shown.items() if line.startswith("scorer.explain"))
    assert "background" in coloured
    assert any(
        "champion: nothing -&gt;" in text or "champion: nothing ->" in text
        for text in shown.values()
    )
    assert [path.name for path in folder.iterdir()] == ["outputs"]

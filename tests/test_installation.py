"""What this machine is said to have."""

from __future__ import annotations

import compileall
import sys
import tomllib
from pathlib import Path

from sentiment.installation import installation, keeps_bytecode

ROOT = Path(__file__).parents[1]


def test_what_the_distribution_asks_for_is_looked_for(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = installation(tmp_path)
    assert set(found["extras"]) == set(project["optional-dependencies"])
    assert {"numpy", "mlflow"} <= set(found["packages"])
    assert "pytest" not in found["packages"]


def test_what_is_set_and_where_nothing_can_be_written(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "latest.json").touch()
    found = installation(tmp_path)
    assert found["pointers"] == {"latest": True, "champion": False}
    assert found["writable"]
    assert not installation(Path("/proc/self"))["writable"]


def test_bytecode_that_may_not_be_kept_is_there_or_missing(tmp_path, monkeypatch):
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert not keeps_bytecode()
    compileall.compile_dir(tmp_path, quiet=1)
    assert keeps_bytecode()
    (tmp_path / "mlflow" / "__pycache__").rename(tmp_path / "kept elsewhere")
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert keeps_bytecode()

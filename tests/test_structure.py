"""What holds the rooms apart beside the import contracts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for package in ("sentiment", "serve") for path in (ROOT / package).rglob("*.py")
)
CORE = [path for path in SOURCES if "cli" not in path.parts and "serve" not in path.parts]
# These write, run or read command lines, of this program or of another.
WRITES_COMMANDS = {"summary.py", "pull.py", "origin.py", "client.py", "words.py"}


def strings(path: Path) -> list[str]:
    """The string constants of a module, but for docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
    ]


def test_core_modules_do_not_speak_the_command_lines_language():
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for path in CORE
        if path.name not in WRITES_COMMANDS
        for text in strings(path)
        if re.search(r"(^|[\s(,;])--[a-z]", text)
    }
    assert not found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_names_stay_in_their_module(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            ("sentiment", "serve")
        ):
            private = [alias.name for alias in node.names if re.match(r"_[a-z]", alias.name)]
            assert not private, f"{node.module}: {private}"


def test_no_module_has_grown_past_reading():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := path.read_text(encoding="utf-8").count("\n")) > 500
    }
    assert not long

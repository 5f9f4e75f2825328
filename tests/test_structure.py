"""What holds the rooms apart beside the import contracts."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for package in ("sentiment", "serve") for path in (ROOT / package).rglob("*.py")
)
CORE = [path for path in SOURCES if "cli" not in path.parts and "serve" not in path.parts]
# These write, run or read command lines, of this program or of another.
WRITES_COMMANDS = {"summary.py", "starter.py", "pull.py", "origin.py", "client.py", "words.py"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def strings(path: Path) -> list[str]:
    """The string constants of a module, but for docstrings."""
    tree = parsed(path)
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
        if re.search(r"(^|[\s,;]|(?<!var)\()--[a-z]", text)
    }
    assert not found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_names_stay_in_their_module(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            ("sentiment", "serve")
        ):
            private = [alias.name for alias in node.names if re.match(r"_[a-z]", alias.name)]
            assert not private, f"{node.module}: {private}"


# `Scorer.load` gives a pipeline where a model does not compile, and a pipeline is a `Scorer`.
ONE_THING = {"sentiment.scorer.model", "sentiment.scorer.pipeline"}


def test_no_modules_import_one_another_in_a_circle():
    """Within a package too, also inside functions and for types alone."""
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in SOURCES}
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    arrows = {}
    for name, path in files.items():
        wanted = set()
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                within = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= within & set(files) or {str(node.module)}
        arrows[name] = (wanted & set(files)) - (ONE_THING if name in ONE_THING else {name})
    # What nothing that is left imports is in no circle, nor is what imports nothing that is left.
    while leaves := {name for name, to in arrows.items() if not to & set(arrows)}:
        arrows = {name: to for name, to in arrows.items() if name not in leaves}
    while roots := set(arrows) - set().union(*arrows.values()):
        arrows = {name: to for name, to in arrows.items() if name not in roots}
    assert not {name: sorted(to & set(arrows)) for name, to in arrows.items()}


def test_one_word_names_one_class():
    """But for what the service's document of its API shows: that has the name of what it tells of."""
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef) and "Model" not in map(ast.unparse, node.bases):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_no_module_has_grown_past_reading():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := path.read_text(encoding="utf-8").count("\n")) > 500
    }
    assert not long


TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if "benchmarks" not in path.parts)


def installed_by(*requirements: str) -> set[str]:
    """Names of the distributions that come with these, and with what these need in turn."""
    found: set[str] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (key := f"{name}[{wanted}]") not in found:
                found |= {key, name}
                with contextlib.suppress(metadata.PackageNotFoundError):
                    waiting += [(need, wanted) for need in metadata.requires(name) or []]
    return found


def test_the_default_group_is_enough_to_run_the_tests():
    """``uv run pytest`` installs no more: what another group brings is asked for, or skipped."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    at_hand = installed_by(
        *project["project"]["dependencies"], *project["dependency-groups"]["dev"]
    )
    providers = metadata.packages_distributions()
    unguarded = []
    for path in TESTS:
        tree = parsed(path)
        asked = {
            node.args[0].value.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith("importorskip")
            and isinstance(node.args[0], ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                roots = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                roots = {node.module.split(".")[0]}
            else:
                continue
            unguarded += [
                f"{path.relative_to(ROOT)}: {root}"
                for root in roots - asked - sys.stdlib_module_names
                if root not in ("sentiment", "serve", "support", "tests")
                and not {canonicalize_name(name) for name in providers.get(root, [])} & at_hand
            ]
    assert not unguarded


def test_tests_use_public_names_alone():
    public = {"_repr_html_", "_validate_params"}  # hooks of notebooks and of scikit-learn
    private = [
        f"{path.relative_to(ROOT)}: {ast.unparse(node)}"
        for path in TESTS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and re.match(r"_[a-z]", node.attr)
        and node.attr not in public
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "os"))
    ]
    assert not private

"""The documentation builds strictly, needs nothing from outside, and says what runs."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
from support.commands import run_cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / ".github" / "docs"
PAGES = sorted((DOCS / "pages").rglob("*.md"))
BLOCKS = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SAID = {"praise": "great fun, a joy", "complaint": "awful mess, so dull"}


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder as the pages take it to be: two files of tickets, and a model of the first."""
    folder = tmp_path_factory.mktemp("project")
    for name, count in (("tickets.csv", 400), ("new.csv", 240)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=";")
            writer.writerow(["id", "kind", "body", "agent"])
            for number in range(count):
                kind = ("praise", "complaint")[number % 2]
                text = f"{SAID[kind]}; customer {number} of {name}"
                writer.writerow([number, kind, text, "abc"[number % 3]])
    return folder


@pytest.mark.slow
def test_the_site_builds_strictly_and_needs_nothing_from_outside(tmp_path, monkeypatch):
    pytest.importorskip("mkdocs", reason="group docs is not installed")
    import warnings

    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mkdocs.commands.build import build
        from mkdocs.config import load_config

        # Strict: a link to a page or a heading that is not there ends the build.
        config = load_config(str(DOCS / "mkdocs.yml"), site_dir=str(tmp_path), strict=True)
        build(config)
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        loaded = re.findall(
            r'<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="(https?:)?//',
            page.read_text("utf-8"),
        )
        assert not loaded, page
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"url\([\"']?https?:", style.read_text("utf-8")), style
    index = json.loads((tmp_path / "search" / "search_index.json").read_text("utf-8"))
    texts = " ".join(entry["text"] for entry in index["docs"])
    for word in (
        "vectorizer.min_df",
        "SENTIMENT_MAX_BODY_BYTES",
        "sentiment_predictions_total",
        "--promote",
    ):
        assert word in texts, word


def test_every_variable_of_the_code_is_described(reference):
    told = reference.settings()
    missing = {name for name in reference.variables() - reference.INTERNAL if name not in told}
    assert not missing


def test_every_setting_and_every_key_has_a_meaning(reference):
    rows = [
        line.split(" | ") for line in reference.settings().splitlines() if line.startswith("| `")
    ]
    silent = [row[0] for row in rows if not row[-1].strip(" |")]
    assert not [name for name in silent if "PROMETHEUS" not in name]
    keys = reference.config()
    assert "| `model.C` |" in keys
    assert "| `gate.significance` |" in keys


# A train of its own for each page would cost minutes: pages share one folder and its models.
ENDS = {"tutorial.md": -1, "python.md": 1}  # the last one trains on other labels


@pytest.mark.slow
def test_the_commands_and_snippets_run(project, monkeypatch):
    """Page after page, the tutorial first, in one folder: as a reader would."""
    monkeypatch.chdir(project)
    done = 0
    for page in sorted(PAGES, key=lambda page: ENDS.get(page.name, 0)):
        spoken: dict[str, object] = {}
        for language, block in BLOCKS.findall(page.read_text("utf-8")):
            if language == "python":
                exec(compile(block, str(page), "exec"), spoken)
                continue
            for line in block.splitlines():
                words, _, target = line.partition(" > ")
                answer = run_cli(*shlex.split(words, comments=True)[1:])
                assert answer.code == 0, f"{page.name}: {line}\n{answer.err}"
                if target:
                    Path(target.strip()).write_text(answer.out, "utf-8")
                done += 1
    assert done > 20

    scored = (project / "scored.csv").read_text("utf-8").splitlines()
    assert len(scored) == 241

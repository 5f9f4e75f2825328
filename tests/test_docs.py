"""The documentation says only what holds: commands, overrides, recipes and files exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sentiment import config
from sentiment.errors import MissingExtraError

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "monitoring" / "README.md",
    *sorted((ROOT / "docker").glob("*.md")),
    *sorted((ROOT / ".github").glob("*.md")),
]
BLOCK = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def command_lines(page):
    """Return every `sentiment …` call in the page's shell blocks, continuation lines joined."""
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||\||;|·", line.split("  #")[0].removeprefix("$ ")):
                words = shlex.split(part, comments=True)
                while words and (
                    words[0] in ("uv", "run", "uvx") or re.fullmatch(r"\w+=\S*", words[0])
                ):
                    words = words[1:]
                if len(words) > 1 and words[0] in ("sentiment", "just"):
                    yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_recipes_exist(page):
    from typer.main import get_command

    from sentiment.cli import build_app

    known = get_command(build_app()).commands
    recipes = set(
        re.findall(r"^([a-z][\w-]*)[^:=\n]*:(?!=)", (ROOT / "justfile").read_text(), re.MULTILINE)
    )
    for words in command_lines(page):
        if words[0] == "just":
            assert words[1] in recipes, words
            continue
        command = known.get(words[1])
        assert command or words[1].startswith("-"), words
        if command is None:
            continue
        if getattr(command, "commands", None):
            command = command.commands.get(words[2])
            assert command is not None, words
        options = {name for parameter in command.params for name in parameter.opts}
        for word in words[2:]:
            if word.startswith("--") and words[1] not in ("train", "sweep", "evaluate"):
                assert word.split("=")[0] in options, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_overrides_compose(page):
    for words in command_lines(page):
        if words[0] == "sentiment" and words[1] in ("train", "config", "data"):
            overrides = [word for word in words[2:] if re.match(r"[\w.+~]+=", word)]
            if not any(word.startswith("-m") for word in words):
                config.compose(overrides)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


# What makes a data set that one, and what follows from other keys.
FIXED = {
    "_target_",
    "name",
    "source",
    "path",
    "subset",
    "label_names",
    "positive_label",
    "random_state",
}


def test_every_yaml_line_that_can_be_changed_says_how():
    silent = []
    for group in ("data", "vectorizer", "model"):
        for file in sorted((config.CONFIG_DIR / group).glob("*.yaml")):
            for line in file.read_text(encoding="utf-8").splitlines():
                key = re.match(r"([a-z]\w*): *\S", line)
                if key and key[1] not in FIXED and "#" not in line:
                    silent.append(f"{file.name}: {line}")
    assert not silent


def tracked():
    import subprocess

    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [
        ROOT / name for name in filter(None, listed.stdout.split("\0")) if (ROOT / name).is_file()
    ]


def test_no_large_file():
    assert not [path for path in tracked() if path.stat().st_size >= 1 << 20]


def test_no_path_of_a_machine():
    home = re.compile(rb"/(?:root|home/\w+|Users/\w+|work/main|private/tmp)/")
    found = [path for path in tracked() if home.search(path.read_bytes())]
    # The containers' own home stands in the images' files.
    assert not [path for path in found if path.name != Path(__file__).name]


def test_nobody_is_told_to_install_a_strangers_package():
    """The package index's `sentiment` is another project: ours is `sentiment-mlops`."""
    wrong = re.compile(r"""install\s+(?:-\S+\s+)*['"]?sentiment(?:\[|['"\s]|$)""", re.MULTILINE)
    texts = [
        path for path in tracked() if path.suffix in (".py", ".md", ".yaml", ".toml", ".sh", ".tf")
    ]
    assert not [
        path.relative_to(ROOT)
        for path in texts
        if path.name != Path(__file__).name and wrong.search(path.read_text(encoding="utf-8"))
    ]
    assert "sentiment-mlops[optuna]" in str(MissingExtraError("Optuna", "optuna"))


def test_the_version_stands_in_one_place():
    import sentiment

    version = re.escape(sentiment.__version__)
    assert re.search(rf"^## {version}", (ROOT / ".github/CHANGELOG.md").read_text(), re.MULTILINE)
    tags = [
        line
        for file in (ROOT / "docker/kubernetes").rglob("kustomization.yaml")
        for line in re.findall(r"newTag: (\S+)", file.read_text())
    ]
    assert set(tags) - {"dev"} == {sentiment.__version__}

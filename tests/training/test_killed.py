"""A training in blocks that is killed is gone on with, to the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import killing
from support.reviews import in_parts

pytestmark = pytest.mark.slow

# Each ends a step of a block, and is there when it is whole.
FINISHED = (
    "-tokens.json",
    "-keys2.npy",
    "-keys3.npy",
    "-rows-indptr.npy",
    "-at.npy",
    "-columns-indptr.npy",
    "whole-ends.npy",
)
STAGES = [
    ("load", "train rows"),
    ("vectorize", "tokens"),
    ("vectorize", "3-grams"),
    ("vectorize", "transpose"),
    ("track", ""),
    ("fit", "products"),
    ("compile", ""),
    ("log", ""),
]
# With MLflow told by a process beside, as a shell starts it; the others are forked, which is quicker.
BESIDE = ("track", "log")
OTHERS = {
    "model=sgd": [("fit", "passes")],
    "vectorizer=blend_characters": [("vectorize", "join")],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return in_parts(tmp_path_factory.mktemp("data") / "reviews", 600)


def command(
    folder: Path, at: Path, *words: str, beside: bool = False, **plan: Any
) -> killing.Ended:
    """Train in blocks that an interrupted run leaves."""
    at.mkdir(exist_ok=True)
    words = (f"{folder}/", "data.memory=0", "cache.max_gb=0", "--resume", "--json", *words)
    return killing.train(words, at, killing.Plan(**plan), beside=beside)


def finished(at: Path) -> dict[str, int]:
    """Return when each finished block was written."""
    cache = at / "outputs/cache"
    return {
        str(file): file.stat().st_mtime_ns
        for file in cache.rglob("*")
        # Those of a fold are made again.
        if file.name.endswith(FINISHED) and not file.parent.name.endswith("-rows.blocks")
    }


def go_through(
    folder: Path, at: Path, words: list[str], moments: list[tuple[str, str]], usual: dict[str, Any]
) -> None:
    """Kill a training at one moment after the other, and let it end: nothing finished is made again."""
    stages = [stage for stage, _ in moments]
    for stage, step in moments:
        before = finished(at)
        killed = command(
            folder, at, *words,
            beside=stage in BESIDE, stage=stage, step=step, after=usual["timings"][stage] / 2,
        )  # fmt: skip
        assert killed.returncode == -9, killed.stderr
        # A stage that has less to do this time may be over by then.
        assert (at / "killed").read_text() in stages[stages.index(stage) :]
        left = finished(at)
        assert bool(left) == (stage != "load")
        assert left | {name: when for name, when in before.items() if name in left} == left
    went_on = command(folder, at, *words, left=finished(at))
    assert went_on.returncode == 0, went_on.stderr
    assert json.loads(went_on.stdout)["digest"] == usual["digest"]
    assert json.loads((at / "again").read_text()) == []
    assert not [file for file in (at / "outputs/cache").rglob("*") if file.is_file()]


def test_a_run_that_is_killed_again_and_again_is_gone_on_with(folder, tmp_path):
    usual = json.loads(command(folder, tmp_path / "usual").stdout)
    assert {stage for stage, _ in STAGES} < set(usual["timings"])
    go_through(folder, tmp_path / "killed", [], STAGES, usual)


@pytest.mark.parametrize("word", OTHERS)
def test_other_configs_that_are_killed_are_gone_on_with(folder, tmp_path, word):
    usual = command(folder, tmp_path / "usual", word)
    assert "trained in blocks" in usual.stderr
    go_through(folder, tmp_path / "killed", [word], OTHERS[word], json.loads(usual.stdout))

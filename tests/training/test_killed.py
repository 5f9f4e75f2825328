"""A training in blocks that is killed in any of its stages is gone on with, to the model of memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.reviews import shuffled

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
# The command itself, with small blocks, that kills itself where it is told to: in the middle of a
# stage's usual time, or at the second part of a step. Else it notes which finished blocks are made again.
CHILD = """
import json, os, signal, sys, threading
from pathlib import Path
from sentiment.training import run
from sentiment.vectorizers.making import Sizes

Sizes.within = lambda *_: Sizes(100_000, 60_000)
plan = json.loads(sys.argv.pop(1))
trained, now, again = run.train, [""], set()

def kill():
    Path("killed").write_text(now[0])
    os.kill(os.getpid(), signal.SIGKILL)

def look():
    for name, before in plan["left"].items():
        if Path(name).exists() and Path(name).stat().st_mtime_ns != before:
            again.add(name)

def train(cfg, *, watch, progress, **words):
    def watched(stage, seconds):
        if seconds is None:
            now[0] = stage
            if stage == plan["stage"] and not plan["step"]:
                if plan["after"] < 0.05:  # over before a thread has begun
                    kill()
                threading.Timer(plan["after"], kill).start()
        look()
        watch(stage, seconds)

    def told(step, done, of):
        if now[0] == plan["stage"] and step == plan["step"] and done >= 2:
            kill()
        look()
        progress(step, done, of)

    try:
        return trained(cfg, watch=watched, progress=told, **words)
    finally:
        Path("again").write_text(json.dumps(sorted(again)))

run.train = train
from sentiment.cli import main
main()
"""
PLANS = [
    ("load", "train rows"),
    ("vectorize", "tokens"),
    ("vectorize", "2-grams"),
    ("vectorize", "3-grams"),
    ("vectorize", "features"),
    ("vectorize", "transpose"),
    ("track", ""),
    ("fit", "products"),
    ("evaluate", ""),
    ("compile", ""),
    ("save", ""),
    ("log", ""),
]
OTHERS = [
    (["cv=3"], "folds", "fold 2 of 3, rows"),
    (["cv=3"], "folds", "fold 2 of 3, products"),
    (["model=sgd"], "vectorize", "one file"),
    (["model=sgd"], "fit", "passes"),
    (["vectorizer=blend_characters"], "vectorize", "characters 3-grams"),
    (["vectorizer=blend_characters"], "vectorize", "join"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "reviews"
    root.mkdir()
    rows = shuffled()[:600]
    for part in range(3):
        frame = pl.DataFrame(rows[part::3], schema=["text", "label"], orient="row")
        frame.write_parquet(root / f"part-{part}.parquet")
    return root


def command(folder: Path, at: Path, *words: str, **plan: Any) -> subprocess.CompletedProcess[str]:
    """Train in blocks that an interrupted run leaves."""
    at.mkdir(exist_ok=True)
    plan = {"stage": "", "step": "", "after": 0.0, "left": {}, **plan}
    return subprocess.run(
        [
            sys.executable, "-c", CHILD, json.dumps(plan), "train", f"{folder}/", "data.memory=0",
            "cache.max_gb=0", "--resume", "--json", *words,
        ],
        check=False, cwd=at, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip


@pytest.fixture(scope="module")
def reference(folder, tmp_path_factory):
    """What a training in memory and one in blocks that is left alone say, by the config's words."""
    known: dict[tuple[str, ...], dict[str, Any]] = {}

    def of(words: list[str]) -> dict[str, Any]:
        if (key := tuple(words)) not in known:
            at = tmp_path_factory.mktemp("reference")
            # What stands last is what holds.
            here = command(folder, at, *words, "data.memory=null")
            blocks = command(folder, at, *words)
            assert json.loads(here.stdout)["digest"] == json.loads(blocks.stdout)["digest"]
            assert "trained in blocks" in blocks.stderr
            assert "trained in blocks" not in here.stderr
            known[key] = json.loads(blocks.stdout)
        return known[key]

    return of


def finished(at: Path) -> dict[str, int]:
    cache = at / "outputs/cache"
    return {
        str(file): file.stat().st_mtime_ns
        for file in cache.rglob("*")
        # Those of a fold are made again.
        if file.name.endswith(FINISHED) and not file.parent.name.endswith("-rows.blocks")
    }


def test_every_stage_is_killed(reference):
    assert set(reference([])["timings"]) - {"total"} == {stage for stage, _ in PLANS}


@pytest.mark.parametrize(
    ("words", "stage", "step"), [*(([], *plan) for plan in PLANS), *OTHERS], ids=str
)
def test_a_run_that_is_killed_is_gone_on_with(folder, tmp_path, reference, words, stage, step):
    usual = reference(words)
    killed = command(
        folder, tmp_path, *words, stage=stage, step=step, after=usual["timings"][stage] / 2
    )
    assert killed.returncode == -9, killed.stderr
    assert (tmp_path / "killed").read_text() == stage
    left = finished(tmp_path)
    assert bool(left) == (stage != "load")
    went_on = command(folder, tmp_path, *words, left=left)
    assert went_on.returncode == 0, went_on.stderr
    assert json.loads(went_on.stdout)["digest"] == usual["digest"]
    assert json.loads((tmp_path / "again").read_text()) == []
    cache = tmp_path / "outputs/cache"
    assert not [file for file in cache.rglob("*") if file.is_file()]

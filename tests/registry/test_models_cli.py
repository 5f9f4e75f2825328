"""What the commands print, and that they stay light where nothing heavy is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sentiment import store
from sentiment.registry import promotion
from sentiment.registry.gate import load_rules
from sentiment.registry.promotion import Promotion
from sentiment.registry.registry import Registry, fetch

from .conftest import Cli, Trained

NONE = Promotion(load_rules("none"), "none")


def test_list_show_and_history(outputs: Path, trained: Trained, cli: Cli) -> None:
    good, other = trained.runs["good"], trained.runs["other"]
    promotion.register(Registry(outputs), good.run_id, promotion=NONE)
    promotion.register(Registry(outputs), other.run_id, alias="challenger")
    promotion.register(Registry(outputs, "second"), other.run_id)
    listed = json.loads(cli("models", "list", "--json").out)
    assert [(v["name"], v["version"], v["aliases"]) for v in listed] == [
        ("second", "1", []),
        ("sentiment", "2", ["challenger"]),
        ("sentiment", "1", ["champion"]),
    ]
    table = cli("models", "list", "--name", "sentiment").out
    assert "challenger" in table
    assert good.digest[:12] in table
    assert "second" not in table

    shown = json.loads(cli("models", "show", "models:/sentiment@champion", "--json").out)
    assert shown["digest"] == good.digest
    assert shown["stored_here"]
    assert shown["metrics"]["test_accuracy"] == pytest.approx(good.metrics["test_accuracy"], 1e-5)
    assert json.loads(cli("models", "show", "2", "--json").out)["digest"] == other.digest
    assert "test_accuracy" in cli("models", "show", "models:/sentiment/1").out

    moves = json.loads(cli("models", "history", "--json").out)
    assert [(m["alias"], m["to_version"], m["state"]) for m in moves] == [
        ("champion", "1", "completed"),
        ("challenger", "2", "completed"),
    ]
    assert len(json.loads(cli("models", "history", "--json", "--alias", "champion").out)) == 1
    assert "none: passed" in cli("models", "history").out


def test_nothing_is_registered_yet(cli: Cli, tmp_path: Path) -> None:
    for place in ((), ("--output-dir", str(tmp_path / "nowhere"))):
        assert json.loads(cli("models", "list", "--json", *place).out) == []
        assert "sentiment register" in cli("models", "list", *place).err
    assert not (tmp_path / "nowhere").exists()
    assert cli("models", "show").code == 2


def test_a_model_on_this_machine_is_shown_without_mlflow(outputs: Path, trained: Trained) -> None:
    promotion.register(Registry(outputs), trained.runs["good"].run_id, promotion=NONE)
    script = (
        "import sys\nfrom sentiment.cli import main\n"
        "try: main()\nfinally: assert not {'mlflow', 'sklearn', 'pandas'} & set(sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script, "models", "show", "champion", "--json"],
        env={**os.environ, "SENTIMENT_OUTPUT_DIR": str(outputs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    assert document["pointers"] == ["champion"]
    assert document["version"] == "1"
    assert document["labels"] == ["negative", "positive"]


def test_prune_removes_what_nothing_needs(outputs: Path, trained: Trained, cli: Cli) -> None:
    runs = trained.runs
    registry = Registry(outputs)
    promotion.register(registry, runs["good"].run_id, promotion=NONE)
    promotion.register(Registry(outputs, "second"), runs["other"].run_id, alias="beta")
    # The run of "poor" goes on; the last trained, "elsewhere", is `latest`; one is an orphan.
    registry.client.update_run(runs["poor"].run_id, status="RUNNING")
    orphan = outputs / "models" / ("e" * 64)
    (orphan / "scorer").mkdir(parents=True)
    (orphan / "scorer" / "scorer.json").write_text("{}")
    left = outputs / "models" / ".fetch-dead"
    left.mkdir()
    os.utime(left, (time.time() - 9e5,) * 2)

    planned = json.loads(cli("models", "prune", "--json").out)
    assert {m["digest"]: m["needed_by"] for m in planned["models"]} == {
        runs["good"].digest: "champion",
        runs["other"].digest: "models:/second@beta",
        runs["poor"].digest: f"run {runs['poor'].run_id} (RUNNING)",
        runs["elsewhere"].digest: "latest",
        "e" * 64: None,
    }
    assert orphan.exists(), "without --yes nothing goes"
    assert "1 of 5 models" in cli("models", "prune", "--yes").err
    assert not orphan.exists()
    assert not left.exists()
    registry.client.set_terminated(runs["poor"].run_id)
    cli("models", "prune", "--yes")
    assert {model.digest for model in store.list_models(outputs)} == {
        runs[name].digest for name in ("good", "other", "elsewhere")
    }
    # A run keeps its own copy.
    assert fetch(f"runs:/{runs['poor'].run_id}", outputs).digest == runs["poor"].digest


def test_prune_keeps_everything_when_mlflow_is_away(
    outputs: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    before = sorted((outputs / "models").iterdir())
    assert cli("models", "prune", "--yes").code == 1
    assert sorted((outputs / "models").iterdir()) == before


def test_watching_a_local_registry(
    outputs: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentiment.registry.pull import Pulled, Watch

    pulled = tmp_path / "pulled"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{outputs}/mlflow.db")
    promotion.register(Registry(outputs), trained.runs["good"].run_id)
    moved: list[Pulled] = []
    said: list[str] = []

    def promote(name: str) -> None:
        promotion.register(Registry(outputs), trained.runs[name].run_id, promotion=NONE)

    def report(found: Pulled) -> None:
        moved.append(found)
        if found.version == "1":
            promote("other")
        else:
            watch.stop()

    def say(text: str) -> None:
        said.append(text)
        if "no alias" in text:
            promote("good")

    watch = Watch("models:/sentiment@champion", pulled, 0.05, report=report, say=say)
    watch.run()
    assert [found.version for found in moved] == ["1", "2"]
    assert "no alias 'champion'" in said[0]
    assert "well again" in said[1]
    sync = store.read_sync(pulled)
    assert sync is not None
    assert time.time() - 60 < sync.answered_at <= sync.looked_at

    # A registry that is away: it goes on asking, and says since when there is no answer.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    away = Watch(
        "models:/sentiment@champion", pulled, 0.05, report=report, say=lambda _: away.stop()
    )
    away.run()
    later = store.read_sync(pulled)
    assert later is not None
    assert later.answered_at == sync.answered_at
    assert later.looked_at > sync.looked_at
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{outputs}/mlflow.db")

    fixed = Watch("models:/sentiment/1", pulled, 0.05, report=moved.append, say=said.append)
    fixed.run()  # a version never changes: one pull is all
    assert moved[-1].version == "1"

"""The registry in PostgreSQL: limits on tags hold, and promotions at once take turns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.postgres import postgres

from sentiment.registry import promotion
from sentiment.registry.gate import load_rules
from sentiment.registry.promotion import Promotion
from sentiment.registry.registry import Registry

from .conftest import POSTGRES_DRIVER, Trained, train_some

pytestmark = [pytest.mark.slow, pytest.mark.real]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    pytest.importorskip(POSTGRES_DRIVER)
    with postgres() as server:
        yield f"postgresql+{POSTGRES_DRIVER}://{server.address}"


@pytest.fixture(scope="module")
def in_postgres(
    database: str, tmp_path_factory: pytest.TempPathFactory, reviews: Path
) -> Iterator[Trained]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", database)
        yield train_some(
            tmp_path_factory.mktemp("postgres") / "outputs", reviews, ["good", "other"]
        )


@pytest.fixture(autouse=True)
def tracking(clean_environment: None, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)


def test_promotions_at_once_take_turns(in_postgres: Trained) -> None:
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "sentiment", "register", "--promote", "--json"),
                *("--run", run.run_id, "--output-dir", str(in_postgres.folder)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for run in in_postgres.runs.values()
    ]
    answers = [process.communicate(timeout=300) for process in started]
    registry = Registry(in_postgres.folder)
    moves = registry.moves()
    assert {m.to_digest for m in moves} == {run.digest for run in in_postgres.runs.values()}, (
        answers
    )
    done = [move for move in moves if move.state == "completed"]
    assert registry.get("champion").version == done[-1].to_version
    assert [move.from_version for move in done] == [None, *(m.to_version for m in done[:-1])]
    assert not [key for key in registry.registered().tags if "turn" in key]


def test_history_fits_the_columns_of_postgresql(in_postgres: Trained) -> None:
    rules = load_rules(
        "none", [f"gate.min.{name}=2" for name in sorted(in_postgres.runs["good"].metrics)]
    )
    registry = Registry(in_postgres.folder, "long history")
    forced = Promotion(rules, "none", force="ü" * 2000)
    outcome = promotion.register(registry, in_postgres.runs["good"].run_id, promotion=forced)
    (move,) = registry.moves()
    assert move.forced
    assert move.state == "completed"
    assert outcome.version.aliases == ("champion",)

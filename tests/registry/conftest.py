"""Three small models, trained once, and copies of their database to change freely."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.commands import Printed, run_cli
from support.made_up import add_reviews

from sentiment import config
from sentiment.training.run import TrainResult, train

POSTGRES_DRIVER = "psycopg" if importlib.util.find_spec("psycopg") else "psycopg2"


@dataclass(frozen=True)
class Trained:
    """What was trained: the folder, and the result of each run by name."""

    folder: Path
    runs: dict[str, TrainResult]


def train_some(
    folder: Path, reviews: Path, names: Sequence[str], more: Sequence[str] = ()
) -> Trained:
    """Train the models of these names into ``folder``."""
    overrides = {
        "good": ["model.C=30"],
        "other": ["model.C=100"],
        # So strong a penalty that it says the same of every text: significantly worse.
        "poor": ["model.C=1e-9"],
        # Another split, so that its test rows are not those of the others.
        "elsewhere": ["model.C=30", "seed=5"],
    }
    runs = {}
    for name in names:
        words = [
            *("data=files", f"data.train={reviews}", "data.positive_label=positive"),
            *("data.test_size=0.4", "data.val_size=0.1"),
            *("model=logreg", f"output_dir={folder}", *overrides[name], *more),
        ]
        runs[name] = train(config.compose(words), overrides=words)
    return Trained(folder, runs)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    add_reviews(path, 0, 600)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Trained:
    folder = tmp_path_factory.mktemp("trained") / "outputs"
    return train_some(folder, reviews, ["good", "other", "poor", "elsewhere"])


@pytest.fixture
def outputs(tmp_path: Path, trained: Trained) -> Path:
    """An output directory of one's own; the artifacts stay where they were logged."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    with (
        contextlib.closing(sqlite3.connect(trained.folder / "mlflow.db")) as source,
        contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as target,
    ):
        source.backup(target)
    shutil.copytree(trained.folder / "models", folder / "models")
    return folder


Cli = Callable[..., Printed]


@pytest.fixture
def cli(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run ``sentiment WORDS`` in this process with the test's own output directory."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("SENTIMENT_OUTPUT_DIR", str(outputs))
    return run_cli


@pytest.fixture
def everything(outputs: Path) -> Iterator[Callable[[], object]]:
    """Return what the registry and the local pointers hold, to see that nothing changed."""

    def read() -> object:
        tables = ("registered_models", "model_versions", "registered_model_aliases",
                  "registered_model_tags", "model_version_tags")  # fmt: skip
        with contextlib.closing(sqlite3.connect(outputs / "mlflow.db")) as database:
            rows = {
                table: sorted(map(repr, database.execute(f"select * from {table}")))
                for table in tables
            }
        pointers = {
            path.name: path.read_text() for path in sorted((outputs / "models").glob("*.json"))
        }
        return rows, pointers, sorted(path.name for path in (outputs / "models").iterdir())

    return read

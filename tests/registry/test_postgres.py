"""The registry in PostgreSQL: limits on tags hold, and promotions at once take turns."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import free_port

from sentiment.registry import promotion
from sentiment.registry.gate import load_rules
from sentiment.registry.promotion import Promotion
from sentiment.registry.registry import Registry

from .conftest import POSTGRES_DRIVER, Trained, train_some

pytestmark = [pytest.mark.slow, pytest.mark.real]

BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Start PostgreSQL on loopback; its data lies on the disk for the length of the tests."""
    pytest.importorskip(POSTGRES_DRIVER)
    initdb = shutil.which("initdb") or (BINARIES and str(BINARIES / "initdb"))
    if not initdb or not Path(initdb).exists():
        pytest.skip("PostgreSQL's initdb is not installed")
    user = None
    if os.getuid() == 0:  # it refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="sentiment-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    subprocess.run(
        [initdb, "-D", str(folder / "data"), "-U", "mlflow", "--auth=trust", "--no-sync"],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    port = free_port()
    process = subprocess.Popen(
        [
            *(str(Path(initdb).with_name("postgres")), "-D", str(folder / "data")),
            *("-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "fsync=off"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user,
        cwd=folder,
    )
    try:
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None, "PostgreSQL ended"
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.1)
        time.sleep(0.5)  # it listens a moment before it is ready
        yield f"postgresql+{POSTGRES_DRIVER}://mlflow@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # at once, whoever is still connected
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


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

"""The registry on a real ``mlflow server`` over HTTP: turns, races, and pulling beside a service."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from mlflow import MlflowClient
from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent
from mlflow.exceptions import MlflowException
from support.commands import run_cli
from support.waiting import free_port, wait_for

from sentiment import store
from sentiment.errors import SentimentError, UsageError
from sentiment.registry import promotion
from sentiment.registry.gate import load_rules
from sentiment.registry.promotion import Promotion
from sentiment.registry.pull import ask_server, pull
from sentiment.registry.registry import Registry, fetch

from .conftest import Trained, train_some

pytestmark = pytest.mark.slow

HOW_TO = Path(__file__).parents[2] / ".github/docs/pages/howto/webhooks.md"

NONE = Promotion(load_rules("none"), "none")
DEFAULT = Promotion(load_rules("default"), "default")


@dataclass(frozen=True)
class Server:
    """A tracking server, and the models that were trained on it."""

    uri: str
    trained: Trained


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, trained: Trained, reviews: Path
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    # A database that is migrated already starts sooner; its own runs stay apart by name.
    shutil.copy(trained.folder / "mlflow.db", folder / "mlflow.db")
    uri = f"http://127.0.0.1:{free_port()}"
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", uri.rpartition(":")[2]),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        env={
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            # As the how-to says, for a receiver on this machine.
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_CACHE_TTL": "1",
        },
        stdout=log,
        stderr=log,
        start_new_session=True,
    )

    def healthy() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    try:
        wait_for(healthy, 300)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", uri)
            served = ["experiment_name=served"]
            yield Server(uri, train_some(folder / "outputs", reviews, ["good", "other"], served))
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # its own session: the server and its worker
        process.wait(60)
        log.close()


@pytest.fixture(autouse=True)
def tracking(clean_environment: None, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A registered model of the test's own."""
    return re.sub(r"\W", "-", request.node.name)


def test_register_promote_roll_back_and_fetch(server: Server, name: str, tmp_path: Path) -> None:
    registry = Registry(tmp_path, name)
    for model in ("good", "other"):
        run = server.trained.runs[model]
        outcome = promotion.register(registry, run.run_id, promotion=DEFAULT)
        assert outcome.created
        assert not promotion.register(registry, run.run_id, promotion=DEFAULT).created
    assert registry.get("champion").version == "2"
    assert [version.version for version in registry.versions()] == ["2", "1"]
    assert promotion.rollback(registry).version.version == "1"
    moves = registry.moves()
    assert [(m.from_version, m.to_version) for m in moves] == [(None, "1"), ("1", "2"), ("2", "1")]
    assert {m.state for m in moves} == {"completed"}
    pointer = store.read_pointer(tmp_path, "champion")
    assert pointer is not None
    assert pointer["digest"] == server.trained.runs["good"].digest
    shutil.rmtree(tmp_path / "models")
    stored = fetch(f"models:/{name}@champion", tmp_path)
    assert (stored.digest, stored.version) == (server.trained.runs["good"].digest, "1")
    answer = run_cli(
        "predict", "--model", f"models:/{name}/2", "--output-dir", str(tmp_path), "superb"
    )
    assert answer.code == 0, answer.err


def test_two_promotions_at_once_on_a_server(server: Server, name: str, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def promote(model: str) -> None:
        try:
            registry = Registry(tmp_path / model, name)
            promotion.register(registry, server.trained.runs[model].run_id, promotion=NONE)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=promote, args=(model,)) for model in ("good", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    registry = Registry(tmp_path, name)
    first, second = registry.moves()
    assert (first.state, second.state) == ("completed", "completed")
    assert (first.from_version, second.from_version) == (None, first.to_version)
    assert registry.get("champion").version == second.to_version
    assert not [key for key in registry.registered().tags if "turn" in key]


def test_what_the_watcher_asks(server: Server, name: str, tmp_path: Path) -> None:
    registry = Registry(tmp_path, name)
    run = server.trained.runs["good"]
    with pytest.raises(UsageError, match=f"no models:/{name}@champion"):
        ask_server(server.uri, name, "champion")
    promotion.register(registry, run.run_id, promotion=NONE)
    assert ask_server(server.uri + "/", name, "champion") == f"1 {run.digest}"
    with_password = server.uri.replace("//", "//user:secret@")
    assert ask_server(with_password, name, "champion") == f"1 {run.digest}"
    with pytest.raises(SentimentError, match="does not answer") as away:
        ask_server("http://user:secret@127.0.0.1:9", name, "champion")
    assert "secret" not in str(away.value)


def test_watching_follows_the_champion_in_little_memory(
    server: Server, name: str, tmp_path: Path
) -> None:
    reference = f"models:/{name}@champion"
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        watcher = subprocess.Popen(
            [
                *(sys.executable, "-m", "sentiment", "models", "pull", reference),
                *("--watch", "0.5", "--json", "--output-dir", str(tmp_path / "pulled")),
            ],
            stdout=out,
            stderr=err,
        )

    def at(digest: str) -> bool:
        assert watcher.poll() is None, (tmp_path / "err").read_text()
        pointer = store.read_pointer(tmp_path / "pulled", "champion")
        return pointer is not None and pointer["digest"] == digest

    try:
        wait_for(lambda: f"no {reference}" in (tmp_path / "err").read_text())
        registry = Registry(tmp_path / "promoting", name)
        for model in ("good", "other"):
            run = server.trained.runs[model]
            promotion.register(registry, run.run_id, promotion=NONE)
            wait_for(lambda run=run: at(run.digest))  # type: ignore[misc]
        wait_for(lambda: len((tmp_path / "out").read_text().splitlines()) == 2)
        status = Path(f"/proc/{watcher.pid}/status").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]
        assert resident < 120_000, "kB: it must not import MLflow"
    finally:
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait(60) == 0
    moves = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [move["version"] for move in moves] == ["1", "2"]
    assert all(move["moved"] for move in moves)
    assert sorted(path.name for path in (tmp_path / "pulled").iterdir()) == ["models"]


def test_a_pulled_model_stays_while_the_server_is_away(
    server: Server, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = f"models:/{name}@champion"
    promotion.register(
        Registry(tmp_path / "a", name), server.trained.runs["good"].run_id, promotion=NONE
    )
    assert pull(reference, tmp_path / "b").moved
    pointer = tmp_path / "b" / "models" / "champion.json"
    written = pointer.stat().st_mtime_ns
    assert not pull(reference, tmp_path / "b").moved
    assert pointer.stat().st_mtime_ns == written

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    kept = run_cli("models", "pull", reference, "--output-dir", str(tmp_path / "b"))
    assert kept.code == 0
    assert "127.0.0.1:9" in kept.err
    assert re.search(r"keeping .* version 1 .*, set \d+ s ago", kept.err)
    assert pointer.stat().st_mtime_ns == written
    nothing = run_cli("models", "pull", reference, "--output-dir", str(tmp_path / "c"))
    assert nothing.code == 1
    assert nothing.err.startswith("error: MLflow at http://127.0.0.1:9 ")
    other = run_cli("models", "pull", "models:/x@y", "--output-dir", str(tmp_path / "b"))
    assert other.code == 1, "another reference's model is no answer"


def test_a_fixed_version_is_pulled_once(server: Server, name: str, tmp_path: Path) -> None:
    promotion.register(Registry(tmp_path / "a", name), server.trained.runs["good"].run_id)
    done = run_cli(
        *(
            "models",
            "pull",
            f"models:/{name}/1",
            "--watch",
            "1",
            "--output-dir",
            str(tmp_path / "b"),
        )
    )
    assert done.code == 0, done.err
    assert f"{name} version 1" in done.out


def test_an_alias_that_moves_is_told_and_its_model_brought_as_the_how_to_says(
    server: Server, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own webhook, and the receiver of the documentation, word for word."""
    snippets = dict(
        re.findall(r'^```py title="(\S+)"\n(.*?)^```', HOW_TO.read_text("utf-8"), re.M | re.S)
    )
    here, there, port = tmp_path / "here", tmp_path / "there", str(free_port())
    registry = Registry(there, name)
    for model in ("good", "other"):
        promotion.register(registry, server.trained.runs[model].run_id, promotion=NONE)
    monkeypatch.setenv("WEBHOOK_SECRET", "of both sides")
    (tmp_path / "receiver.py").write_text(snippets["receiver.py"], "utf-8")
    with (tmp_path / "log").open("w") as log:
        receiver = subprocess.Popen(
            [sys.executable, tmp_path / "receiver.py"],
            env={
                **os.environ,
                "PORT": port,
                "SENTIMENT_OUTPUT_DIR": str(here),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}/"

    def status(**headers: str) -> int:
        """What the receiver says to somebody who makes an event up."""
        asked = urllib.request.Request(url, b"{}", headers)
        try:
            with urllib.request.urlopen(asked, timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    try:
        wait_for(lambda: status() == 403, 60)
        assert status(**{"X-MLflow-Signature": "v1,AAAA", "X-MLflow-Timestamp": "1"}) == 403
        exec(
            compile(snippets["tell.py"].replace("http://127.0.0.1:9000/", url), "tell", "exec"), {}
        )
        time.sleep(1.1)  # the server looks for webhooks again after its cache's second

        def champion() -> str | None:
            pointer = store.read_pointer(here, "champion")
            return pointer and str(pointer["version"])

        promotion.rollback(registry)
        wait_for(lambda: champion() == "1", 120)
    finally:
        receiver.terminate()
        receiver.wait(30)


def test_mlflow_refuses_webhooks_to_this_machine_unless_told(
    trained: Trained, tmp_path: Path
) -> None:
    """What the how-to says that MLflow says; when that changes, so does the page."""
    page = " ".join(HOW_TO.read_text("utf-8").split())
    shutil.copy(trained.folder / "mlflow.db", tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    events = [WebhookEvent(WebhookEntity.MODEL_VERSION_ALIAS, WebhookAction.CREATED)]
    with pytest.raises(MlflowException, match="Invalid webhook URL scheme: 'http'") as scheme:
        client.create_webhook(name="a", url="http://127.0.0.1:9000/", events=events)
    assert scheme.value.message.partition(".")[0] in page
    with pytest.raises(MlflowException, match="private|non-public|not public"):
        client.create_webhook(name="a", url="https://127.0.0.1:9000/", events=events)

"""What is damaged, removed or misspelt is told, and the rest goes on."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

import sentiment
from sentiment.feedback import Answer, Feedback, FeedbackError, answers, observed
from sentiment.store import read_pointer, set_pointer
from serve import weights
from serve.settings import OTHERS, Settings

GOOD = "A wonderful film: moving, funny and beautifully acted. I loved every minute."


def answer_of(number: int) -> Answer:
    return Answer(f"id{number}", "ab" * 16, "good", 0.9, 1.0, "good", None, 2.0)


def told(server, label: str = "positive"):
    """Ask for a prediction and answer it."""
    prediction = server.post("/predict", {"text": GOOD}).json()["prediction_id"]
    return server.post("/feedback", {"prediction_id": prediction, "label": label})


@pytest.mark.parametrize("damage", ["head", "whole", "middle", "text"])
def test_a_damaged_file_of_answers_is_kept_and_another_begun(tmp_path, damage):
    path = tmp_path / "feedback.db"
    store = Feedback(path)
    assert store.add([answer_of(n) for n in range(500)]) == [True] * 500
    store.close()
    data = bytearray(path.read_bytes())
    if damage == "text":
        data = bytearray(b"not a database\n")
    else:
        start, end = {"head": (0, 64), "whole": (0, len(data)), "middle": (4096, 20_000)}[damage]
        data[start:end] = os.urandom(end - start)
    path.write_bytes(data)
    store = Feedback(path)
    assert store.add([answer_of(1)]) == [True]
    store.close()
    assert [answer.prediction_id for answer in answers(path)] == ["id1"]
    (aside,) = tmp_path.glob("feedback.damaged-*.db")
    assert aside.read_bytes() == bytes(data)


def test_a_file_of_answers_is_begun_anew_while_it_is_open(tmp_path):
    path = tmp_path / "feedback.db"

    def again(store: Feedback) -> Feedback:
        assert store.is_gone()
        store.close()
        return Feedback(path)

    first, second = Feedback(path), Feedback(path)
    assert first.add([answer_of(1)]) == second.add([answer_of(2)]) == [True]
    path.unlink()
    first = again(first)
    assert first.add([answer_of(3)]) == [True]
    second = again(second)
    assert second.add([answer_of(4)]) == [True]
    assert {answer.prediction_id for answer in answers(path)} == {"id3", "id4"}
    with sqlite3.connect(path) as database:  # what lies in the log would mend it
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    path.write_bytes(os.urandom(9000))
    second = again(second)
    assert second.add([answer_of(5)]) == [True]
    first = again(first)
    assert first.add([answer_of(6)]) == [True]
    first.close()
    second.close()
    assert {answer.prediction_id for answer in answers(path)} == {"id5", "id6"}
    assert len(list(tmp_path.glob("feedback.damaged-*.db"))) == 1
    path.write_bytes(os.urandom(9000))
    with pytest.raises(FeedbackError):
        observed(path, "ab" * 32, 10)


def test_the_service_goes_on_without_its_feedback(serve, own_store):
    path = own_store / "feedback.db"
    server = serve(own_store).ready()
    assert server.metric("sentiment_feedback_available") == 1
    assert told(server).json()["status"] == "recorded"

    path.write_bytes(os.urandom(9000))
    for address in ("/metrics", "/model/drift", "/health"):
        assert server.get(address).status_code == 200
    assert told(server).json()["status"] == "recorded"
    server.wait_for(lambda: server.metric("sentiment_feedback_available") == 1)
    assert list(answers(path))

    path.unlink()
    assert told(server).json()["status"] == "recorded"
    assert len(list(answers(path))) == 1

    for beside in own_store.glob("feedback.db*"):
        beside.unlink()
    path.mkdir()
    refused = told(server)
    assert refused.status_code == 503
    assert refused.json()["code"] == "feedback_unavailable"
    assert "directory" in refused.json()["message"]
    assert str(own_store) not in refused.text
    assert server.metric("sentiment_feedback_available") == 0
    assert server.post("/predict", {"text": GOOD}).status_code == 200
    path.rmdir()
    assert told(server).status_code == 200
    assert "Traceback" not in server.log


@pytest.mark.slow
def test_answers_to_earlier_models_and_starts_are_taken(serve, own_store):
    first = read_pointer(own_store, "champion")["digest"]
    server = serve(own_store).ready()
    prediction = server.post("/predict", {"text": GOOD}).json()["prediction_id"]
    assert server.stop() == 0
    assert (own_store / "feedback.key").stat().st_mode & 0o077 == 0
    latest = read_pointer(own_store, "latest")["digest"]
    set_pointer(own_store, "champion", latest, name="reviews", version=2, source="test")
    for workers in (1, 2):
        server = serve(own_store, "--workers", workers).ready()
        assert server.get("/model/info").json()["digest"] == latest
        refused = server.post("/feedback", {"prediction_id": prediction, "label": "no such"})
        assert refused.status_code == 409
        answer = server.post("/feedback", {"prediction_id": prediction, "label": "negative"})
        assert answer.json()["status"] == ("recorded" if workers == 1 else "duplicate")
    shutil.rmtree(own_store / "models" / first)  # pruned
    server = serve(own_store).ready()
    answer = server.post("/feedback", {"prediction_id": prediction, "label": "negative"})
    assert answer.json()["status"] == "duplicate"


@pytest.mark.slow
def test_an_old_key_still_reads_what_it_signed(serve, own_store):
    old, new = "an old key of many characters", "a new key of many characters"
    server = serve(own_store, feedback_key=old).ready()
    prediction = server.post("/predict", {"text": GOOD}).json()["prediction_id"]
    answer = {"prediction_id": prediction, "label": "positive"}
    assert serve(own_store, feedback_key=new).ready().post("/feedback", answer).status_code == 404
    both = serve(own_store, feedback_key=f"{new},{old}").ready()
    assert both.post("/feedback", answer).status_code == 200


def test_without_its_pointer_the_champion_goes_on(serve, own_store):
    pointer = own_store / "models" / "champion.json"
    text = pointer.read_text()
    server = serve(own_store, "--reload-model", 0.2).ready()
    before = server.get("/model/info").json()["digest"]
    assert read_pointer(own_store, "latest")["digest"] != before
    pointer.unlink()
    server.wait_for(lambda: "the champion's pointer is gone" in server.log)
    assert server.get("/model/info").json()["digest"] == before
    latest = own_store / "models" / "latest.json"
    latest.touch()  # trained again
    time.sleep(0.6)
    assert server.get("/model/info").json()["digest"] == before
    digest = read_pointer(own_store, "latest")["digest"]
    pointer.write_text(text.replace(before, digest))
    server.wait_for(lambda: server.get("/model/info").json()["digest"] == digest)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SENTIMENT_API_KEY", "did you mean 'SENTIMENT_API_KEYS'"),
        ("SENTIMENT_MAX_BODY_BYTE", "did you mean 'SENTIMENT_MAX_BODY_BYTES'"),
        ("SENTIMENT_QQQ", "unset it"),
    ],
)
def test_a_misspelt_setting_is_refused(cli, own_store, monkeypatch, name, hint):
    monkeypatch.setenv(name, "0123456789abcdef")
    refused = cli("serve", "--output-dir", own_store, "--port", "0")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert name in refused.err
    assert hint in refused.err
    assert "0123456789abcdef" not in refused.err


def test_windows_is_told_in_one_line(tmp_path):
    # What the interpreter says and lacks there; the command line's own library is loaded before.
    program = """
import sys, sentiment.cli, sentiment.cli.serve, rich.console
sys.modules |= dict.fromkeys(("fcntl", "uvloop", "resource", "pwd"))
sys.platform = "win32"
sys.argv = ["sentiment", "serve"]
sentiment.cli.main()
"""
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert "needs Linux or macOS" in told.stderr
    assert told.stderr.count("\n") == 1


def test_what_kubernetes_and_other_commands_set_is_no_mistake(serve, store, monkeypatch):
    for name, value in {
        "PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "PORT_8000_TCP_ADDR": "10.0.0.1",
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "8000",
        "SERVICE_PORT_HTTP": "8000",
        "MLFLOW_PORT": "tcp://10.0.0.2:5000",
        "MLFLOW_SERVICE_HOST": "10.0.0.2",
        "TRAIN_ARGS": "data=files",
    }.items():
        monkeypatch.setenv(f"SENTIMENT_{name}", value)
    server = serve(store, port="tcp://10.0.0.1:8000").ready()
    assert server.post("/predict", {"text": GOOD}).status_code == 200


def test_what_other_commands_read_is_known():
    root = Path(sentiment.__file__).parent
    sources = "".join(file.read_text() for file in root.rglob("*.py"))
    named = set(re.findall(r'"(SENTIMENT_[A-Z_]+[A-Z])"', sources))
    assert "SENTIMENT_TRUSTED_TYPES" in named
    assert named <= OTHERS | {f"SENTIMENT_{name.upper()}" for name in Settings.model_fields}


def test_keys_of_a_file_change_while_it_serves(serve, cli, store, tmp_path):
    file = tmp_path / "keys"
    file.write_text("# of the web page\nthe-first-key-of-it\n\n")
    server = serve(store, api_keys_file=file)

    def status(key: str) -> int:
        headers = {"x-api-key": key}
        return server.post("/predict", {"text": GOOD}, headers=headers).status_code

    server.wait_for(lambda: server.get("/health").status_code == 200)
    assert (status("the-first-key-of-it"), status("the-second-key-of-it")) == (200, 401)
    file.write_text("the-second-key-of-it\nthe-third-key-of-it\n")
    server.wait_for(lambda: status("the-second-key-of-it") == 200)
    assert (status("the-first-key-of-it"), status("the-third-key-of-it")) == (401, 200)
    for content in ("", "short\n", None):
        if content is None:
            file.unlink()
        else:
            file.write_text(content)
        server.wait_for(lambda: server.log.count("the keys of before stay") > 0)
        assert (status(""), status("short"), status("the-third-key-of-it")) == (401, 401, 200)


def test_a_worker_without_a_good_model_waits_for_it_instead_of_dying(serve, own_store):
    server = serve(own_store, "--workers", 2, "--reload-model", 0.2).ready()
    server.wait_for(lambda: server.metric("sentiment_workers_ready") == 2)
    models, away = own_store / "models", own_store / "away"
    models.rename(away)
    assert server.post("/predict", {"text": GOOD}).status_code == 200  # it is in memory
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
    server.wait_for(lambda: server.get("/health").status_code == 503)
    server.wait_for(lambda: server.metric("sentiment_workers") == 2)
    assert server.get("/health/live").status_code == 200
    assert server.post("/predict", {"text": GOOD}).json()["code"] == "model_not_ready"
    time.sleep(1.0)
    assert server.metric("sentiment_worker_restarts_total") == 2
    away.rename(models)
    server.wait_for(lambda: server.metric("sentiment_workers_ready") == 2)
    assert server.post("/predict", {"text": GOOD}).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_weights_that_change_in_place_change_no_answer(serve, own_store, workers):
    second = read_pointer(own_store, "latest")["digest"]
    server = serve(own_store, "--workers", workers, "--reload-model", 0.2).ready()
    server.wait_for(lambda: server.metric("sentiment_workers_ready") == workers)
    first = read_pointer(own_store, "champion")["digest"]
    file = own_store / "models" / first / "scorer" / "weights.safetensors"
    whole = file.read_bytes()
    processes = server.workers()
    with httpx.Client(base_url=server.url, verify=False) as client:

        def answer() -> dict:
            found = client.post("/predict", json={"text": GOOD}).json()
            return {key: found[key] for key in ("model_version", "probabilities")}

        before = answer()
        for damage in (b"", whole[:-4096], os.urandom(len(whole)), None):
            if damage is None:
                file.unlink()
            else:
                with file.open("r+b") as opened:  # in place: the file that was mapped
                    opened.write(damage)
                    opened.truncate()
            for _ in range(10):
                assert answer() == before
            server.wait_for(lambda: server.metric("sentiment_model_files_intact") == 0)
            health = client.get("/health")
            assert health.status_code == 200
            # This connection's worker looks in its own time.
            server.wait_for(lambda: client.get("/health").json()["model_files_intact"] is False)
            file.write_bytes(whole)
            server.wait_for(lambda: server.metric("sentiment_model_files_intact") == 1)
        file.write_bytes(b"")
        set_pointer(own_store, "champion", second, name="reviews", version=2, source="promote")
        server.wait_for(lambda: server.metric("sentiment_model_info", version="2") == workers)
        assert answer()["model_version"] == "2"
        server.wait_for(lambda: server.metric("sentiment_model_files_intact") == 1)
    assert server.workers() == processes
    assert "a start would fail" in server.log


def test_workers_share_one_copy_of_the_weights(tmp_path):
    file, folder = tmp_path / "file", tmp_path / "shared"
    file.write_bytes(b"first" * 1000)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    read = weights.reader(folder)
    held = read(file, sha256)
    file.write_bytes(b"")
    assert held == read(file, sha256) == b"first" * 1000  # the second one takes the copy
    file.write_bytes(b"other" * 1000)
    other = hashlib.sha256(file.read_bytes()).hexdigest()
    assert read(file, "0" * 64) == b"other" * 1000  # which is not what was asked for: not copied
    assert read(file, other) == b"other" * 1000
    assert [path.name for path in folder.glob("*.*")] == [f"{other}.weights"]
    assert held == b"first" * 1000
    file.unlink()
    with pytest.raises(FileNotFoundError):
        read(file, "0" * 64)
    folder = tmp_path / "nowhere" / "shared"  # there is no room for a copy
    file.write_bytes(b"again")
    assert weights.reader(folder)(file, other) == b"again"


@pytest.mark.slow
def test_a_crash_loop_is_slow_and_leaves_nothing(serve, own_store, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = serve(own_store, "--workers", 2).ready()
    server.wait_for(lambda: server.metric("sentiment_workers_ready") == 2)
    assert server.post("/predict", {"text": GOOD}).status_code == 200
    steady = server.workers()[0]
    for number in range(1, 4):
        (victim,) = server.wait_for(lambda: [p for p in server.workers() if p != steady])
        os.kill(victim, signal.SIGKILL)
        server.wait_for(lambda n=number: server.metric("sentiment_worker_restarts_total") == n)
    pauses = re.findall(r"replacing it in (\d+) s", server.log)
    assert pauses == ["1", "3"]  # the first is replaced at once
    (directory,) = tmp_path.glob("sentiment-metrics-*")
    server.wait_for(lambda: server.metric("sentiment_workers_ready") == 2)
    counters = [path.name for path in directory.glob("counter_*.db")]
    assert len(counters) == 4  # of the parent, of two workers, of all dead ones
    assert server.metric("sentiment_batch_size_count") == 1


@pytest.mark.slow
def test_a_killed_parent_leaves_the_port_and_its_folder_to_the_next(
    serve, store, tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    first = serve(store, "--workers", 2, drain_seconds=60).ready()
    other = serve(store, "--workers", 2).ready()  # of somebody else: it stays
    assert len(list(tmp_path.glob("sentiment-metrics-*"))) == 2
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    from serve.process.supervisor import bind

    def port_is_free() -> bool:
        try:
            bind("127.0.0.1", first.port).close()
        except sentiment.errors.UsageError:
            return False
        return True

    first.wait_for(port_is_free)
    second = serve(store, "--workers", 2).ready()
    assert len(list(tmp_path.glob("sentiment-metrics-*"))) == 2
    for server in (other, second):
        server.wait_for(lambda server=server: server.metric("sentiment_workers") == 2)

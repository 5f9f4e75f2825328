"""Where feedback lies: a file that others touch, or a database that replicas share."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from support.postgres import pooler, postgres

from sentiment.errors import DataError, UsageError
from sentiment.feedback import Answer, Feedback, answers, observed, place_of, shown

KEY = "a key of sixteen or more characters"


def tell(service, prediction, label: str, text: str | None = None) -> httpx.Response:
    document = {"prediction_id": prediction["prediction_id"], "label": label}
    return service.post("/feedback", document | ({"text": text} if text else {}))


def drift_when_fresh(service) -> dict:
    time.sleep(1.1)  # what was found is given again for a second
    return service.drift()


@pytest.fixture
def database():
    pytest.importorskip("psycopg")
    with postgres() as server:
        yield server


def answer(number: int, label: str = "good", text: str | None = None) -> Answer:
    return Answer(f"id{number}", "ab" * 16, "good", 0.9, 1.0, label, text, 2.0)


@pytest.fixture(params=["direct", "pooled"])
def address(request, database):
    if request.param == "direct":
        yield database.address
    else:
        with pooler(database) as found:
            yield found


@pytest.mark.slow
@pytest.mark.real
def test_a_pooler_has_its_connection_back_after_every_answer(database):
    """Of pipelined transactions PgBouncer 1.18 kept it, where the machine was busy: all others waited."""
    with pooler(database) as address, busy():
        place = place_of(Path("unused"), f"postgresql://{address}")
        for turn in range(150):
            one, two = Feedback(place), Feedback(place)
            assert one.add([]) == []
            assert one.add([answer(2 * turn), answer(2 * turn + 1), answer(2 * turn)]) == [
                True,
                True,
                False,
            ]
            assert two.add([answer(2 * turn + 1)]) == [False]
            assert observed(place, "ab" * 32, 1_000)[1] == 2 * turn + 2
            one.close()
            two.close()


@contextmanager
def busy():
    """Keep the processors busy."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


@pytest.mark.real
def test_a_database_counts_as_a_file_does(address, database):
    import psycopg

    place = place_of(Path("unused"), f"postgresql+psycopg2://{address}")
    assert observed(place, "ab" * 32, 10) == (0, 0)
    assert list(answers(place)) == []
    one, two = Feedback(place), Feedback(place)
    given = [answer(1), answer(2, "bad", "nul \0, emoji 🎬"), answer(1, "bad")]
    assert one.add(given) == [True, True, False]
    assert two.add([answer(2), answer(3)]) == [False, True]
    assert observed(place, "ab" * 32, 10) == (2, 3)
    assert observed(place, "ab" * 32, 2) == (1, 2)
    assert observed(place, "cd" * 32, 2) == (0, 0)
    assert [a.prediction_id for a in answers(place)] == ["id1", "id2", "id3"]
    assert next(a.text for a in answers(place) if a.text) == "nul \ufffd, emoji 🎬"
    one.close()
    two.close()
    # Eight that are told the same at once, each in another order.
    told = [answer(1_000 + number) for number in range(160)]
    firsts: list[bool] = []
    start = threading.Barrier(8)

    def replica(number: int) -> None:
        store = Feedback(place)
        own = told[number * 20 :] + told[: number * 20]
        start.wait()
        for begin in range(0, 160, 40):
            firsts.extend(store.add(own[begin : begin + 40]))
        store.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(replica, range(8)))
    assert (sum(firsts), len(firsts)) == (160, 1280)
    # A role that may use the table and make none.
    place = f"postgresql://{database.address}"
    with psycopg.connect(place, autocommit=True) as owner:
        owner.execute("CREATE ROLE api LOGIN")
        owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        owner.execute("GRANT SELECT, INSERT ON sentiment_feedback TO api")
    limited = Feedback(place.replace("mlflow@", "api@"))
    assert limited.add([answer(9)]) == [True]
    limited.close()


@pytest.mark.real
@pytest.mark.slow
def test_replicas_share_what_users_say_and_outlive_their_database(
    serve, streams, database, tmp_path
):
    url = f"postgresql://{database.address}"
    settings = {"feedback_url": url, "feedback_key": KEY}
    one, two = serve("--workers", 2, **settings), serve(**settings)
    texts = streams.movies[:40]
    predictions = one.predict(texts)
    for number, (text, prediction) in enumerate(zip(texts, predictions, strict=True)):
        said = tell((one, two)[number % 2], prediction, streams.labels[text], text)
        assert said.json()["status"] == "recorded", said.text
    assert tell(two, predictions[0], "positive").json()["status"] == "duplicate"
    assert not (one.outputs / "feedback.db").exists()
    two.predict(streams.movies[:10])
    assert drift_when_fresh(two)["feedback"]["answers"] == 40

    environment = {
        **os.environ,
        "SENTIMENT_FEEDBACK_URL": url,
        "SENTIMENT_OUTPUT_DIR": str(tmp_path / "empty"),
    }
    command = [
        sys.executable,
        "-m",
        "sentiment",
        "feedback",
        "export",
        "-o",
        tmp_path / "out.jsonl",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "40 labelled texts" in done.stderr

    # The database goes: nobody else suffers, and what was not written is said to whoever gave it.
    (late,) = two.predict(["a film that comes late"])
    database.stop()
    refused = tell(two, late, "positive")
    assert refused.status_code == 503
    assert refused.json()["code"] == "feedback_unavailable"
    assert two.get("/metrics").status_code == 200
    assert drift_when_fresh(two)["feedback"]["answers"] == 0
    gone = subprocess.run(
        [*command, "--force"], env=environment, capture_output=True, text=True, check=False
    )
    assert gone.returncode == 2
    assert (
        f"postgresql://127.0.0.1:{database.port}/postgres: feedback cannot be read" in gone.stderr
    )
    assert len(gone.stderr.strip().splitlines()) == 1

    database.start()
    assert tell(two, late, "positive").json()["status"] == "recorded"


def test_a_file_that_is_removed_is_made_again(serve, streams):
    service = serve()
    first, second = service.predict(streams.movies[:2])
    assert tell(service, first, "positive").json()["status"] == "recorded"
    for file in service.outputs.glob("feedback.db*"):
        file.unlink()
    assert tell(service, second, "positive").json()["status"] == "recorded"
    assert [a.prediction_id for a in answers(service.outputs / "feedback.db")] == [
        second["prediction_id"]
    ]
    assert drift_when_fresh(service)["feedback"]["answers"] == 1


def test_a_damaged_file_costs_feedback_alone(serve, streams):
    service = serve()
    file = service.outputs / "feedback.db"
    file.write_bytes(b"no database" * 500)
    (prediction,) = service.predict(streams.movies[:1])
    assert service.get("/metrics").status_code == 200
    assert drift_when_fresh(service)["feedback"]["answers"] == 0
    assert "not a feedback database" in service.log.read_text()
    assert tell(service, prediction, "positive").json()["status"] == "recorded"
    (aside,) = service.outputs.glob("feedback.damaged-*.db")
    assert aside.read_bytes() == b"no database" * 500  # it may be somebody's
    file.unlink()
    assert tell(service, prediction, "positive").json()["status"] == "recorded"


def test_a_locked_file_is_no_error_of_a_scrape(tmp_path):
    path = tmp_path / "feedback.db"
    store = Feedback(path)
    store.add([answer(1)])
    store.close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DataError, match="cannot be read .*locked"):
            observed(path, "ab" * 32, 10)
        other.rollback()
    assert observed(path, "ab" * 32, 10) == (1, 1)


@pytest.mark.parametrize("url", ["mysql://me:secret@host/db", "feedback.db", "postgresql:"])
def test_an_address_of_another_kind_is_refused_before_the_start(tmp_path, monkeypatch, url, cli):
    with pytest.raises(UsageError, match="must be postgresql://"):
        place_of(tmp_path, url)
    monkeypatch.setenv("SENTIMENT_FEEDBACK_URL", url)
    said = cli("serve", "--output-dir", tmp_path)
    assert said.code == 2
    assert "secret" not in said.err
    assert said.err.count("\n") == 1


def test_who_signs_in_is_not_shown():
    assert shown("postgresql://me:pa@ss@host:5/db?sslmode=require") == "postgresql://host:5/db"
    assert place_of(Path("out"), "") == Path("out/feedback.db")

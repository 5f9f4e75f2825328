"""Drift and feedback as the service gives them."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from serve.window import FRESH_SECONDS


def words(document: dict, direction: str) -> set[str]:
    return {word["word"] for word in document["words"][direction]}


def test_drift_over_all_workers_names_the_right_words(serve, streams, wait_for):
    service = serve("--workers", 2, drift_window=300)
    assert service.drift()["drift"] is None
    service.predict(streams.movies[:400])
    calm = service.drift_of(300)
    assert calm["drift"] is False
    assert calm["texts"] >= 300
    assert calm["reference"] == {"name": "test", "texts": 1000}
    assert calm["model"]["version"] == "7"
    assert len(calm["words"]["more"]) <= 3  # a film that some of them are about
    assert calm["words"]["less"] == []

    service.predict(streams.product)
    service.drift_of(300)

    def named() -> dict | None:
        document = service.drift()
        found = {"battery", "phone", "price"} & words(document, "more")
        return document if found and {"movie", "film"} <= words(document, "less") else None

    # Words are counted a few at a time.
    drifted = wait_for(named, 60, "the words that moved")
    assert drifted["drift"] is True
    assert drifted["signals"]["score"]["drift"] is True

    # HTTP gives the numbers that the command gives for the same texts.
    time.sleep(FRESH_SECONDS)  # a worker may still answer with what it found so long ago
    text = service.metrics()
    assert "Reference: 1000 test texts of model reviews version 7." in text
    values = dict(re.findall(r'sentiment_drift_value{signal="(\w+)"} (\S+)', text))
    assert float(values["score"]) > 0.25
    assert re.search(r'sentiment_drift_detected{signal="score"} 1.0', text)
    if shutil.which("promtool"):
        check = subprocess.run(
            ["promtool", "check", "metrics"],
            check=False,
            input=text,
            capture_output=True,
            text=True,
        )
        assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.slow
def test_a_killed_worker_takes_nothing_away(serve, streams, wait_for):
    service = serve("--workers", 4, drift_window=300)
    sent = len(service.predict(streams.movies[:400]))
    before = service.drift_of(300)
    victim = service.workers()[0]
    os.kill(victim, signal.SIGKILL)
    sent += len(service.predict(streams.movies[400:410]))

    def replaced() -> bool:
        return (
            service.sum("sentiment_worker_restarts_total") == 1
            and service.sum("sentiment_workers_ready") == service.sum("sentiment_workers") == 4
        )

    wait_for(replaced, 60, "four workers again")
    assert victim not in service.workers()
    assert service.sum("sentiment_predictions_total") == sent
    time.sleep(FRESH_SECONDS)  # any worker may still answer with what it found so long ago
    after = service.drift()
    assert after["texts"] >= 300
    assert after["drift"] is False
    assert after["words"]["texts"] >= before["words"]["texts"] - 30


def test_feedback_is_recorded_once_and_exported(serve, streams, tmp_path):
    service = serve("--workers", 2, feedback_key="a key of sixteen or more characters")
    texts = streams.movies[:60]
    predictions = service.predict(texts)
    ids = [prediction["prediction_id"] for prediction in predictions]
    assert len(set(ids)) == len(ids)
    right = 0
    for text, prediction in zip(texts, predictions, strict=True):
        label = streams.labels[text]
        given = prediction["sentiment"] or prediction["would_be"]
        answer = service.post(
            "/feedback",
            {"prediction_id": prediction["prediction_id"], "label": label, "text": text},
        )
        assert answer.status_code == 200, answer.text
        right += answer.json()["correct"]
        assert answer.json() == {
            "status": "recorded",
            "predicted": given,
            "correct": given == label,
        }
    again = service.post("/feedback", {"prediction_id": ids[0], "label": "positive"})
    assert again.json()["status"] == "duplicate"
    assert again.json()["correct"] is None  # what it says was not taken

    one = service.post("/predict", {"text": texts[0]}).json()["prediction_id"]
    other = one[:-1] + ("A" if one[-1] != "A" else "B")
    refused = [
        ({"prediction_id": other, "label": "positive"}, 404),
        ({"prediction_id": "x" * 92, "label": "positive"}, 404),
        ({"prediction_id": "é", "label": "positive"}, 404),
        ({"prediction_id": one, "label": "neutral"}, 409),
        ({"prediction_id": one, "label": "positive", "text": texts[0][:100]}, 409),
    ]
    for document, status in refused:
        answer = service.post("/feedback", document)
        assert answer.status_code == status, (document, answer.text)
        assert answer.json()["fields"]
    assert service.sum("sentiment_feedback_total") == 60 + 1 + len(refused)

    signal_ = service.drift()["signals"]["observed_accuracy"]
    assert signal_["drift"] is False
    usual = 1000 * (signal_["value"] + right / 60)
    assert usual == pytest.approx(round(usual))  # a share of the 1000 reference texts

    # Another replica with the same key takes it; one with another key does not.
    twin = serve(feedback_key="a key of sixteen or more characters")
    stranger = serve(feedback_key="another key of sixteen characters")
    document = {"prediction_id": one, "label": "positive"}
    assert twin.post("/feedback", document).json()["status"] == "recorded"
    assert stranger.post("/feedback", document).status_code == 404

    file = tmp_path / "answers.csv"
    done = subprocess.run(
        [sys.executable, "-m", "sentiment", "feedback", "export", "--output", str(file)],
        check=True,
        env={**os.environ, "SENTIMENT_OUTPUT_DIR": str(service.outputs)},
        capture_output=True,
        text=True,
    )
    assert "60 labelled texts" in done.stderr
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["text"] for row in rows] == texts
    assert [row["label"] for row in rows] == [streams.labels[text] for text in texts]


def test_feedback_that_cannot_be_written_is_an_honest_error(serve, streams):
    service = serve()
    (service.outputs / "feedback.db").mkdir()
    (prediction,) = service.predict(streams.movies[:1])
    answer = service.post(
        "/feedback", {"prediction_id": prediction["prediction_id"], "label": "positive"}
    )
    assert answer.status_code == 503
    assert answer.json()["code"] == "feedback_unavailable"
    assert service.get("/health").status_code == 200

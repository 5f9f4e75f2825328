"""The loop as the schedule runs it: a file that grows, corrections, a gate, a metric."""

from __future__ import annotations

import http.server
import json
import threading
import time

import pytest
from support.made_up import add_reviews

from sentiment.feedback import Answer, Feedback
from sentiment.store import read_pointer


@pytest.fixture
def gateway():
    """What a Pushgateway is sent."""
    sent: list[str] = []

    class Gateway(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            sent.append(f"{self.path}\n{body}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", sent
    server.shutdown()
    server.server_close()


def outcome(sent: list[str]) -> str:
    (found,) = [
        line.split('"')[1]
        for line in sent[-1].splitlines()
        if line.startswith("sentiment_retrain_last_outcome{") and line.endswith(" 1.0")
    ]
    return found


@pytest.mark.slow
def test_the_loop_closes(tmp_path, cli, monkeypatch, gateway):
    address, sent = gateway
    file, out = tmp_path / "reviews.csv", tmp_path / "out"
    monkeypatch.setenv("SENTIMENT_PUSHGATEWAY_URL", address)
    given = f"data=files 'data.train={file}' model=logreg model.C=30 vectorizer.min_df=1"
    monkeypatch.setenv("SENTIMENT_TRAIN_ARGS", given)
    words = ["retrain", "--output-dir", out, "--json"]

    add_reviews(file, 0, 800)
    first = cli(*words)
    assert first.code == 0, first.err
    assert first.document["outcome"] == "promoted"
    assert outcome(sent) == "promoted"
    assert sent[-1].startswith("/metrics/job/sentiment-retrain")
    assert "last_success_timestamp" in sent[-1]

    # A second run has nothing to do, and says so.
    again = cli(*words)
    assert (again.code, again.document["outcome"]) == (0, "nothing_new")
    assert outcome(sent) == "nothing_new"

    # The file grows by a tenth: an equal model is not refused.
    add_reviews(file, 800, 880)
    grown = cli(*words)
    assert (grown.code, grown.document["outcome"]) == (0, "promoted"), grown.err

    # What users corrected is learned from; the newest answer counts.
    database = Feedback(out / "feedback.db")
    new = "a splendid thing"
    answers = [(new, "negative"), (new, "positive"), ("oh bland", "negative")]
    database.add(
        [
            Answer(f"id{i}", "d" * 32, "negative", 0.6, time.time(), label, text, time.time())
            for i, (text, label) in enumerate(answers)
        ]
    )
    database.close()
    corrected = cli(*words)
    assert corrected.code == 0, corrected.err
    assert corrected.document["outcome"] == "promoted"
    assert corrected.document["corrections"] == 2
    pointer = read_pointer(out, "champion")
    assert pointer is not None
    assert pointer["version"] == corrected.document["version"]
    assert cli(*words).document["outcome"] == "nothing_new"

    # A worse model is refused, with its own exit code, and the champion stays.
    worse = cli(*words, "model.C=1e-9")
    assert worse.code == 1
    assert worse.document["outcome"] == "refused"
    assert outcome(sent) == "refused"
    assert "last_success_timestamp" not in sent[-1]
    assert "last_run_timestamp" in sent[-1]
    assert read_pointer(out, "champion") == pointer

    # What fails is told too.
    failed = cli(*words, "data.label_column=nope")
    assert failed.code == 2
    assert outcome(sent) == "failed"
    assert "last_run_timestamp" in sent[-1]
    # Its settings count as well.
    assert cli(*words, "--gate", "nowhere").code == 2
    assert outcome(sent) == "failed"
    monkeypatch.setenv("SENTIMENT_TRAIN_ARGS", "'data.train=a b.csv")
    unread = cli(*words)
    assert (unread.code, len(unread.err.splitlines())) == (2, 1)
    assert "SENTIMENT_TRAIN_ARGS='data.train=a b.csv" in unread.err


def test_corrections_win_and_leave_held_out_rows_alone(tmp_path):
    from sentiment.data.loading import load

    file, also = tmp_path / "a.csv", tmp_path / "also.jsonl"
    add_reviews(file, 0, 200)
    settings = {"source": "files", "name": "x", "train": str(file)}
    before = load(settings, 1).splits
    corrected, held_out = before.train.texts[3], before.test.texts[0]
    other = "positive" if before.train.labels[3] == "negative" else "negative"
    rows = [{"text": corrected, "label": other}, {"text": held_out, "label": "positive"},
            {"text": "quite new", "label": "negative"}]  # fmt: skip
    also.write_text("\n".join(map(json.dumps, rows)) + "\n")
    after = load({**settings, "also": str(also)}, 1).splits
    assert after.test == before.test
    assert after.val == before.val
    labels = dict(zip(after.train.texts, after.train.labels, strict=True))
    assert labels[corrected] == other
    assert labels["quite new"] == "negative"
    assert held_out not in labels
    assert (after.report["corrections"], after.report["corrections_held_out"]) == (2, 1)
    assert len(after.train) == len(before.train) + 1
    also.write_text('{"text": "x", "label": "mixed"}\n')
    with pytest.raises(Exception, match="labels that the data lacks: mixed"):
        load({**settings, "also": str(also)}, 1)


def test_a_damaged_database_is_said_before_any_work(tmp_path, cli):
    out = tmp_path / "out"
    out.mkdir()
    (out / "feedback.db").write_bytes(b"not a database" * 100)
    answer = cli("retrain", "experiment=quick", "--output-dir", out)
    assert answer.code == 2
    assert "not a feedback database" in answer.err
    assert not (out / "mlflow.db").exists()

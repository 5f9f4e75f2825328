"""The addresses behind the page, asked of a real process without a browser, and its end."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from starlette.testclient import TestClient
from support.reviews import shuffled
from support.waiting import wait_for

from sentiment.labelling.answers import AnswerFile
from sentiment.labelling.app import create_app
from sentiment.labelling.desk import Desk, Item


@pytest.fixture
def begin(tmp_path):
    """Start ``sentiment label`` on a pool of reviews; gives its process and its address."""
    log = tmp_path / "log"
    lines = [json.dumps({"text": text}) for text, _ in shuffled(11)[:60]]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines) + "\n")
    running = []

    def start(*words):
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "sentiment", "label", "--input", "pool.jsonl",
                 "--labels", "negative,positive", "--port", "0", *words],
                stderr=stream, stdout=stream, cwd=tmp_path,
            )  # fmt: skip
        running.append(process)
        found = wait_for(lambda: re.search(r"open (http://\S+)", log.read_text()))
        return process, found[1]

    yield start
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.wait()


def answered(client, label, window="one"):
    item = client.post("/api/next", json={"window": window}).json()["item"]
    words = {"window": window, "id": item["id"], "status": "labelled", "label": label}
    return item, client.post("/api/answer", json=words)


def test_it_is_labelled_ended_and_gone_on_with(begin, tmp_path):
    process, address = begin()
    with httpx.Client(base_url=address, timeout=30, verify=False) as client:
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        for name in re.findall(r'(?:src|href)="/?(label\.\w+)"', page.text):
            assert client.get(f"/{name}").status_code == 200
        assert client.post("/api/answer", json={"window": "one"}).status_code == 422
        first, done = answered(client, "positive")
        assert done.json()["state"]["answered"] == 1
        _, refused = answered(client, "neutral")
        assert refused.status_code == 409
        assert "neutral" in refused.json()["message"]
        answered(client, "negative")
        assert client.post("/api/undo", json={"window": "one"}).json()["undone"]
        assert client.get("/api/state").json()["answered"] == 1
        elsewhere = client.get("/api/state", headers={"host": "elsewhere.example"})
        assert elsewhere.status_code == 400
    process.terminate()
    assert process.wait(30) == 0
    assert "1 answers in labelled.jsonl" in (tmp_path / "log").read_text()
    (row,) = [json.loads(line) for line in (tmp_path / "labelled.jsonl").open()]
    assert (row["text"], row["label"]) == (first["text"], "positive")

    process, address = begin()  # the file is free again, and what it holds is not asked
    with httpx.Client(base_url=address, timeout=30, verify=False) as client:
        assert client.get("/api/state").json()["answered"] == 1
        assert answered(client, "negative")[0]["text"] != first["text"]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "2 answers in labelled.jsonl" in (tmp_path / "log").read_text()


def test_a_page_for_others_tells_nothing_without_its_token(tmp_path):
    items = [Item("good"), Item("bad"), Item("dull")]
    desk = Desk(items, ["negative", "positive"], AnswerFile(tmp_path / "labelled.jsonl"))
    with TestClient(create_app(desk, token="a secret", hosts=["*"])) as client:
        assert client.get("/").status_code == 200
        for wrong in ({}, {"x-token": "another"}, {"x-token": "é".encode()}):
            refused = client.post("/api/next", json={"window": "one"}, headers=wrong)
            assert refused.status_code == 401
            assert "good" not in refused.text
        given = client.post("/api/next", json={"window": "one"}, headers={"x-token": "a secret"})
        assert given.json()["item"]["text"] in {"good", "bad", "dull"}


def test_a_taken_port_is_said_in_one_line(cli, tmp_path):
    (tmp_path / "pool.jsonl").write_text('{"text": "good"}\n')
    words = [
        "--input",
        tmp_path / "pool.jsonl",
        "--output",
        tmp_path / "o.jsonl",
        "--labels",
        "a,b",
    ]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = cli("label", *words, "--port", port)
    assert refused.code == 2
    assert refused.err.splitlines()[-1] == (
        f"error: --host 127.0.0.1 --port {port}: Address already in use; --port 0 takes a free one"
    )

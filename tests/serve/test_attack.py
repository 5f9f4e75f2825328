"""One client must not stop the others: endless heads, slow and chopped bodies, idle crowds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import socket
import time
from pathlib import Path

import httpx
import pytest
from support.web import HTTP

from sentiment.errors import ModelError
from sentiment.patterns import check_patterns
from sentiment.scorer.document import dump_document
from sentiment.store import read_pointer, set_pointer
from serve.guests import Guests

GOOD = "A wonderful film: moving, funny and beautifully acted. I loved every minute."
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = b'{"text": "a good film"}'
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def small(store, server_class):
    """A server with few places."""
    server = server_class(
        store, max_concurrency=2, queue_size=2, max_body_bytes=100_000, min_body_rate=20_000
    )
    yield server.ready()
    server.stop()
    server.forget()


def connect(server) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port))
    client.settimeout(20)
    return client


def exchange(server, sent: bytes) -> bytes:
    """Send as much as is taken; return everything that is answered until the connection closes."""
    with connect(server) as client:
        with contextlib.suppress(OSError):
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                received += data
        return received


HEADS = {
    "one long value": POST + b"X-Long: " + b"a" * 300_000,
    "a long name": POST + b"a" * 300_000 + b": b\r\n\r\n",
    "many fields": POST + b"X-A: b\r\n" * 5_000,
    "a long target": b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "complete, and one field too many": b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n",
    "long trailers": POST
    + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    + b"X-Trailer: a\r\n" * 30_000,
}


@pytest.mark.parametrize("sent", HEADS.values(), ids=HEADS)
def test_a_head_has_limits(small, sent):
    answer = exchange(small, sent)
    # Whoever goes on sending may see a reset instead of the answer.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431"), answer[:200]
    assert small.post("/predict", {"text": GOOD}).status_code == 200


def test_a_refused_head_is_answered_and_counted(small):
    before = small.metric("sentiment_errors_total", error_type="head_too_large")
    with connect(small) as client:
        client.sendall(b"GET /health HTTP/1.1\r\n" + b"X-A: b\r\n" * 102)
        answer = client.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 431")
    assert b'"code":"head_too_large"' in answer
    assert small.metric("sentiment_errors_total", error_type="head_too_large") == before + 1


def test_a_head_within_the_limits_is_taken(small):
    fields = b"".join(b"X-%d: %b\r\n" % (n, b"a" * 600) for n in range(95))
    with connect(small) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
        assert client.recv(10_000).startswith(b"HTTP/1.1 200")


def test_many_small_requests_on_one_connection_are_no_large_head(small):
    with httpx.Client(base_url=small.url, headers={"X-Long": "a" * 5_000}, verify=False) as client:
        assert {client.post("/predict", json={"text": GOOD}).status_code for _ in range(40)} == {
            200
        }


def test_trailers_do_not_become_fields_of_the_head(small):
    answer = exchange(
        small,
        POST
        + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n"
        % (len(BODY), BODY)
        + b"X-Request-ID: from-the-trailer\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"from-the-trailer" not in answer


@pytest.mark.parametrize(
    "chunk", [b"1\r\na\r\n", b"1;" + b"e" * 5_000 + b"\r\na\r\n"], ids=["tiny", "extensions"]
)
def test_the_framing_of_a_body_has_a_limit(small, chunk):
    answer = exchange(
        small, POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * (400_000 // len(chunk))
    )
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert small.post("/predict", {"text": GOOD}).status_code == 200


@pytest.mark.slow
def test_half_sent_bodies_hold_no_places_and_are_dropped_soon(small):
    head = POST + b"Content-Length: 90000\r\n\r\n"
    clients = [connect(small) for _ in range(30)]
    started = time.monotonic()
    try:
        for client in clients:
            client.sendall(head + b'{"text": "')
        answers = [small.post("/predict", {"text": GOOD}).status_code for _ in range(20)]
        assert answers == [200] * 20
        assert clients[-1].recv(100) == b""
    except ConnectionResetError:
        pass
    finally:
        for client in clients:
            client.close()
    assert 4 < time.monotonic() - started < 9


def test_a_body_in_single_bytes_is_read(small):
    with connect(small) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(BODY))
        for byte in BODY:
            client.sendall(bytes([byte]))
        assert client.recv(10_000).startswith(b"HTTP/1.1 200")


def test_a_body_of_several_pieces_waits_for_our_word(small):
    body = b'{"texts": [%b]}' % b",".join([b'"%b"' % (b"a good film " * 100)] * 70)
    with connect(small) as client:
        head = POST.replace(b"/predict", b"/predict/batch")
        client.sendall(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert client.recv(1_000).startswith(b"HTTP/1.1 100")
        client.sendall(body)
        assert client.recv(10_000).startswith(b"HTTP/1.1 200")


def test_what_came_whole_is_answered_before_the_rest_is_refused(small):
    answer = exchange(
        small, POST + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY) + b"!\r\n\r\n"
    )
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400"]


def test_the_oldest_idle_guest_goes_first():
    guests = Guests()
    for number in range(4):
        guests.enter(number, "ab"[number % 2])
    assert guests.oldest_idle() == 0
    assert guests.oldest_idle("b") == 1
    guests.busy(0)
    guests.busy(1)
    assert (guests.oldest_idle(), guests.oldest_idle("b")) == (2, 3)
    guests.idle(0)
    guests.leave(2)
    assert [guests.oldest_idle("a"), guests.oldest_idle("b"), guests.count("a")] == [0, 3, 1]
    guests.leave(0)
    assert (guests.oldest_idle("a"), guests.count("a")) == (None, 0)


def test_one_address_has_its_own_limit(store, serve):
    server = serve(store, max_connections_per_client=5).ready()
    crowd = [connect(server) for _ in range(20)]
    other = socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.2", 0))
    assert server.get("/health").status_code == 200
    with other:
        other.settimeout(20)
        other.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert other.recv(1_000).startswith(b"HTTP/1.1 200")
    for client in crowd:
        client.close()


@pytest.mark.parametrize(
    "body",
    [
        b'{"text":"good","x":[' + b"1," * 300_000 + b"1]}",
        b'{"text":"good","x":' + b"[" * 600_000,
        b'{"text":"good","x":[' + b'"",' * 100_000 + b"1]}",
        b'{"text":"good"' + b',"text":"good"' * 50_000 + b"}",
    ],
)
def test_json_that_nobody_reads_is_refused_before_it_is_parsed(server, body):
    answer = HTTP.post(server.url + "/predict", content=body, headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"
    assert "around the texts" in answer.json()["message"]


@pytest.mark.parametrize(
    "text",
    ["plain " * 15_000, 'a "quote" and \\ a slash, ' * 3_000, "\\" * 70_001, "très " * 15_000],
)
def test_large_bodies_of_any_text_are_read(server, text):
    for ascii_only in (True, False):
        body = json.dumps({"texts": [text] * 3}, ensure_ascii=ascii_only).encode()
        answer = HTTP.post(server.url + "/predict/batch", content=body, headers=JSON)
        assert answer.status_code == 200, answer.text[:200]
    for cut in (body[:-3] + b"\\", body[:-3], body[:-1]):
        answer = HTTP.post(server.url + "/predict/batch", content=cut, headers=JSON)
        assert answer.json()["code"] == "invalid_json"
    answer = server.post("/predict/batch", {"texts": ["good", text * 20]})
    assert answer.json()["code"] == "invalid_input"


LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNK = b"\r\n%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
OLD = POST.replace(b"HTTP/1.1\r\nHost: x", b"HTTP/1.0")
FRAMINGS = {
    "old, without a host": (OLD + LENGTH + b"\r\n" + BODY, b"200"),
    "trailers that are fields": (
        POST + b"Transfer-Encoding: chunked\r\n" + CHUNK + b"Host: evil\r\n\r\n",
        b"200",
    ),
    "two lengths": (POST + LENGTH * 2 + b"\r\n" + BODY, b"400"),
    "a length and chunks": (
        POST + LENGTH + b"Transfer-Encoding: chunked\r\n" + CHUNK + b"\r\n",
        b"400",
    ),
    "a coding before chunks": (
        POST + b"Transfer-Encoding: gzip, chunked\r\n" + CHUNK + b"\r\n",
        b"400",
    ),
    "a coding in a field of its own": (
        POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n" + CHUNK + b"\r\n",
        b"400",
    ),
    "chunks by another case": (POST + b"Transfer-Encoding: Chunked\r\n" + CHUNK + b"\r\n", b"200"),
    "a length below nothing": (POST + b"Content-Length: -1\r\n\r\n", b"400"),
    "a length with a sign": (POST + b"Content-Length: +23\r\n\r\n" + BODY, b"400"),
    "line feeds alone": (b"GET /health HTTP/1.1\nHost: x\n\n", b"400"),
    "two hosts": (POST + b"host: y\r\n" + LENGTH + b"\r\n" + BODY, b"400"),
    "no host": (POST.replace(b"Host: x\r\n", b"") + LENGTH + b"\r\n" + BODY, b"400"),
    "a host with a blank": (b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", b"400"),
    "a host with a path": (b"GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", b"400"),
    "an address for a host": (b"GET /health HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"200"),
    "no version": (b"GET /health\r\n\r\n", b"400"),
    "an id of nothing": (b"GET /predictions/%00%ff HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
}


@pytest.mark.parametrize(("sent", "status"), FRAMINGS.values(), ids=FRAMINGS)
def test_requests_that_two_could_read_in_two_ways(small, sent, status):
    with socket.create_connection(("127.0.0.1", small.port), timeout=30) as client:
        client.sendall(sent)
        assert client.recv(65_536).split(None, 2)[1] == status
    assert small.get("/health").status_code == 200


def test_what_came_before_a_request_without_host_is_answered(small):
    with connect(small) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\n\r\n")
        answer = b""
        while piece := client.recv(10_000):
            answer += piece
    assert [piece[:3] for piece in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]
    assert b"one field Host" in answer


@pytest.mark.parametrize(
    ("pattern", "slow"),
    [
        (r"(\w{1,5})\w*", False),  # that of a shipped config
        (r"\w+(?:['-]\w+)*|[^\w\s]", False),
        (r"[a-z]+ing", True),  # the square of the length
        (r"(?:\w|\w)+!", True),  # no end at all
    ],
)
def test_a_pattern_that_a_text_makes_slow_is_told(pattern, slow):
    if not slow:
        check_patterns([pattern, "word"])
        return
    with pytest.raises(ModelError, match="a stranger's text could stop the service"):
        check_patterns([pattern])


def test_a_model_with_a_slow_pattern_never_serves(serve, own_store):
    first, second = (read_pointer(own_store, name)["digest"] for name in ("champion", "latest"))
    server = serve(own_store, "--reload-model", 0.2).ready()
    digest = repatterned(own_store / "models" / second / "scorer", r"[a-z]+ing")
    set_pointer(own_store, "champion", digest, name="reviews", version=2, source="promote")
    server.wait_for(lambda: server.metric("sentiment_model_swaps_total", result="refused") == 1)
    assert server.post("/predict", {"text": "a" * 90_000}).json()["model_version"] == "1"
    digest = repatterned(own_store / "models" / first / "scorer", r"\w\w+")
    set_pointer(own_store, "champion", digest, name="reviews", version=3, source="promote")
    server.wait_for(
        lambda: server.post("/predict", {"text": "Good"}).json()["model_version"] == "3"
    )


def repatterned(directory: Path, pattern: str) -> str:
    """Store a model with another pattern, as somebody could who knows how; return its digest."""
    document = json.loads((directory / "scorer.json").read_text())
    del document["checksum"]
    document["golden"] = []
    for view in document["views"]:
        view["text"]["token_pattern"] = pattern
    document["checksum"] = hashlib.sha256(dump_document(document)).hexdigest()
    raw = dump_document(document)
    digest = hashlib.sha256(raw).hexdigest()
    copy = directory.parents[1] / digest / "scorer"
    shutil.copytree(directory, copy)
    (copy / "scorer.json").write_bytes(raw)
    return digest

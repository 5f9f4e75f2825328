"""Under pressure: limits, slow clients, time-outs, leaving, and workers that die."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time

import httpx
import pytest
from support.web import HTTP

GOOD = "A wonderful film: moving, funny and beautifully acted. I loved every minute."


@pytest.fixture(scope="module")
def tight(store, server_class):
    """A server with small limits."""
    server = server_class(
        store,
        max_body_bytes=20_000,
        max_text_length=1_000,
        max_batch_size=5,
        header_timeout=0.6,
        body_timeout=0.9,
        keep_alive=0.5,
        max_connections=20,
    )
    yield server.ready()
    server.stop(signal.SIGKILL)
    server.forget()


def connect(server) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port))
    client.settimeout(20)
    return client


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes or resets the connection."""
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def test_limits_are_settings(tight):
    assert tight.post("/predict", {"text": "a" * 1_000}).status_code == 200
    assert tight.post("/predict", {"text": "a" * 1_001}).json()["fields"][0]["field"] == "text"
    assert tight.post("/predict/batch", {"texts": ["a"] * 6}).status_code == 422
    assert tight.post("/invocations", {"inputs": ["a"] * 6}).status_code == 422
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a" * 1_001]}
    assert tight.post("/v2/models/reviews/infer", {"inputs": [tensor]}).status_code == 422
    schemas = tight.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["PredictRequest"]["properties"]["text"]["maxLength"] == 1_000


def test_a_large_body_is_refused_and_the_connection_stays_in_step(tight):
    with httpx.Client(base_url=tight.url, verify=False) as client:
        for _ in range(3):
            large = client.post(
                "/predict", content=b" " * 500_000, headers={"content-type": "application/json"}
            )
            assert large.status_code == 413
            assert client.post("/predict", json={"text": GOOD}).status_code == 200

    def chunks():
        for _ in range(40):
            yield b" " * 1_000

    chunked = HTTP.post(
        f"{tight.url}/predict", content=chunks(), headers={"content-type": "application/json"}
    )
    assert chunked.status_code == 413


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /predict HTTP/1.1\r\nHost: x\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100\r\n\r\n{"text": ',
    ],
    ids=["connected and silent", "half a head", "half a body"],
)
def test_half_open_clients_are_dropped(tight, sent):
    before = tight.metric("sentiment_rejected_total", reason="slow_client")
    with connect(tight) as client:
        client.sendall(sent)
        assert read_all(client) == b""
    tight.wait_for(lambda: tight.metric("sentiment_rejected_total", reason="slow_client") > before)


def test_a_client_that_sends_byte_by_byte_is_dropped(tight):
    started = time.monotonic()
    with connect(tight) as client, pytest.raises(OSError):  # noqa: PT012
        for byte in b"GET /health HTTP/1.1\r\nHost: a-very-long-name-that-takes-its-time" * 10:
            client.sendall(bytes([byte]))
            time.sleep(0.05)
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_a_pause_of_the_machine_is_not_the_clients_fault(serve, store):
    server = serve(store, header_timeout=2).ready()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x")
        time.sleep(0.2)
        os.kill(server.process.pid, signal.SIGSTOP)
        time.sleep(3.5)
        os.kill(server.process.pid, signal.SIGCONT)
        time.sleep(0.5)  # it looks at its connections
        client.sendall(b"\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert server.metric("sentiment_rejected_total", reason="slow_client") == 0


def test_an_idle_connection_is_closed(tight):
    with connect(tight) as client:
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'{"status":"alive"}' in read_all(client)


def test_what_is_not_http_is_refused_in_the_same_shape(tight):
    with connect(tight) as client:
        client.sendall(b"\x16\x03\x01 this is TLS to a plain port\r\n\r\n")
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"code":"bad_request"' in answer


def test_with_too_many_connections_the_oldest_idle_ones_make_room(tight):
    before = tight.metric("sentiment_rejected_total", reason="connections")
    clients = [connect(tight) for _ in range(40)]
    try:
        for _ in range(10):
            assert tight.get("/health").status_code == 200
        closed = 0
        for client in clients:
            client.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                closed += client.recv(1000) == b""
    finally:
        for client in clients:
            client.close()
    assert closed >= 20
    assert tight.metric("sentiment_rejected_total", reason="connections") >= before + 20


def test_pipelined_requests_are_answered_in_order(server):
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-ID: n%d\r\n\r\n"
    with connect(server) as client:
        client.sendall(
            b"".join(request % number for number in range(20))
            + b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answers = read_all(client)
    positions = [answers.index(b"x-request-id: n%d\r" % number) for number in range(20)]
    assert positions == sorted(positions)


@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_an_offer_of_another_protocol_is_declined(server, offer, framing):
    body = b'{"text": "a wonderful film"}'
    field = b"Content-Length: %d" % len(body)
    if framing == "chunks":
        field = b"Transfer-Encoding: chunked"
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:], b""))
    request = (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Connection: Upgrade\r\nUpgrade: %b\r\n%b\r\n\r\n%b"
    ) % (offer, field, body)
    bare = request.replace(b"POST /predict", b"GET /version").replace(field + b"\r\n", b"")
    bare = bare.removesuffix(body)
    last = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head = len(request) - len(body)
    for pieces in (
        [request + request + last],
        [request[:-9], request[-9:] + last],
        [request[:head], request[head:] + bare + request, last],
        [bytes([byte]) for byte in request + last],
    ):
        with connect(server) as client:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.001 if len(piece) == 1 else 0.05)
            answers = read_all(client)
        sent = b"".join(pieces)
        assert answers.count(b'"confidence"') == sent.count(b"POST")
        assert answers.count(b"HTTP/1.1 200") == sent.count(b" HTTP/1.1")


def test_an_offer_with_an_empty_body_is_answered(server):
    for field in (b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
        with connect(server) as client:
            client.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + field
                + b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )  # fmt: skip
            answers = read_all(client)
        assert (answers.count(b"HTTP/1.1 400"), answers.count(b"HTTP/1.1 200")) == (1, 1)


def test_head_is_get_without_a_body(server):
    answer = httpx.head(f"{server.url}/health")
    assert answer.status_code == 200
    assert answer.content == b""


def test_a_full_worker_refuses_with_retry_after_and_goes_on(serve, store):
    server = serve(store, max_concurrency=2, queue_size=1).ready()
    texts = [GOOD * 200] * 300
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(server.post("/predict/batch", {"texts": texts}))
        )
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    by_status = {status: [a for a in answers if a.status_code == status] for status in (200, 503)}
    assert len(answers) == len(by_status[200]) + len(by_status[503]) == 12
    assert by_status[200]
    assert by_status[503]
    for answer in by_status[503]:
        assert answer.json()["code"] == "overloaded"
        assert int(answer.headers["retry-after"]) >= 1
    assert server.metric("sentiment_rejected_total", reason="overloaded") == len(by_status[503])
    assert server.post("/predict", {"text": GOOD}).status_code == 200


def test_what_takes_too_long_is_given_up(serve, store):
    server = serve(store, request_timeout=0.05).ready()
    answer = server.post("/predict/batch", {"texts": [GOOD * 100] * 1000})
    assert answer.status_code == 504
    assert answer.json()["code"] == "timeout"
    assert server.metric("sentiment_errors_total", error_type="timeout") == 1


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_sigterm_drains_and_no_accepted_request_is_lost(serve, store, load, workers):
    server = serve(store, "--workers", workers, drain_seconds=300).ready()
    server.wait_for(lambda: server.metric("sentiment_workers_ready") == workers)
    with load(server, 6) as kept, load(server, 6, keep_alive=False) as fresh:
        server.wait_for(lambda: len(kept.answers) > 50 and len(fresh.answers) > 50)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: server.get("/health").status_code == 503)
        draining = server.get("/health/ready")
        assert draining.json()["message"] == "shutting down"
        assert draining.headers["connection"] == "close"
        assert server.get("/health/live").status_code == 200
        assert server.post("/predict", {"text": GOOD}).status_code == 200
        server.process.send_signal(signal.SIGTERM)  # once more: enough of draining
        assert server.process.wait(60) == 0
    for clients in (kept, fresh):
        assert not clients.lost
        assert {answer.status_code for answer in clients.answers} == {200}
    assert "Traceback" not in server.log


def test_ctrl_c_leaves_at_once_with_130(serve, store):
    server = serve(store, drain_seconds=60).ready()
    assert server.stop(signal.SIGINT) == 130
    assert "Traceback" not in server.log


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_ctrl_c_waits_for_nobody(serve, store, workers):
    server = serve(store, "--workers", workers).ready()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: 50\r\n\r\n{{".encode())  # half a body
        server.wait_for(lambda: server.metric("sentiment_http_requests_in_flight") >= 1)
        for _ in range(2):
            os.killpg(server.process.pid, signal.SIGINT)
            time.sleep(0.3)
        assert server.process.wait(20) == 130
    assert "Traceback" not in server.log


def test_a_request_in_flight_at_sigterm_is_answered(serve, store):
    server = serve(store).ready()
    body = b'{"text": "a wonderful film"}'
    head = (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n"
    )
    with connect(server) as client:
        client.sendall(head % len(body) + body[:5])
        server.wait_for(lambda: server.metric("sentiment_http_requests_in_flight") > 1)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: "leaving" in server.log)
        client.sendall(body[5:])
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
    assert server.process.wait(60) == 0


@pytest.mark.slow
def test_workers_count_together_and_a_killed_one_is_replaced(
    serve, store, load, tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = serve(store, "--workers", 2).ready()
    server.wait_for(lambda: server.metric("sentiment_workers_ready") == 2)
    with load(server, 6, keep_alive=False) as clients:
        server.wait_for(lambda: len(clients.answers) > 100)
    assert not clients.lost
    batches = sum("predictions" in answer.json() for answer in clients.answers)
    texts = len(clients.answers) - batches + 16 * batches
    counted = sum(
        server.metric("sentiment_predictions_total", sentiment=label)
        for label in ("negative", "positive")
    )
    assert counted == texts
    assert server.metric("sentiment_prediction_latency_seconds_count") == len(clients.answers)
    assert server.metric("sentiment_prediction_confidence_count") == texts

    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    server.wait_for(lambda: len(set(server.workers()) - set(before)) == 1)
    server.wait_for(lambda: server.metric("sentiment_workers_ready") == 2)
    assert server.metric("sentiment_workers") == 2
    assert server.metric("sentiment_worker_restarts_total") == 1
    # what the dead worker counted stays counted
    assert counted == sum(
        server.metric("sentiment_predictions_total", sentiment=label)
        for label in ("negative", "positive")
    )
    assert list(tmp_path.glob("sentiment-metrics-*"))
    assert server.stop() == 0
    assert not list(tmp_path.glob("sentiment-metrics-*"))
    assert "Traceback" not in server.log


@pytest.mark.slow
def test_killing_a_worker_under_load_loses_only_what_it_held(serve, store, load):
    server = serve(store, "--workers", 2).ready()
    server.wait_for(lambda: server.metric("sentiment_workers_ready") == 2)
    with load(server, 8, keep_alive=False) as clients:
        server.wait_for(lambda: len(clients.answers) > 100)
        os.kill(server.workers()[0], signal.SIGKILL)
        seen = len(clients.answers)
        server.wait_for(lambda: len(clients.answers) > seen + 200)
    assert {answer.status_code for answer in clients.answers} == {200}
    assert not clients.refused
    assert len(clients.lost) <= 8  # at most the one request of each client that it was working on
    server.wait_for(lambda: server.metric("sentiment_workers") == 2)


def test_sighup_replaces_every_worker_and_loses_nothing(serve, store, load):
    server = serve(store, "--workers", 2).ready()
    server.wait_for(lambda: server.metric("sentiment_workers_ready") == 2)
    before = set(server.workers())
    with load(server, 4, keep_alive=False) as clients:
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(lambda: not before & set(server.workers()))
        time.sleep(0.3)
    assert clients.answers
    assert not clients.lost
    assert not clients.refused
    assert {answer.status_code for answer in clients.answers} == {200}
    assert len(server.workers()) == 2
    assert server.metric("sentiment_worker_restarts_total") == 0
    assert server.stop() == 0


@pytest.mark.slow
def test_workers_follow_a_parent_that_dies(serve, store):
    server = serve(store, "--workers", 2).ready()
    workers = server.workers()
    os.kill(server.process.pid, signal.SIGKILL)

    def gone(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    server.process.wait()
    server.wait_for(lambda: all(map(gone, workers)))


def test_a_request_leaves_nothing_for_the_garbage_collector(store):
    """Cycles would wait for a collection, and all requests then for its end."""
    import asyncio
    import gc

    from prometheus_client import CollectorRegistry

    from serve.app import create_app
    from serve.model import ModelHolder
    from serve.settings import load_settings

    holder = ModelHolder(store)
    app = create_app(holder, CollectorRegistry(), load_settings(access_log=False, output_dir=store))
    holder.load()

    async def ask() -> int:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "headers": [(b"content-type", b"application/json")],
        }
        statuses = []

        async def receive():
            return {"type": "http.request", "body": b'{"text": "A fine film."}'}

        async def send(message):
            statuses.append(message.get("status", 200))

        await app(dict(scope), receive, send)
        gc.collect()
        for _ in range(100):
            await app(dict(scope), receive, send)
        assert set(statuses) == {200}
        return gc.collect()

    gc.disable()
    try:
        assert asyncio.run(ask()) < 100, "less than one object for each request"
    finally:
        gc.enable()

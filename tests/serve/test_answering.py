"""How answers are scored together, and how they are written."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import time
from dataclasses import replace

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from serve.model import ModelHolder
from serve.problems import ApiError
from serve.process.cycle import Cycle
from serve.scoring import Scoring

TEXTS = [
    f"A film of {word} and wonder, number {number}, that I loved and hated."
    for number, word in enumerate(
        ["love", "war", "hate", "time", "fun", "fear", "hope", "loss", "joy", "rain"]
    )
]


@pytest.fixture(scope="module")
def loaded(store):
    holder = ModelHolder(store, "champion", 0.0)
    holder.load()
    assert holder.current is not None
    return holder.current


class Watched:
    """A scorer that notes how many texts it is given at a time, and fails for some."""

    def __init__(self, scorer, failing: str = "") -> None:
        self.scorer = scorer
        self.failing = failing
        self.calls: list[int] = []

    def predict_each(self, texts):
        self.calls.append(len(texts))
        if self.failing in texts:
            raise ArithmeticError(self.failing)
        return self.scorer.predict_each(texts)

    def predict_one(self, text):
        self.calls.append(1)
        if self.failing == text:
            raise ArithmeticError(text)
        return self.scorer.predict_one(text)


def ask(requests, *, alone: bool = False):
    """Ask for (model, text, seconds left) of each in one turn of a loop."""

    async def run():
        scoring = Scoring(1, 4)
        try:
            return await asyncio.gather(
                *(
                    scoring.predict_one(model, text, time.perf_counter() + left, alone=alone)
                    for model, text, left in requests
                ),
                return_exceptions=True,
            )
        finally:
            scoring.close()

    return asyncio.run(run())


def test_texts_of_one_turn_are_scored_together_and_answered_as_alone(loaded):
    watched = Watched(loaded.scorer)
    model = replace(loaded, scorer=watched)
    found = ask([(model, text, 9.0) for text in TEXTS])
    assert watched.calls == [len(TEXTS)]
    assert found == [loaded.scorer.predict_one(text) for text in TEXTS]


def test_a_request_without_company_waits_for_nobody(loaded):
    watched = Watched(loaded.scorer)
    model = replace(loaded, scorer=watched)
    found = ask([(model, text, 9.0) for text in TEXTS], alone=True)
    assert watched.calls == [1] * len(TEXTS)
    assert found == [loaded.scorer.predict_one(text) for text in TEXTS]


def test_a_long_queue_is_scored_in_parts(loaded):
    watched = Watched(loaded.scorer)
    model = replace(loaded, scorer=watched)
    texts = TEXTS * 9 + [text * 100 for text in TEXTS]
    found = ask([(model, text, 9.0) for text in texts])
    assert found == [loaded.scorer.predict_one(text) for text in texts]
    assert sum(watched.calls) == len(texts)
    assert max(watched.calls) == 32
    assert watched.calls[-1] < 10  # fewer of the longer


def test_each_model_answers_those_that_took_it(loaded):
    watched = [Watched(loaded.scorer), Watched(loaded.scorer)]
    models = [replace(loaded, scorer=scorer) for scorer in watched]
    ask([(models[number // 5], text, 9.0) for number, text in enumerate(TEXTS)])
    assert [scorer.calls for scorer in watched] == [[5], [5]]


def test_a_deadline_and_a_failure_are_of_one_request(loaded):
    watched = Watched(loaded.scorer, failing=TEXTS[3])
    model = replace(loaded, scorer=watched)
    left = [-1.0 if number == 1 else 9.0 for number in range(len(TEXTS))]
    found = ask([(model, text, left[number]) for number, text in enumerate(TEXTS)])
    assert isinstance(found[1], ApiError)
    assert found[1].code == "timeout"
    assert isinstance(found[3], ArithmeticError)
    good = [number for number in range(len(TEXTS)) if number not in (1, 3)]
    assert [found[number] for number in good] == [
        loaded.scorer.predict_one(TEXTS[number]) for number in good
    ]


def test_requests_at_once_get_the_answers_of_one_after_the_other(serve, store):
    server = serve(store).ready()
    alone = [server.post("/predict", {"text": text}).json() for text in TEXTS]
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            for _ in range(40)
        ]
        for number, client in enumerate(clients):
            body = json.dumps({"text": TEXTS[number % len(TEXTS)]}).encode()
            client.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
        for number, client in enumerate(clients):
            with client.makefile("rb") as file:
                head, _, body = file.read().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            answer, expected = json.loads(body), alone[number % len(TEXTS)]
            assert answer["text"] == expected["text"]
            assert answer["probabilities"] == expected["probabilities"]


class Socket:
    """What a cycle writes to."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True


def answer(*messages, method: str = "GET", keep_alive: bool = True) -> Socket:
    """Send messages through uvicorn's request cycle as ours writes it."""
    transport = Socket()
    finished = []

    async def run() -> None:
        logger = logging.getLogger("uvicorn.error")
        cycle = Cycle(
            scope={"method": method}, transport=transport, flow=FlowControl(transport),
            logger=logger, access_logger=logger, access_log=False, default_headers=[],
            message_event=asyncio.Event(), expect_100_continue=False, keep_alive=keep_alive,
            on_response=lambda: finished.append(True),
        )  # fmt: skip
        for message in messages:
            await cycle.send(message)
        assert cycle.response_complete == bool(finished)

    asyncio.run(run())
    return transport


def start(*headers, status: int = 200) -> dict:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, more: bool = False) -> dict:
    return {"type": "http.response.body", "body": data, "more_body": more}


def test_an_answer_is_one_write():
    sent = answer(start((b"content-length", b"5"), (b"x-a", b"b")), body(b"hello"))
    assert sent.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: b\r\n\r\nhello"]
    assert not sent.closed


def test_an_answer_in_pieces_goes_out_in_pieces():
    sent = answer(start(), body(b"hello", more=True), body(b"", more=True), body(b"you"))
    assert b"".join(sent.writes) == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"
    )
    assert sent.writes[0].endswith(b"hello\r\n")  # not kept until the end


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_without_a_body(method):
    status = 200 if method == "HEAD" else 204
    headers = [(b"content-length", b"5")] if method == "HEAD" else []
    sent = answer(start(*headers, status=status), body(b""), method=method)
    (written,) = sent.writes
    assert written.endswith(b"\r\n\r\n")
    assert b"transfer-encoding" not in written


def test_a_connection_that_ends_says_so():
    length = (b"content-length", b"0")
    sent = answer(start(length), body(b""), keep_alive=False)
    assert sent.closed
    assert sent.writes[0].count(b"connection: close") == 1
    sent = answer(start(length, (b"connection", b"close")), body(b""))
    assert sent.closed
    assert sent.writes[0].count(b"connection: close") == 1


@pytest.mark.parametrize(
    "messages",
    [
        [body(b"x")],
        [start(), start()],
        [start((b"content-length", b"1")), body(b"xx")],
        [start((b"content-length", b"3")), body(b"xx")],
        [start((b"x-a", b"b\r\nset-cookie: c"))],
        [start((b"x a", b"b"))],
        [start((b"content-length", b"1")), body(b"x"), body(b"x")],
    ],
)
def test_what_would_break_the_connection_is_never_written(messages):
    with pytest.raises(RuntimeError):
        answer(*messages)

"""``/feedback``: the true label of a prediction that was given earlier, by any replica.

A prediction's id is a signed note of what was said (model, label, confidence, time and a
fingerprint of the text), so nothing is stored until somebody answers. One thread of each worker
writes the answers, many in one transaction.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import itertools
import logging
import os
import queue
import sqlite3
import struct
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter
from pydantic import ConfigDict, Field
from pydantic_core import to_json

from sentiment.feedback import Answer, Feedback
from serve.endpoints import add_endpoint
from serve.exchange import Exchange, Reply
from serve.predict import parse
from serve.problems import ApiError, overloaded
from serve.schemas import REVIEW, Model

if TYPE_CHECKING:
    from serve.model import LoadedModel
    from serve.service import Service

logger = logging.getLogger("sentiment.serve")

VERSION = 1
# Version, digest (the first half), confidence, time (ms), fingerprint of the text, nonce.
_CLAIM = struct.Struct(">B16sfQQQ")
_MAC_BYTES = 16
_FOR_URLS = bytes.maketrans(b"+/", b"-_")
MAX_WAITING = 1_000
_AT_ONCE = 256
RESULTS = ("recorded", "duplicate", "refused")

Outcome = asyncio.Future[bool]
_Work = tuple[Answer, Outcome, asyncio.AbstractEventLoop]


class Claim(NamedTuple):
    """What a prediction's id says.

    Attributes
    ----------
    digest : str
        The first half of the model's digest, hexadecimal.
    label : str
    confidence : float
    time : float
        Unix time.
    fingerprint : int
        Of the text.
    """

    digest: str
    label: str
    confidence: float
    time: float
    fingerprint: int


class Signer:
    """Makes and reads prediction ids.

    Parameters
    ----------
    key : bytes
        The same for every replica.
    """

    def __init__(self, key: bytes) -> None:
        self._mac = hmac.new(key, digestmod="sha256")
        # No two processes and no two predictions share a number.
        self._numbers = itertools.count(int.from_bytes(os.urandom(8)) & ~0xFFFFFFFF)
        self._digests: dict[str, bytes] = {}

    def sign(self, digest: str, label: str, confidence: float, text: str) -> str:
        """Return the id of a prediction."""
        half = self._digests.get(digest)
        if half is None:
            half = self._digests[digest] = bytes.fromhex(digest)[:16]
        claim = _CLAIM.pack(
            VERSION,
            half,
            confidence,
            time.time_ns() // 1_000_000,
            fingerprint(text),
            next(self._numbers) & 0xFFFFFFFFFFFFFFFF,
        )
        claim += label.encode()
        mac = self._mac.copy()
        mac.update(claim)
        signed = claim + mac.digest()[:_MAC_BYTES]
        return _encode(signed).decode("ascii")

    def read(self, prediction_id: str) -> Claim | None:
        """Return what an id says, or None when it is not one of ours."""
        try:
            padded = prediction_id.encode("ascii") + b"=" * (-len(prediction_id) % 4)
            signed = base64.b64decode(padded, altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            return None
        if len(signed) < _CLAIM.size + _MAC_BYTES:
            return None
        # The unused bits of the last character could otherwise make a second id of the same.
        if _encode(signed) != prediction_id.encode("ascii"):
            return None
        claim, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
        expected = self._mac.copy()
        expected.update(claim)
        if not hmac.compare_digest(mac, expected.digest()[:_MAC_BYTES]):
            return None
        version, half, confidence, milliseconds, text, _ = _CLAIM.unpack_from(claim)
        if version != VERSION:
            return None
        label = claim[_CLAIM.size :].decode()
        return Claim(half.hex(), label, confidence, milliseconds / 1000, text)


def _encode(data: bytes) -> bytes:
    """Return base64 for URLs without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_FOR_URLS, b"=")


def fingerprint(text: str) -> int:
    """Return the length and checksum of a text: catches a text cut short or mixed up.

    It guards against mistakes; the label that comes with the text has to be believed anyhow.
    """
    return (len(text) & 0xFFFFFFFF) << 32 | zlib.crc32(text.encode("utf-8", "surrogatepass"))


class FeedbackDesk:
    """Checks answers and has them written.

    Parameters
    ----------
    signer : Signer
    path : Path
        The feedback database.
    registry : CollectorRegistry
        Where the counter is registered.
    """

    def __init__(self, signer: Signer, path: Path, registry: CollectorRegistry) -> None:
        self.signer = signer
        self.path = path
        self.counted = Counter(
            "sentiment_feedback_total",
            "Answers about predictions: recorded, given before, or refused.",
            ["result"],
            registry=registry,
        )
        for result in RESULTS:
            self.counted.labels(result)
        self._labels: dict[str, tuple[str, ...]] = {}
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def swapped(self, model: LoadedModel) -> None:
        """Remember the labels of a model, for answers that come after its successor."""
        self._labels[model.digest[:32]] = model.labels

    async def record(
        self, prediction_id: str, label: str, text: str | None, known: tuple[str, ...]
    ) -> tuple[bool, Claim]:
        """Record an answer; return whether it is the first, and what it answers.

        Parameters
        ----------
        prediction_id : str
        label : str
            The true label.
        text : str or None
        known : tuple of str
            The labels of the current model, for a prediction of a model not seen here.

        Raises
        ------
        ApiError
            ``invalid_input`` for an id that is not ours, an unknown label or another text;
            ``overloaded`` when the writer cannot keep up; ``feedback_unavailable``.
        """
        claim = self.signer.read(prediction_id)
        if claim is None:
            raise self._refuse("prediction_id", "is no id that this service gave")
        labels = self._labels.get(claim.digest, known)
        if label not in labels:
            raise self._refuse("label", f"must be one of {', '.join(labels)}")
        if text is not None and fingerprint(text) != claim.fingerprint:
            raise self._refuse("text", "is not the text that was classified (send all of it)")
        if self._queue.qsize() >= MAX_WAITING:
            raise overloaded()
        answer = Answer(
            prediction_id,
            claim.digest,
            claim.label,
            claim.confidence,
            claim.time,
            label,
            text,
            time.time(),
        )
        loop = asyncio.get_running_loop()
        outcome: Outcome = loop.create_future()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="feedback", daemon=True)
            self._thread.start()
        self._queue.put((answer, outcome, loop))
        first = await outcome
        self.counted.labels("recorded" if first else "duplicate").inc()
        return first, claim

    def _refuse(self, field: str, message: str) -> ApiError:
        self.counted.labels("refused").inc()
        return ApiError(
            "invalid_input", f"{field}: {message}", [{"field": field, "message": message}]
        )

    def _write(self) -> None:
        """Write answers until None comes; runs in a thread of its own."""
        store: Feedback | None = None
        while True:
            work = self._queue.get()
            batch = []
            while work is not None:
                batch.append(work)
                if len(batch) >= _AT_ONCE or self._queue.empty():
                    break
                work = self._queue.get()
            if batch:
                try:
                    store = store or Feedback(self.path)
                    results: list[Any] = list(store.add([answer for answer, _, _ in batch]))
                except (sqlite3.Error, OSError) as error:
                    logger.error("feedback cannot be written: %s", error)  # noqa: TRY400
                    results = [ApiError("feedback_unavailable")] * len(batch)
                for (_, outcome, loop), result in zip(batch, results, strict=True):
                    loop.call_soon_threadsafe(_settle, outcome, result)
            if work is None:
                break
        if store is not None:
            store.close()

    def close(self) -> None:
        """Write what waits and end."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=5.0)
            self._thread = None


def _settle(outcome: Outcome, result: Any) -> None:
    if outcome.done():  # whoever asked has gone
        return
    if isinstance(result, Exception):
        outcome.set_exception(result)
    else:
        outcome.set_result(result)


class FeedbackResponse(Model):
    """What became of an answer."""

    status: Annotated[
        Literal["recorded", "duplicate"],
        Field(description="duplicate: the prediction had been answered before; the first counts."),
    ]
    predicted: Annotated[str, Field(description="The label that was given.")]
    correct: bool


def add_routes(app: Service) -> None:
    """Add ``/feedback``."""
    max_text = app.settings.max_text_length

    class FeedbackRequest(Model):
        """The true label of a prediction."""

        model_config = ConfigDict(
            json_schema_extra={
                "examples": [{"prediction_id": "AcK0…", "label": "negative", "text": REVIEW}]
            }
        )
        prediction_id: Annotated[
            str, Field(max_length=2000, description="From the answer to the prediction.")
        ]
        label: Annotated[str, Field(max_length=1000, description="The true label.")]
        text: Annotated[
            str | None,
            Field(
                max_length=max_text,
                description="The text, if it may be kept to train on; as it was classified.",
            ),
        ] = None

    async def feedback(exchange: Exchange) -> Reply:
        """Record the true label of a prediction.

        The first answer to a prediction counts. A text is stored only when it is sent along.
        """
        request: Any = parse(FeedbackRequest, await exchange.json_body())
        model = app.model.current
        first, claim = await app.feedback.record(
            request.prediction_id,
            request.label,
            request.text,
            model.labels if model is not None else (),
        )
        document = {
            "status": "recorded" if first else "duplicate",
            "predicted": claim.label,
            "correct": claim.label == request.label,
        }
        return Reply(to_json(document))

    add_endpoint(
        app, "POST", "/feedback", feedback, request=FeedbackRequest, response=FeedbackResponse,
        errors=["feedback_unavailable"], limited=True, tags=["feedback"],
        summary="Tell the true label of a prediction",
    )  # fmt: skip

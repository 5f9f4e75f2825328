"""The true label of a prediction that was given earlier, by any replica: checked and written.

One thread of each worker writes the answers, many in one transaction.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from sentiment.errors import SentimentError
from sentiment.feedback import Answer, Feedback, FeedbackError, Place
from sentiment.store import labels_of
from serve.claim import Claim, Signer, fingerprint
from serve.problems import ApiError, overloaded

if TYPE_CHECKING:
    from serve.model import LoadedModel

logger = logging.getLogger("sentiment.serve")

MAX_WAITING = 1_000
_AT_ONCE = 256
RESULTS = ("recorded", "duplicate", "refused")

_Written = asyncio.Future[bool]
_Work = tuple[Answer, _Written, asyncio.AbstractEventLoop]


class FeedbackDesk:
    """Checks answers and has them written.

    Parameters
    ----------
    signer : Signer
    place : Path or str
        Of the answers.
    output_dir : Path
        Where the models lie.
    registry : CollectorRegistry
        Where the metrics are registered.
    """

    def __init__(
        self, signer: Signer, place: Place, output_dir: Path, registry: CollectorRegistry
    ) -> None:
        self.signer = signer
        self.place = place
        self.output_dir = output_dir
        self.counted = Counter(
            "sentiment_feedback_total",
            "Answers about predictions: recorded, given before, or refused.",
            ["result"],
            registry=registry,
        )
        for result in RESULTS:
            self.counted.labels(result)
        self.available = Gauge(
            "sentiment_feedback_available",
            "Whether answers could be read and written when that was last tried.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.available.set(1)
        self._well = {"read": True, "write": True}
        self._labels: dict[str, tuple[str, ...]] = {}
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def swapped(self, model: LoadedModel) -> None:
        """Remember the labels of a model, for answers that come after its successor."""
        self._labels[model.digest[:32]] = model.labels

    def was_read(self, well: bool) -> None:
        """Note whether the answers could be read."""
        self._note("read", well)

    def _note(self, what: str, well: bool) -> None:
        self._well[what] = well
        self.available.set(all(self._well.values()))

    async def _labels_of(self, digest: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """Return the labels of the model that a prediction was made with, served here or not."""
        labels = self._labels.get(digest)
        if labels is None:
            try:
                labels = await asyncio.to_thread(labels_of, digest, self.output_dir)
            except SentimentError:  # pruned: those of today's model are the best guess
                return known
            self._labels[digest] = labels
        return labels

    async def read(
        self, prediction_id: str, known: tuple[str, ...]
    ) -> tuple[Claim, tuple[str, ...]] | None:
        """Return what a prediction's id says and the labels of its model; None: it is not ours."""
        claim = self.signer.read(prediction_id)
        return None if claim is None else (claim, await self._labels_of(claim.digest, known))

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
            ``not_found`` for an id that is not ours, ``contradiction`` for a label that its model
            does not know or another text than was classified; ``overloaded`` when the writer cannot
            keep up; ``feedback_unavailable``.
        """
        said = await self.read(prediction_id, known)
        if said is None:
            raise self._refuse("not_found", "prediction_id", "is no id that this service gave")
        claim, labels = said
        if label not in labels and label != claim.label:
            raise self._refuse("contradiction", "label", f"must be one of {', '.join(labels)}")
        if text is not None and fingerprint(text) != claim.fingerprint:
            raise self._refuse(
                "contradiction", "text", "is not the text that was classified (send all of it)"
            )
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
        written: _Written = loop.create_future()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="feedback", daemon=True)
            self._thread.start()
        self._queue.put((answer, written, loop))
        first = await written
        self.counted.labels("recorded" if first else "duplicate").inc()
        return first, claim

    def _refuse(self, code: str, field: str, message: str) -> ApiError:
        self.counted.labels("refused").inc()
        return ApiError(code, f"{field}: {message}", [{"field": field, "message": message}])

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
                answers = [answer for answer, _, _ in batch]
                results: list[Any]
                try:
                    store, results = self._add(store, answers)
                    self._note("write", True)
                except SentimentError as error:
                    logger.error("%s", error)  # noqa: TRY400
                    self._note("write", False)
                    reason = error.reason if isinstance(error, FeedbackError) else ""
                    problem = ApiError(
                        "feedback_unavailable",
                        f"feedback cannot be written: {reason}" if reason else "",
                        headers=((b"retry-after", b"10"),),
                    )
                    store, results = None, [problem] * len(batch)
                for (_, written, loop), result in zip(batch, results, strict=True):
                    loop.call_soon_threadsafe(_settle, written, result)
            if work is None:
                break
        if store is not None:
            store.close()

    def _add(self, store: Feedback | None, answers: list[Answer]) -> tuple[Feedback, list[bool]]:
        """Write answers to a store that is there: files are removed, databases start again."""
        if store is not None and not store.is_gone():
            try:
                return store, store.add(answers)
            except SentimentError as error:
                logger.warning("%s: trying once more", error)
        if store is not None:
            store.close()
        store = Feedback(self.place)
        return store, store.add(answers)

    def close(self) -> None:
        """Write what waits and end."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=5.0)
            self._thread = None


def _settle(written: _Written, result: Any) -> None:
    if written.done():  # whoever asked has gone
        return
    if isinstance(result, Exception):
        written.set_exception(result)
    else:
        written.set_result(result)

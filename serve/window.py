"""Drift of the last N predictions: counted by every worker, summed at a scrape; no text is stored."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sentiment.drift.reference import WORD_FIELDS, Reference, one_score
from sentiment.drift.signals import Drift, measure
from sentiment.errors import ModelError, SentimentError
from sentiment.feedback import Place, observed
from serve.ring import BUCKETS, Ring

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from sentiment.scorer import Prediction, Predictions
    from serve.model import LoadedModel

logger = logging.getLogger("sentiment.serve")

# Requests wait while counts are made: often, so that each time is short.
FLUSH_SECONDS = 0.1
# Counting the words of a text costs half as much as scoring it. While there is time, so many
# characters are counted at each flush; with more than the second figure to score, a small share.
IDLE_CHARACTERS = 6_400
BUSY_CHARACTERS = 16_000
BUSY_SHARE = 0.01
# The words of longer texts than this are counted up to here.
WORD_CHARACTERS = 16_000
WAITING_TEXTS = 1_000
# Nobody needs a comparison more often.
FRESH_SECONDS = 1.0
# So long a feedback store that could not be read is left alone: a scrape does not wait each time.
REST_SECONDS = 30.0


OnRead = Callable[[bool], None]
# label, score, confidence, tokens, unknown tokens, whether the model's own rule withholds
Seen = tuple[str, float, float, int, int, bool]


class DriftWindow(Collector):
    """What one worker counts for drift, and what it tells of all workers.

    Parameters
    ----------
    window : int
        Predictions that drift is measured over.
    limits : mapping
        Signal to limit, for those that differ from the defaults.
    directory : Path, optional
        Shared by the workers.
    feedback : Path or str
        Where answers lie; a file may be missing.
    feedback_window : int
        Answers that the observed accuracy is measured over.

    Attributes
    ----------
    on_read : callable
        Told whether the answers could be read.
    """

    def __init__(
        self,
        window: int,
        limits: Mapping[str, float],
        directory: Path | None,
        feedback: Place,
        feedback_window: int,
    ) -> None:
        self.window = window
        self.limits = limits
        self.directory = directory
        self.feedback = feedback
        self.feedback_window = feedback_window
        self.model: LoadedModel | None = None
        self.rings: tuple[Ring, Ring] | None = None  # of predictions, of words
        # Requests append on the event loop, a scrape takes out in a thread: a deque allows both.
        self._pending: deque[tuple[LoadedModel, str, Seen]] = deque()
        self._texts: list[str] = []  # whose words are still to be counted
        self._lock = Lock()
        self._found: tuple[float, Drift | None, float | None, int] = (0.0, None, None, 0)
        self._unread_until = 0.0
        self.on_read: OnRead = lambda _well: None

    def swapped(self, model: LoadedModel) -> None:
        """Begin anew with another model; what was counted of the last one goes."""
        try:
            reference = Reference(model.scorer)
        except ModelError as error:
            logger.warning("no drift is measured: %s", error)
            reference = None
        with self._lock:
            before, self.rings = self.rings, None
            same = self.model is not None and self.model.digest == model.digest
            self.model = model
            self._found = (0.0, None, None, 0)
            if same:
                self.rings = before
                return
            self._texts = []
            for ring in before or ():
                ring.close()
            if reference is not None:
                size = -(-self.window // BUCKETS)
                name = model.digest[:16]
                self.rings = (
                    Ring(reference, size, self.directory, f"drift-{name}"),
                    Ring(reference, size, self.directory, f"words-{name}"),
                )

    def add_one(self, model: LoadedModel, text: str, found: Prediction, own: bool) -> None:
        """Note one prediction; it is counted at the next `flush`.

        Parameters
        ----------
        model, text, found
        own : bool
            Whether the model's own rule, and not the request's, decides what is withheld.
        """
        scores = found.scores
        score = scores[0] if len(scores) == 1 else max(scores)
        seen = (found.label, score, found.confidence, found.n_tokens, found.n_unknown, own)
        self._pending.append((model, text, seen))

    def add(
        self, model: LoadedModel, texts: Sequence[str], pieces: Iterable[Predictions], own: bool
    ) -> None:
        """Note the predictions of many texts; see `add_one`."""
        start = 0
        for piece in pieces:
            rows = zip(
                piece.labels,
                one_score(piece.scores).tolist(),
                piece.confidence.tolist(),
                piece.n_tokens.tolist(),
                piece.n_unknown.tolist(),
                repeat(own, len(piece)),
                strict=True,
            )
            part = texts[start : start + len(piece)]
            self._pending.extend((model, text, row) for text, row in zip(part, rows, strict=True))
            start += len(piece)

    def flush(self) -> None:
        """Count what was noted since the last time, and the words of some of it."""
        if not self._pending and not self._texts:
            return
        with self._lock:
            pending = [self._pending.popleft() for _ in range(len(self._pending))]
            rings, model = self.rings, self.model
            if rings is None or model is None:
                return
            reference = rings[0].reference
            mine = [(text, seen) for of, text, seen in pending if of.digest == model.digest]
            for counts, part in rings[0].places([seen for _, seen in mine]):
                labels, *columns = zip(*part, strict=True)
                numbers = map(np.array, columns)
                reference.count(counts, labels, *numbers)
            # Words take longer to count than all the rest: a fair share of the texts at once,
            # and what a burst leaves over when there is time.
            self._texts += [text[:WORD_CHARACTERS] for text, _ in mine]
            scored = sum(len(text) for text, _ in mine)
            budget = IDLE_CHARACTERS if scored < BUSY_CHARACTERS else int(BUSY_SHARE * scored)
            for counts, texts in rings[1].places(self._take_texts(budget)):
                reference.count_words(counts, texts)

    def _take_texts(self, budget: int) -> list[str]:
        """Take texts at random, as far as a budget of characters reaches, and forget the surplus."""
        taken = []
        while self._texts and budget > 0:
            text = self._pop_any()
            taken.append(text)
            budget -= len(text)
        while len(self._texts) > WAITING_TEXTS:
            self._pop_any()
        return taken

    def _pop_any(self) -> str:
        texts = self._texts
        place = int(random.random() * len(texts))
        texts[place], texts[-1] = texts[-1], texts[place]
        return texts.pop()

    def compare(self) -> Drift | None:
        """Return the drift of all workers' last predictions; at most a second old."""
        self.flush()
        now = time.monotonic()
        when, found, _, _ = self._found
        if found is not None and now - when < FRESH_SECONDS:
            return found
        with self._lock:
            rings, model = self.rings, self.model
            if rings is None or model is None:
                return None
            reference = rings[0].reference
            counts = reference.zeros()
            names = reference.dtype.names or ()
            since = rings[0].total(counts, [n for n in names if n not in WORD_FIELDS], self.window)
            rings[1].total(counts, WORD_FIELDS, self.window)
        right, n = self._observed(model.digest, now)
        found = measure(reference, counts, self.limits, observed=(right, n) if n else None)
        self._found = (now, found, since, n)
        return found

    def _observed(self, digest: str, now: float) -> tuple[int, int]:
        """Return right answers and answers; none while the store cannot be read, which is logged."""
        if now < self._unread_until:
            return 0, 0
        try:
            found = observed(self.feedback, digest, self.feedback_window)
        except SentimentError as error:
            logger.warning("no observed accuracy: %s", error)
            self._unread_until = now + REST_SECONDS
            self.on_read(False)
            return 0, 0
        self.on_read(True)
        return found

    def document(self) -> dict[str, Any]:
        """Return what ``GET /model/drift`` answers."""
        found = self.compare()
        model = self.model
        assert model is not None
        about = {"name": model.name, "version": model.version, "digest": model.digest}
        if found is None:
            reason = "the model was compiled without reference texts: there is nothing to compare"
            return {"model": about, "drift": None, "reason": reason}
        _, _, since, n = self._found
        return {
            "model": about,
            "window": {
                "size": self.window,
                "since": None if since is None else datetime.fromtimestamp(since).astimezone(),
            },
            "feedback": {"answers": n, "size": self.feedback_window},
            **found.document(),
        }

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; the reference is named in the help of each."""
        model = self.model
        if model is None:
            return
        created = _created(model)
        if created is not None:
            yield _gauge(
                "sentiment_model_created_timestamp_seconds",
                "When the model that is served was trained, in Unix time.",
                {(): created},
            )
        drift = self.compare()
        if drift is None:
            return
        answers = self._found[3]
        against = (
            f" Reference: {drift.reference_n} {drift.reference_name} texts of model "
            f"{model.name} version {model.version}."
        )
        last = f"Of the last {self.window} texts: "

        def gauge(
            name: str, text: str, values: Mapping[tuple[str, ...], float | None], *labels: str
        ) -> Metric:
            return _gauge(name, text + against, values, *labels)

        def pair(values: tuple[float | None, float]) -> dict[tuple[str, ...], float | None]:
            return {("window",): values[0], ("reference",): values[1]}

        signals = {(signal.name,): signal for signal in drift.signals}
        yield gauge(
            "sentiment_drift_texts", "Texts that drift is measured over.", {(): float(drift.n)}
        )
        yield gauge(
            "sentiment_drift_value",
            "How far a signal is from the reference.",
            {key: signal.value for key, signal in signals.items()},
            "signal",
        )
        yield gauge(
            "sentiment_drift_limit",
            "The value of a signal above which it is drift.",
            {key: signal.limit for key, signal in signals.items()},
            "signal",
        )
        yield gauge(
            "sentiment_drift_detected",
            "Whether a signal is drift: 1, or 0 also while there are too few texts to tell.",
            {key: float(bool(signal.drifted)) for key, signal in signals.items()},
            "signal",
        )
        yield gauge(
            "sentiment_drift_label_ratio",
            f"{last}share of each label given.",
            {
                (label, source): share
                for label, (here, there) in drift.labels.items()
                for source, share in (("window", here), ("reference", there))
            },
            "sentiment",
            "source",
        )
        for name, text, values in (
            ("unknown_token_ratio", "share of tokens that the model does not know.", drift.unknown),
            (
                "low_confidence_ratio",
                f"share of answers with a confidence below {drift.low_confidence_below:g}.",
                drift.low_confidence,
            ),
            ("text_length_tokens", "mean length.", drift.mean_length),
        ):
            yield gauge(f"sentiment_drift_{name}", last + text, pair(values), "source")
        if (coverage := drift.coverage) is not None:
            yield gauge(
                "sentiment_drift_coverage_ratio",
                f"{last}share answered and not withheld as unsure, without the texts whose request "
                "gave a min_confidence.",
                pair((coverage.window, coverage.reference)),
                "source",
            )
            yield gauge(
                "sentiment_drift_coverage_band_ratio",
                "Between which shares answered nothing has drifted.",
                {("low",): coverage.low, ("high",): coverage.high},
                "end",
            )
            yield gauge(
                "sentiment_drift_coverage_texts",
                "Texts by whose rule answers are withheld: the model's, which coverage is measured "
                "over, or the request's.",
                {("model",): float(coverage.texts), ("request",): float(coverage.overridden)},
                "rule",
            )
        yield gauge(
            "sentiment_estimated_accuracy_ratio",
            f"{last}accuracy estimated without labels, as reference texts of the same confidence "
            "had it; blind to labels that change their meaning.",
            pair((drift.accuracy.estimated, drift.accuracy.reference_estimated)),
            "source",
        )
        seen = drift_value(drift, "observed_accuracy")
        usual = drift.accuracy.reference_observed
        promised = drift.accuracy.reference_estimated if usual is None else usual
        yield gauge(
            "sentiment_observed_accuracy_ratio",
            f"Accuracy over the last {self.feedback_window} predictions answered by feedback.",
            {
                ("window",): None if seen is None else promised - seen,
                ("reference",): usual,
            },
            "source",
        )
        yield gauge(
            "sentiment_observed_accuracy_answers",
            "Answers that the observed accuracy is measured over.",
            {(): float(answers)},
        )

    async def run(self) -> None:
        """Flush every `FLUSH_SECONDS` until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self.flush()

    def close(self) -> None:
        """Count what is left. The file stays: it is part of the window until it is old."""
        self.flush()


def drift_value(drift: Drift, name: str) -> float | None:
    """Return the value of one signal."""
    return next(signal.value for signal in drift.signals if signal.name == name)


def _gauge(
    name: str, text: str, values: Mapping[tuple[str, ...], float | None], *labels: str
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        if value is not None:
            family.add_metric(key, value)
    return family


def _created(model: LoadedModel) -> float | None:
    try:
        return datetime.fromisoformat(str(model.info.get("created"))).timestamp()
    except ValueError:
        return None

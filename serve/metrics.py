"""What the service counts, under the names that users already chart.

One `Metrics` belongs to one application and one registry. With several workers the
values live in memory-mapped files that every worker reads at a scrape (prometheus_client's
multiprocess mode), so any worker answers for all of them. Children are resolved once and
series that are known beforehand exist from the start, at zero.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from sentiment.files import locked
from serve.problems import CODES

if TYPE_CHECKING:
    from pathlib import Path

    from serve.model import LoadedModel

LATENCY_BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
BATCH_BUCKETS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# Beside the workers' files: held by who reads or removes them.
LOCK = "scrape.lock"
# The codes among these are counted as errors too.
REJECTED = ("overloaded", "timeout", "body_too_large", "connections", "slow_client")


class Door(StrEnum):
    """Where texts come in."""

    PREDICT = "predict"
    BATCH = "batch"
    V2 = "v2"
    INVOCATIONS = "invocations"


class WhoseRule(StrEnum):
    """Who says below which confidence an answer is withheld."""

    MODEL = "model"
    REQUEST = "request"


class Metrics:
    """The service's metrics in one registry.

    Parameters
    ----------
    registry : CollectorRegistry
        Where the metrics are registered.
    shared : Path, optional
        The directory of the workers' files, when there are several workers.
    """

    def __init__(self, registry: CollectorRegistry, shared: Path | None = None) -> None:
        self.registry = registry
        self.shared = shared
        self._collectors: list[Collector] = []
        # One more series for each counter and histogram, which several workers never have.
        disable_created_metrics()  # type: ignore[no-untyped-call]

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
            return Gauge(name, text, labels, registry=registry, multiprocess_mode="livesum")

        self.predictions = counter(
            "sentiment_predictions_total",
            "Texts classified, by the label given or withheld.",
            ["sentiment"],
        )
        self.abstained = counter(
            "sentiment_abstained_total",
            "Answers withheld as unsure, by the door and by whose rule: the model's or the request's.",
            ["door", "rule"],
        )
        self.errors = counter(
            "sentiment_errors_total",
            "Requests answered with an error, by its code.",
            ["error_type"],
        )
        self.latency = Histogram(
            "sentiment_prediction_latency_seconds",
            "Time from reading a prediction request to its answer, per request.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.confidence = Histogram(
            "sentiment_prediction_confidence",
            "Probability of the label given, per text.",
            buckets=CONFIDENCE_BUCKETS,
            registry=registry,
        )
        self.load_time = Gauge(
            "sentiment_model_load_time_seconds",
            "Time that the last model took to load, verify and warm.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.requests = counter(
            "sentiment_http_requests_total",
            "HTTP requests answered, by route template, method and status.",
            ["route", "method", "status"],
        )
        self.in_flight = gauge(
            "sentiment_http_requests_in_flight", "HTTP requests begun and not yet answered."
        )
        self.queued = gauge(
            "sentiment_queue_length", "Large requests that wait for a scoring thread."
        )
        self.connections = gauge("sentiment_http_connections", "Open client connections.")
        self.rejected = counter(
            "sentiment_rejected_total", "Requests and connections refused, by reason.", ["reason"]
        )
        self.batch_size = Histogram(
            "sentiment_batch_size",
            "Texts per prediction request.",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        if shared is None:
            # With several workers a scrape would see another process each time.
            ProcessCollector(registry=registry)
            counter(
                "sentiment_worker_restarts_total", "Workers that died or hung and were replaced."
            )
        self.workers = gauge("sentiment_workers", "Worker processes that serve.")
        self.ready = gauge("sentiment_workers_ready", "Worker processes that have a model.")
        self.model_info = gauge(
            "sentiment_model_info",
            "Worker processes that serve this model.",
            ["name", "version", "digest"],
        )
        self.intact = Gauge(
            "sentiment_model_files_intact",
            "Whether the files on the disk are still those of the model that is served from memory.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.intact.set(1)
        self.model_loaded = Gauge(
            "sentiment_model_loaded_timestamp_seconds",
            "When the model that is served was loaded, in Unix time.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.swaps = counter(
            "sentiment_model_swaps_total",
            "Models that took over while serving (success) or were refused (refused).",
            ["result"],
        )
        for code in CODES:
            self.errors.labels(code)
        for reason in REJECTED:
            self.rejected.labels(reason)
        for result in ("success", "refused"):
            self.swaps.labels(result)
        self._requests: dict[tuple[str, str, int], Counter] = {}
        self._predictions: dict[str, Counter] = {}

    def answered(self, route: str, method: str, status: int) -> None:
        """Count one answered request; `route` is a template, never a raw path."""
        child = self._requests.get((route, method, status))
        if child is None:
            name = method if method in METHODS else "OTHER"
            child = self.requests.labels(route, name, str(status))
            if name == method:  # what a client makes up must not fill this dictionary
                self._requests[route, method, status] = child
        child.inc()

    def predicted_one(self, label: str, confidence: float, seconds: float) -> None:
        """Count a request of one text."""
        self._predictions[label].inc()
        self.confidence.observe(confidence)
        self.latency.observe(seconds)
        self.batch_size.observe(1)

    def predicted(
        self, labels: Sequence[str], confidences: Iterable[float], seconds: float
    ) -> None:
        """Count a request of many texts."""
        for label, count in Tally(labels).items():
            self._predictions[label].inc(count)
        for confidence in confidences:
            self.confidence.observe(confidence)
        self.latency.observe(seconds)
        self.batch_size.observe(len(labels))

    def withheld(self, door: Door, rule: WhoseRule, n: int) -> None:
        """Count answers that are withheld as unsure."""
        self.abstained.labels(door, rule).inc(n)

    def failed(self, code: str) -> None:
        """Count an error by its code."""
        self.errors.labels(code).inc()
        if code in REJECTED:
            self.rejected.labels(code).inc()

    def swapped(self, model: LoadedModel, before: LoadedModel | None, seconds: float) -> None:
        """Record that `model` takes over from `before` after loading for `seconds`."""
        for label in model.labels:
            self._predictions[label] = self.predictions.labels(label)
        if model.scorer.decision.withholds:
            for door in Door:
                self.abstained.labels(door, WhoseRule.MODEL)
        if before is not None:
            self.model_info.labels(before.name, before.version, before.digest).set(0)
            self.swaps.labels("success").inc()
        self.model_info.labels(model.name, model.version, model.digest).set(1)
        self.load_time.set(seconds)
        self.model_loaded.set(time.time())

    def refused(self) -> None:
        """Record that a model was refused."""
        self.swaps.labels("refused").inc()

    def add(self, collector: Collector) -> None:
        """Let a collector that speaks for all workers tell at every scrape."""
        if self.shared is None:
            self.registry.register(collector)
        else:
            self._collectors.append(collector)

    def exposition(self, *, openmetrics: bool = False) -> bytes:
        """Return the metrics of all workers in Prometheus' text format (`CONTENT_TYPE`).

        Parameters
        ----------
        openmetrics : bool
            In the OpenMetrics format instead (`OPENMETRICS_TYPE`).
        """
        if self.shared is None:
            return self._written(self.registry, openmetrics)
        with locked(self.shared / LOCK):  # a dead worker's files are being taken out, or not
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(self.shared))  # type: ignore[no-untyped-call]
            for collector in self._collectors:
                registry.register(collector)
            return self._written(registry, openmetrics)

    def _written(self, registry: CollectorRegistry, openmetrics: bool) -> bytes:
        write: Callable[[CollectorRegistry], bytes] = generate_latest
        if openmetrics:
            from prometheus_client.openmetrics import exposition

            write = exposition.generate_latest
        lines = write(registry).split(b"\n")
        # A model that nobody serves any more would otherwise stay as a series at zero for ever.
        kept = [
            line
            for line in lines
            if not (line.startswith(b"sentiment_model_info{") and line.endswith(b" 0.0"))
        ]
        return b"\n".join(kept)


def take_out(directory: Path, pid: int) -> None:
    """Take a dead worker's files out of the directory of all; what it counted stays counted.

    Otherwise each worker that dies would make every later scrape read more files.

    Parameters
    ----------
    directory : Path
    pid : int
        The worker's.
    """
    with locked(directory / LOCK):
        for path in directory.glob(f"*_{pid}.db"):
            kind = path.name.partition("_")[0]
            if kind != "gauge":
                _add_up(path, directory / f"{kind}_gone.db")
            path.unlink()


def _add_up(path: Path, into: Path) -> None:
    total: Any = MmapedDict(str(into))  # type: ignore[no-untyped-call]
    try:
        read: Any = MmapedDict.read_all_values_from_file
        for key, value, _, _ in read(str(path)):
            before, when = total.read_value(key)
            total.write_value(key, before + value, when)
    finally:
        total.close()

"""The whole chain: several workers, Prometheus, rules, alerts, Alertmanager and its webhook."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml

from sentiment.store import note_sync

MONITORING = Path(__file__).parents[2] / "monitoring"
CALM = "movies"


class Traffic:
    """One client that keeps asking, about texts of one kind at a time."""

    def __init__(self, service, streams) -> None:
        self.service = service
        self.kinds = {
            name: itertools.cycle(getattr(streams, name)) for name in ("movies", "product")
        }
        self.kind = CALM
        self.failed: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(0.04):
            texts = list(itertools.islice(self.kinds[self.kind], 5))
            try:
                answer = self.service.post("/predict/batch", {"texts": texts})
                one = self.service.post("/predict", {"text": texts[0]})
            except httpx.TransportError as error:
                self.failed.append(repr(error))
                continue
            self.failed += [a.text for a in (answer, one) if a.status_code not in (200, 503)]

    def stop(self) -> None:
        self._end.set()
        self._thread.join()


def dashboard_queries() -> dict[str, tuple[str, set[str], str]]:
    """Panel and letter -> query, labels that its legend names, type of the panel."""
    found = {}
    for path in (MONITORING / "grafana/dashboards").glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                expression = target["expr"].replace("$__rate_interval", "5s")
                expression = re.sub(r"\$(instance|version)", ".*", expression)
                labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                key = f"{path.stem}: {panel['title']} {target['refId']}"
                found[key] = (expression, labels, panel["type"])
    return found


def check_queries(prometheus, missing: dict[str, tuple[str, set[str], str]]) -> None:
    """Drop from `missing` the queries that return data of the right shape now."""
    for key, (expression, labels, kind) in list(missing.items()):
        series = prometheus.query(expression)
        values = [float(entry["value"][1]) for entry in series]
        if not any(map(math.isfinite, values)):
            continue
        if kind == "stat":
            assert len(series) == 1, (key, series)
        if labels:
            assert all(labels <= set(entry["metric"]) for entry in series), (key, series)
        elif kind != "table":
            assert len(series) == 1, (key, series)
        del missing[key]


@pytest.mark.real
@pytest.mark.slow
def test_alerts_fire_for_their_causes_and_only_for_them(serve, streams, watch, wait_for):
    service = serve(
        *("--workers", 2, "--shadow", "latest"),
        **{"drift_window": 300, "feedback_window": 80, "max_concurrency": 4, "queue_size": 0},
    )
    prometheus, webhook = watch(service)
    traffic = Traffic(service, streams)
    queries = dashboard_queries()
    if "process_cpu_seconds_total" not in service.metrics():
        queries = {key: query for key, query in queries.items() if "process_" not in query[0]}
    if prometheus.pushes:
        wait_for(lambda: prometheus.push("promoted") is None, 30, "the Pushgateway")
    else:
        queries = {key: query for key, query in queries.items() if "_retrain_" not in query[0]}
    note_sync(service.outputs, answered=True)
    try:
        # Reviews of movies: every gauge has a value, and nothing fires.
        wait_for(lambda: prometheus.query("sentiment_drift_texts >= 300"), 60, "a window of movies")
        # Before its first look, Prometheus misses the service.
        wait_for(lambda: not prometheus.firing(), 30, "calm")
        started = time.monotonic()
        while time.monotonic() - started < 8:
            assert prometheus.firing() == set()
            time.sleep(0.5)
        check_queries(prometheus, queries)
        check_rules(prometheus)

        if prometheus.pushes:
            prometheus.push("failed")
            wait_for(lambda: prometheus.firing() == {"SentimentRetrainFailed"}, 30, "failed")
            prometheus.push("refused")
            wait_for(lambda: prometheus.firing() == {"SentimentRetrainRefused"}, 30, "refused")
            prometheus.push("promoted")
            wait_for(lambda: not prometheus.firing(), 30, "a retraining that went well")

        # Reviews of products.
        traffic.kind = "product"
        expected = {"SentimentDrift", "SentimentEstimatedAccuracyDrop", "SentimentCoverage"}
        drift = 'ALERTS{alertname="SentimentDrift", alertstate="firing", signal="score"}'
        wait_for(lambda: prometheus.query(drift), 60, "drift")
        assert prometheus.firing() <= expected
        wait_for(lambda: "SentimentDrift" in webhook.names("firing"), 30, "the webhook")
        check_queries(prometheus, queries)
        traffic.kind = "movies"
        wait_for(lambda: not prometheus.firing(), 60, "the end of drift")
        wait_for(lambda: "SentimentDrift" in webhook.names("resolved"), 30, "the webhook")

        # Users who say that the answers are wrong, then users who say that they are right.
        flip = {"negative": "positive", "positive": "negative"}
        for wrong in (True, False):
            for prediction in service.predict(streams.movies[:80]):
                label = prediction["sentiment"] or prediction["would_be"]
                answer = {
                    "prediction_id": prediction["prediction_id"],
                    "label": flip[label] if wrong else label,
                }
                assert service.post("/feedback", answer).json()["correct"] is not wrong
            if wrong:
                wait_for(lambda: prometheus.firing() == {"SentimentAccuracyDrop"}, 60, "wrong")
                check_queries(prometheus, queries)
        wait_for(lambda: not prometheus.firing(), 60, "the end of wrong answers")

        # More requests than the service takes.
        burst(service, streams.movies, lambda: "SentimentErrorsBurnFast" in prometheus.firing())
        assert prometheus.firing() <= {
            *("SentimentErrorsBurnFast", "SentimentErrorsBurnSlow", "SentimentRejecting"),
            "SentimentErrorsAboveObjective",
        }
        wait_for(lambda: "SentimentErrorsBurnFast" in webhook.names("firing"), 30, "the webhook")
        check_queries(prometheus, queries)
        wait_for(
            lambda: "SentimentErrorsBurnFast" not in prometheus.firing(), 60, "the end of errors"
        )

        assert not queries, f"no data for {sorted(queries)}"
        assert not traffic.failed
    finally:
        traffic.stop()

    # Nobody is there any more.
    service.stop()
    wait_for(lambda: "SentimentDown" in prometheus.firing(), 30, "down")
    wait_for(lambda: "SentimentDown" in webhook.names("firing"), 30, "the webhook")


def check_rules(prometheus) -> None:
    """Every recording rule has data, and every metric that an alert reads exists."""
    known = set(prometheus.get("/api/v1/label/__name__/values"))
    rules = [
        rule
        for path in (MONITORING / "prometheus/rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    assert len(rules) > 20
    for rule in rules:
        read = set(re.findall(r"\b(?:job:)?sentiment_[a-z0-9_:]+|\bup\b", rule["expr"]))
        assert read or rule.get("alert") == "SentimentWatchdog", rule
        if not prometheus.pushes:
            read = {name for name in read if "_retrain_" not in name}
        assert read <= known, f"{rule.get('alert')}: {read - known}"
        if "record" in rule:
            assert prometheus.query(rule["record"]), rule["record"]
    groups = prometheus.get("/api/v1/rules")["groups"]
    assert all(rule["health"] == "ok" for group in groups for rule in group["rules"])


def burst(service, texts: list[str], until) -> None:
    """Ask for more than the service takes until something is so.

    Every request is work of some milliseconds, so that on any machine more of them wait than
    have a place. Different texts: one text again and again is drift, and its alert is right.
    """
    end = time.monotonic() + 60
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=service.url, timeout=30, verify=False) as client:
            while not done.is_set():
                client.post("/predict/batch", json={"texts": random.sample(texts, 100)})

    with ThreadPoolExecutor(24) as pool:
        for _ in range(24):
            pool.submit(ask)
        try:
            while not until():
                assert time.monotonic() < end, "no alert for errors"
                time.sleep(0.3)
        finally:
            done.set()

"""A real model, the real service, and the real Prometheus and Alertmanager on loopback."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.reviews import shuffled
from support.waiting import free_port, wait_for
from support.web import HTTP

from sentiment.retraining import Outcome

MONITORING = Path(__file__).parents[2] / "monitoring"

PRODUCT = """The battery lasts two days and charges quickly over usb.
I bought this phone for my daughter and she is happy with the camera.
The charger stopped working after a week, so I asked for a refund.
Shipping was fast and the package arrived in perfect condition.
The screen is bright, but the speaker sounds thin at full volume.
Setup took five minutes with the included software.
For the price you will not find a better keyboard.
The buttons feel cheap and the plastic cracked within a month.
Customer service replaced the unit without any questions.
It connects to my laptop by bluetooth without trouble.
The headphones are comfortable, yet the cable is far too short.
I would buy this product again and recommend it to anyone.
The manual is useless, and the warranty does not cover the battery.
Memory card and adapter are not included in the box.
The printer jams every third page, and ink is expensive.
Picture quality of the camera is excellent in daylight.
The blender is loud, but it crushes ice without effort.
The fabric shrank in the first wash and the color faded.
Returned it the next day because the display had dead pixels.
Works as advertised and the installation was easy.""".splitlines()

GERMAN = """Das Gerät kam pünktlich an und funktioniert sehr gut.
Leider ist der Akku schon nach zwei Wochen kaputt gegangen.
Ich bin mit der Qualität nicht zufrieden und schicke es zurück.
Die Verarbeitung ist hervorragend, ich würde es wieder kaufen.
Für den Preis kann man wirklich nichts sagen.
Wir haben das für unsere Kinder gekauft und sie lieben es.
Die Bedienung ist einfach, aber die Anleitung fehlt leider.
Nach einem Monat ist die Farbe schon ab, das darf nicht sein.
Der Versand war schnell und die Verpackung war in Ordnung.
Ich kann das nur empfehlen, alles hat sofort geklappt.
Der Ton ist leise und das Bild wird nach einer Stunde dunkel.
Man merkt, dass hier an der falschen Stelle gespart wurde.""".splitlines()


def made_of(sentences: list[str], n: int) -> list[str]:
    """Texts of some of these sentences each."""
    generator = random.Random(1)
    return [" ".join(generator.sample(sentences, 8)) for _ in range(n)]


class Streams:
    """Texts of several kinds, none of which the model was trained on."""

    def __init__(self) -> None:
        every = shuffled()
        self.train, self.held_out = every[:2000], every[2000:3000]
        self.movies = [text for text, _ in every[3000:6000]]
        self.labels = dict(every[3000:6000])
        self.product = made_of(PRODUCT, 600)
        self.german = made_of(GERMAN, 600)
        generator = random.Random(2)
        self.shuffled = []
        for text in self.movies[:600]:
            words = text.split()
            generator.shuffle(words)
            self.shuffled.append(" ".join(words))


@pytest.fixture(scope="session")
def streams() -> Streams:
    return Streams()


@pytest.fixture(scope="session")
def store(streams, tmp_path_factory) -> Path:
    """An output directory with one model of movie reviews, the same for all test processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    output_dir = folder / "monitoring-outputs"
    with (folder / "monitoring.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output_dir.exists():
            make_model(streams, folder / "monitoring-new")
            (folder / "monitoring-new").rename(output_dir)
    return output_dir


def make_model(streams: Streams, output_dir: Path) -> None:
    from sentiment.compiler.compile import compile_scorer
    from sentiment.models import NBSVM
    from sentiment.scorer.decision import Decision
    from sentiment.store import save_model, set_pointer
    from sentiment.vectorizers import TfidfVectorizer

    texts, labels = zip(*streams.train, strict=True)
    vectorizer = TfidfVectorizer(ngram_range=(1, 3), min_df=2, sublinear_tf=True, strip_html=True)
    classifier = NBSVM(random_state=0)
    classifier.fit(vectorizer.fit_transform(texts), labels)
    held_out, true = zip(*streams.held_out, strict=True)
    compiled = compile_scorer(
        vectorizer,
        classifier,
        positive_label="positive",
        reference_texts=held_out,
        reference_labels=true,
        reference_name="test",
        decision=Decision(min_confidence=0.7),
    )
    stored = save_model(compiled, {"data": {"name": "reviews"}}, output_dir)
    set_pointer(output_dir, "champion", stored.digest, name="reviews", version=7, source="promote")
    set_pointer(output_dir, "latest", stored.digest, source="train")


@pytest.fixture(scope="session", name="wait_for")
def _wait_for():
    return wait_for


class Daemon:
    """A process that ends with the test."""

    def __init__(self, command: list[str], log: Path, **environment: str) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


class Service(Daemon):
    """A running ``sentiment serve``."""

    def __init__(self, output_dir: Path, folder: Path, *words: object, **settings: object) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [
                sys.executable,
                "-m",
                "sentiment",
                "serve",
                "--port",
                str(self.port),
                *map(str, words),
            ],
            folder / f"serve-{self.port}.log",
            SENTIMENT_OUTPUT_DIR=str(output_dir),
            SENTIMENT_ACCESS_LOG="false",
            **{f"SENTIMENT_{key.upper()}": str(value) for key, value in settings.items()},
        )
        wait_for(self._ready, 60, "the service is ready")

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return self.get("/health").status_code == 200

    def post(self, path: str, document: Any) -> httpx.Response:
        return HTTP.post(self.url + path, json=document)

    def get(self, path: str) -> httpx.Response:
        return HTTP.get(self.url + path)

    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        """Classify texts in batches, and let what was counted be written."""
        found = []
        for start in range(0, len(texts), 50):
            batch = {"texts": texts[start : start + 50]}
            end = time.monotonic() + 20
            # Another client's batch may be where a service without a queue has room for one.
            while (answer := self.post("/predict/batch", batch)).status_code == 503:
                assert time.monotonic() < end, answer.text
            assert answer.status_code == 200, answer.text
            found += answer.json()["predictions"]
        return found

    def drift(self) -> dict[str, Any]:
        return self.get("/model/drift").json()

    def drift_of(self, n: int, words: int = 200) -> dict[str, Any]:
        """The drift once all workers have counted n texts, and the words of some."""

        def counted() -> dict[str, Any] | None:
            document = self.drift()
            enough = document["texts"] >= n and document["words"]["texts"] >= words
            return document if enough else None

        return wait_for(counted, 60, f"{n} texts are counted")

    def metrics(self) -> str:
        return self.get("/metrics").text

    def sum(self, name: str) -> float:
        """The sum of all series of one metric."""
        lines = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.metrics(), re.MULTILINE)
        return sum(map(float, lines))

    def workers(self) -> list[int]:
        import psutil

        return [child.pid for child in psutil.Process(self.process.pid).children()]


@pytest.fixture
def serve(store, tmp_path) -> Iterator[Callable[..., Service]]:
    """Start services that end with the test, each with its own output directory."""
    started: list[Service] = []

    def start(*words: object, **settings: object) -> Service:
        outputs = shutil.copytree(store, tmp_path / f"outputs{len(started)}")
        started.append(Service(outputs, tmp_path, *words, **settings))
        started[-1].outputs = outputs
        return started[-1]

    yield start
    for service in started:
        service.stop(signal.SIGKILL)


class Webhook:
    """Where Alertmanager sends to; keeps what came."""

    def __init__(self) -> None:
        received = self.received = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.extend(json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def names(self, status: str) -> set[str]:
        return {a["labels"]["alertname"] for a in self.received if a["status"] == status}

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Prometheus:
    """Prometheus and Alertmanager with the product's own files, sixty times as fast."""

    def __init__(self, folder: Path, target: str, webhook: str) -> None:
        for name in ("prometheus", "prometheus-alertmanager"):
            if shutil.which(name) is None:
                pytest.skip(f"{name} is not installed (apt-get install {name})")
        port, manager, pushgateway = free_port(), free_port(), free_port()
        self.pushgateway = f"http://127.0.0.1:{pushgateway}"
        self.url = f"http://127.0.0.1:{port}"
        config = (MONITORING / "prometheus/prometheus.yml").read_text()
        config = config.replace("15s", "1s").replace("api:8000", target)
        config = config.replace("alertmanager:9093", f"127.0.0.1:{manager}")
        config = config.replace("localhost:9090", f"127.0.0.1:{port}")
        # Where there is no Pushgateway nobody pushes: a target that is down is nobody's alert.
        config = config.replace("pushgateway:9091", f"127.0.0.1:{pushgateway}")
        (folder / "rules").mkdir()
        (folder / "prometheus.yml").write_text(config)
        for path in (MONITORING / "prometheus/rules").glob("*.yml"):
            (folder / "rules" / path.name).write_text(faster(path.read_text()))
        alerts = (MONITORING / "alertmanager/alertmanager.yml").read_text()
        alerts = re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", alerts)
        alerts = re.sub(r"url: \S+", f"url: {webhook}", alerts)
        (folder / "alertmanager.yml").write_text(alerts)
        self.daemons = [
            Daemon(
                [
                    "prometheus",
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                folder / "prometheus.log",
            ),
            Daemon(
                [
                    "prometheus-alertmanager",
                    f"--config.file={folder}/alertmanager.yml",
                    f"--storage.path={folder}/alerts",
                    f"--web.listen-address=127.0.0.1:{manager}",
                    "--cluster.listen-address=",
                ],
                folder / "alertmanager.log",
            ),
        ]
        self.pushes = shutil.which("prometheus-pushgateway") is not None
        if self.pushes:
            listen = f"--web.listen-address=127.0.0.1:{pushgateway}"
            self.daemons.append(
                Daemon(["prometheus-pushgateway", listen], folder / "pushgateway.log")
            )
        wait_for(lambda: HTTP.get(f"{self.url}/-/ready").status_code == 200, 30, "Prometheus")

    def push(self, outcome: str) -> None:
        """Leave what a retraining leaves, as it would with SENTIMENT_PUSHGATEWAY_URL."""
        lines = [
            f'sentiment_retrain_last_outcome{{outcome="{name}"}} {int(name == outcome)}'
            for name in Outcome
        ]
        lines += [
            f"sentiment_retrain_last_{what}_timestamp_seconds {time.time()}"
            for what in ("run", "success")
        ]
        lines.append("")
        answer = HTTP.put(
            f"{self.pushgateway}/metrics/job/sentiment_retrain", content="\n".join(lines)
        )
        assert answer.status_code == 200, answer.text

    def get(self, path: str) -> Any:
        return HTTP.get(self.url + path).json()["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = HTTP.get(f"{self.url}/api/v1/query", params={"query": expression})
        document = answer.json()
        assert document["status"] == "success", (expression, document)
        assert document["data"]["resultType"] in ("vector", "scalar"), expression
        return document["data"]["result"]

    def firing(self) -> set[str]:
        found = self.query('ALERTS{alertstate="firing"}')
        names = {series["metric"]["alertname"] for series in found}
        return names - {"SentimentWatchdog"}  # always there

    def stop(self) -> None:
        for daemon in self.daemons:
            daemon.stop()


@pytest.fixture
def watch(tmp_path) -> Iterator[Callable[[Service], tuple[Prometheus, Webhook]]]:
    """Start Prometheus, Alertmanager and a webhook for a service."""
    started: list[Any] = []

    def start(service: Service) -> tuple[Prometheus, Webhook]:
        webhook = Webhook()
        started.append(webhook)
        prometheus = Prometheus(tmp_path, f"127.0.0.1:{service.port}", webhook.url)
        started.append(prometheus)
        return prometheus, webhook

    yield start
    for part in reversed(started):
        part.stop()


def faster(rules: str) -> str:
    """Turn minutes into seconds and hours into minutes."""
    for unit, smaller in (("m", "s"), ("h", "m")):
        rules = re.sub(rf"(\[|for: )(\d+){unit}\b", rf"\g<1>\g<2>{smaller}", rules)
    return rules

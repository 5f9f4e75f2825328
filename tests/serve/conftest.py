"""Real models, and real servers of them on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest
from support.reviews import balanced
from support.web import HTTP

GOOD = "A wonderful film: moving, funny and beautifully acted. I loved every minute."
BAD = "Awful. A boring waste of time with a terrible script and wooden acting."


def train_model(output_dir: Path, C: float, labels: dict[str, str] | None = None, decision=None):
    """Train, compile and store a small model; return it as stored."""
    from sklearn.linear_model import LogisticRegression

    from sentiment.compiler.compile import compile_scorer
    from sentiment.store import save_model
    from sentiment.vectorizers import TfidfVectorizer

    texts, names = balanced(400)
    names = [(labels or {}).get(name, name) for name in names]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    classifier = LogisticRegression(C=C).fit(vectorizer.fit_transform(texts), names)
    compiled = compile_scorer(
        vectorizer,
        classifier,
        positive_label=sorted(set(names))[-1],
        reference_texts=texts[::8],
        decision=decision,
    )
    info = {"metrics": {"accuracy": 0.8}, "data": {"name": "reviews", "rows": len(texts)}}
    return save_model(compiled, info, output_dir)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """An output directory with two models, the first of them the champion, version 1."""
    from sentiment.store import set_pointer

    output_dir = tmp_path_factory.mktemp("outputs")
    first, second = train_model(output_dir, 1.0), train_model(output_dir, 10.0)
    set_pointer(output_dir, "latest", second.digest, source="train")
    set_pointer(output_dir, "champion", first.digest, name="reviews", version=1, source="promote")
    return output_dir


@pytest.fixture
def own_store(store, tmp_path):
    """A copy of the store in which a test may move pointers and break models."""
    import shutil

    return Path(shutil.copytree(store, tmp_path / "outputs"))


class Server:
    """A running ``sentiment serve`` process."""

    def __init__(self, output_dir: Path, *words: object, **environment: object) -> None:
        descriptor, name = tempfile.mkstemp(prefix="sentiment-serve-", suffix=".log")
        self._log = Path(name)
        variables = {f"SENTIMENT_{key.upper()}": str(value) for key, value in environment.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sentiment", "serve", "--port", "0", *map(str, words)],
            env={**os.environ, "SENTIMENT_OUTPUT_DIR": str(output_dir), **variables},
            stdout=subprocess.DEVNULL,
            stderr=descriptor,
            start_new_session=True,  # a signal to the test does not reach it
        )
        os.close(descriptor)
        self.url = ""
        match = self.wait_for(lambda: re.search(r"listening on (http://[^\"]+)", self.log))
        self.url = match[1]
        self.port = int(self.url.rsplit(":", 1)[1])

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def wait_for(self, condition, seconds: float = 30.0):
        """Return what the condition gives once it is true; connection errors count as not yet."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found = condition()
            except httpx.TransportError:
                found = None
            if found:
                return found
            if self.process.poll() is not None and not self.url:
                break
            time.sleep(0.02)
        raise AssertionError(f"it did not happen; the log says:\n{self.log[-4000:]}")

    def ready(self) -> Server:
        self.wait_for(lambda: HTTP.get(f"{self.url}/health").status_code == 200)
        return self

    def post(self, path: str, document=None, **options) -> httpx.Response:
        return HTTP.post(self.url + path, json=document, **options)

    def get(self, path: str, **options) -> httpx.Response:
        return HTTP.get(self.url + path, **options)

    def metric(self, series_name: str, /, **labels: str) -> float:
        """The value of one series, 0 when there is none."""
        for line in self.get("/metrics").text.splitlines():
            series, _, value = line.rpartition(" ")
            if (series == series_name or series.startswith(series_name + "{")) and all(
                f'{key}="{item}"' in series for key, item in labels.items()
            ):
                return float(value)
        return 0.0

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        import psutil

        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Stop it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def forget(self) -> None:
        """Remove the log."""
        self._log.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def server_class():
    """Give the class itself, for servers that outlive a test."""
    return Server


@pytest.fixture(scope="session")
def train():
    """Give the function that trains a small model."""
    return train_model


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    started: list[Server] = []

    def start(output_dir: Path, *words: object, **environment: object) -> Server:
        started.append(Server(output_dir, *words, **environment))
        return started[-1]

    yield start
    for server in started:
        server.stop(signal.SIGINT)
        server.forget()


@pytest.fixture(scope="session")
def server(store):
    """One server for every test that changes nothing."""
    running = Server(store)
    yield running.ready()
    running.stop()
    running.forget()


class Load:
    """Clients that post reviews one after the other and count every answer.

    Parameters
    ----------
    keep_alive : bool
        Whether a client keeps its connection; otherwise each request opens one.
    """

    def __init__(self, server: Server, clients: int = 8, *, keep_alive: bool = True) -> None:
        self.server = server
        self.keep_alive = keep_alive
        self.answers: list[httpx.Response] = []
        self.refused = 0  # never connected: not accepted, so nothing was lost
        self.lost: list[Exception] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        headers = {} if self.keep_alive else {"Connection": "close"}
        texts = [GOOD, BAD] * 8
        with httpx.Client(
            base_url=self.server.url, timeout=30, headers=headers, verify=False
        ) as client:
            while not self._stop.is_set():
                try:
                    if number % 2:
                        answer = client.post("/predict/batch", json={"texts": texts})
                    else:
                        answer = client.post("/predict", json={"text": GOOD})
                except httpx.ConnectError:
                    self.refused += 1
                    return
                except httpx.TransportError as error:
                    self.lost.append(error)
                    continue
                self.answers.append(answer)


@pytest.fixture
def load():
    """Give the class of concurrent clients."""
    return Load

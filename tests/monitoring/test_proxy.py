"""Two replicas behind the shipped proxy: one after the other is replaced, and nobody notices."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import threading
import time
from collections import Counter

import pytest
from support.web import HTTP

from .conftest import MONITORING, Daemon, free_port, wait_for

CONFIG = MONITORING.parent / "docker/proxy.cfg"


class Callers:
    """A few clients on kept connections that count what they get."""

    def __init__(self, port: int, text: str, number: int = 4) -> None:
        self.port, self.body = port, json.dumps({"text": text})
        self.outcomes: Counter[str] = Counter()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self._end.wait(0.005):
            try:
                connection.request(
                    "POST", "/predict", self.body, {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                answer.read()
                self.outcomes[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.outcomes[type(error).__name__] += 1
                connection.close()
        connection.close()

    def stop(self) -> Counter[str]:
        self._end.set()
        for thread in self._threads:
            thread.join()
        return self.outcomes


@pytest.mark.slow
@pytest.mark.real
def test_an_upgrade_refuses_nobody(store, streams, tmp_path):
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if haproxy is None:
        pytest.skip("haproxy is not installed (apt-get install haproxy)")
    outputs = shutil.copytree(store, tmp_path / "outputs")
    ports = {"api": free_port(), "api-b": free_port()}

    def start(name: str) -> Daemon:
        replica = Daemon(
            [sys.executable, "-m", "sentiment", "serve", "--port", str(ports[name])],
            tmp_path / f"{name}.log",
            SENTIMENT_OUTPUT_DIR=str(outputs),
            SENTIMENT_DRAIN_SECONDS="1",  # as docker/compose.yaml has it
            SENTIMENT_ACCESS_LOG="false",
        )
        ready = f"http://127.0.0.1:{ports[name]}/health/ready"
        wait_for(lambda: HTTP.get(ready).status_code == 200, 60, name)
        return replica

    front = free_port()
    text = CONFIG.read_text().replace("bind :8080", f"bind 127.0.0.1:{front}")
    for name, port in ports.items():
        assert f" {name}:8000" in text
        text = text.replace(f" {name}:8000", f" 127.0.0.1:{port}")
    (tmp_path / "proxy.cfg").write_text(text)
    daemons = {name: start(name) for name in ports}
    daemons["proxy"] = Daemon([haproxy, "-f", str(tmp_path / "proxy.cfg")], tmp_path / "proxy.log")
    callers = None
    try:
        url = f"http://127.0.0.1:{front}/health/ready"
        wait_for(lambda: HTTP.get(url).status_code == 200, 30, "the proxy")
        callers = Callers(front, streams.movies[0])
        for name in ports:
            before = callers.outcomes["200"]
            wait_for(lambda before=before: callers.outcomes["200"] > before + 100, 30, "traffic")
            assert daemons[name].stop() == 0
            daemons[name] = start(name)
            time.sleep(0.5)  # the proxy looks five times a second
        outcomes = callers.stop()
        assert set(outcomes) == {"200"}, outcomes
    finally:
        if callers is not None:
            callers.stop()
        for daemon in daemons.values():
            daemon.stop()

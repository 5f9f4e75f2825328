"""What a challenger in the shadow costs the champion's clients.

Two services of the same champion, one with another model in the shadow, take turns: each is loaded
for a few seconds, again and again, so that what else the machine does falls on both alike. Each has
one core, its shadow process too; the load generator has another. Figures are medians over the turns
of the one's figure divided by the other's, full (as many requests as there can be) and at a steady
pace that the service keeps up with. The processor time that the one who answers takes for a request
is the steadiest: it has what telling the challenger costs, and what colder caches do. Run it as a
script::

    python tests/benchmarks/bench_shadow.py [--rounds 7] [--seconds 4] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
from bench_serve import LENGTH, Service, free_port, load, reviews, start

N_TRAIN = 22_000
CLIENTS = 4
PAUSE_SECONDS = 0.01


def make_models(output_dir: Path) -> None:
    """Train a champion and a challenger that has the same words and other weights."""
    from sklearn.linear_model import LogisticRegression

    from sentiment.compiler.compile import compile_scorer
    from sentiment.store import save_model, set_pointer
    from sentiment.vectorizers import TfidfVectorizer

    texts, labels = reviews()
    vectorizer = TfidfVectorizer(ngram_range=(1, 3), max_features=1_000_000, sublinear_tf=True)
    matrix = vectorizer.fit_transform(texts[:N_TRAIN])
    for alias, C in (("champion", 10), ("challenger", 1)):
        classifier = LogisticRegression(C=C, solver="liblinear", max_iter=20)
        classifier.fit(matrix, labels[:N_TRAIN])
        compiled = compile_scorer(vectorizer, classifier, reference_texts=texts[-500:])
        stored = save_model(compiled, {}, output_dir)
        set_pointer(output_dir, alias, stored.digest, source="benchmark")


def ask(port: int, bodies: list[bytes], seconds: float) -> None:
    """Be clients that pause between requests; print how long each answer took, in milliseconds."""
    import asyncio

    times: list[float] = []
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            body = bodies[number % len(bodies)]
            started = time.perf_counter()
            writer.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = int(answer.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)
            times.append(1e3 * (time.perf_counter() - started))
            number += CLIENTS
            await asyncio.sleep(PAUSE_SECONDS)
        writer.close()

    async def all_clients() -> None:
        await asyncio.gather(*(client(number) for number in range(CLIENTS)))

    asyncio.run(all_clients())
    print(json.dumps(times))


def pace(port: int, bodies: list[bytes], seconds: float, core: int) -> dict[str, float]:
    """Return latencies of clients that pause."""
    command = [sys.executable, __file__, "--ask", str(port), "--seconds", str(seconds)]
    asking = start(command, core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    times = sorted(json.loads(asking.communicate(b"\n".join(bodies))[0]))
    return {"p50_ms": times[len(times) // 2], "p99_ms": times[int(len(times) * 0.99)]}


def metric(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name):
                return float(line.rpartition(" ")[2])
    return 0.0


def used(service: Service) -> float:
    """Return the processor seconds of the process that answers, without its shadow's."""
    return sum(psutil.Process(service.process.pid).cpu_times()[:2])


def main() -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--models", type=Path, help="keep the models here and use them again")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ask", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask(options.ask, sys.stdin.buffer.read().split(b"\n"), options.seconds)
        return
    cores = sorted(os.sched_getaffinity(0))
    core, other = cores[0], cores[-1]
    texts = sorted(reviews()[0][N_TRAIN:], key=lambda text: abs(len(text) - LENGTH))[:200]
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.models or Path(scratch) / "outputs"
        if not folder.exists():
            make_models(folder)
        ports = {"without": free_port(), "with": free_port()}
        words = {"without": [], "with": ["--shadow", "challenger"]}
        services = {
            name: Service(
                [sys.executable, "-m", "sentiment", "serve", "--port", str(port), *words[name]],
                f"http://127.0.0.1:{port}/health",
                core,
                SENTIMENT_OUTPUT_DIR=str(folder),
            )
            for name, port in ports.items()
        }
        try:
            while not metric(ports["with"], "sentiment_shadow_up"):
                time.sleep(0.1)
            found: dict[str, list[dict[str, float]]] = {name: [] for name in ports}
            for turn in range(-1, options.rounds):  # the first warms up
                order = list(ports)[:: 1 if turn % 2 else -1]
                for name in order:
                    url = f"http://127.0.0.1:{ports[name]}/predict"
                    before = used(services[name])
                    full = load(url, bodies, 16, options.seconds, other)
                    cpu = used(services[name]) - before
                    time.sleep(0.5)
                    paced = pace(ports[name], bodies, options.seconds, other)
                    assert not full["errors"], full
                    if turn >= 0:
                        found[name].append(
                            {
                                "requests per second, full": full["per_second"],
                                "processor, µs": 1e6 * cpu / full["requests"],
                                "p99 full, ms": full["p99_ms"],
                                "p50 paced, ms": paced["p50_ms"],
                                "p99 paced, ms": paced["p99_ms"],
                            }
                        )
                    time.sleep(0.5)
            scored = metric(ports["with"], 'sentiment_shadow_texts_total{result="scored"}')
            dropped = metric(ports["with"], "sentiment_shadow_dropped_total")
        finally:
            for service in services.values():
                service.stop()
    names = list(found["with"][0])
    document: dict[str, object] = {
        name: {key: statistics.median(turn[key] for turn in found[name]) for key in names}
        for name in found
    }
    pairs = list(zip(found["with"], found["without"], strict=True))
    # What is better when it is larger, of requests; of times, when it is smaller.
    document["with divided by without"] = {
        f"{key.split(',')[0]}{' ratio' if 'per second' in key else ''}": statistics.median(
            a[key] / b[key] for a, b in pairs
        )
        for key in names
    }
    document["share of texts that were compared"] = scored / (scored + dropped)
    if options.json:
        print(json.dumps(document))
        return
    for name, figures in document.items():
        print(name, figures if isinstance(figures, float) else "")
        for key, value in figures.items() if isinstance(figures, dict) else ():
            print(f"    {key:32}{value:12.3f}")


if __name__ == "__main__":
    main()

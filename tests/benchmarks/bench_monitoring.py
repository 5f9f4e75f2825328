"""What drift and signed prediction ids add to the processor time of a request.

The application answers real reviews in this process, without a network; each request is answered
at random with or without noting it for drift and signing its id, so that what else the machine
does falls on all alike. Parsing HTTP is left out, which makes the shares look larger than they
are. Run it as a script::

    python tests/benchmarks/bench_monitoring.py --output-dir outputs [--requests 6000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

from bench_serve import LENGTH, reviews

RATE = 2_000  # requests per second that a flush is measured for


async def answer(app: Any, body: bytes) -> int:
    """Answer one request; return the nanoseconds of processor time."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(_: dict[str, Any]) -> None:
        pass

    scope = {
        **{"type": "http", "method": "POST", "path": "/predict", "scheme": "http"},
        **{"headers": [(b"content-type", b"application/json")], "client": ("127.0.0.1", 1)},
        "query_string": b"",
    }
    started = time.thread_time_ns()
    await app(scope, receive, send)
    return time.thread_time_ns() - started


async def measure(n: int) -> dict[str, float]:
    from serve.app import from_env
    from serve.claim import Signer
    from serve.exchange import new_id
    from serve.window import FLUSH_SECONDS, DriftWindow

    app = from_env()
    texts = [text for text in reviews()[0] if LENGTH - 200 < len(text) < LENGTH + 200][:500]
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    sign, note = Signer.sign, DriftWindow.add_one
    found: dict[str, list[int]] = {"neither": [], "ids": [], "ids and drift": []}
    flushes: list[float] = []
    for number in range(n):
        kind = random.choice(list(found))
        Signer.sign = sign if kind != "neither" else lambda *_: new_id()
        DriftWindow.add_one = note if kind == "ids and drift" else lambda *_: None
        found[kind].append(await answer(app, bodies[number % len(bodies)]))
        # Counting happens in the background, as many at once as come in that time.
        waiting = len(app.shared.drift._pending)
        if waiting >= RATE * FLUSH_SECONDS:
            started = time.thread_time_ns()
            app.shared.drift.flush()
            flushes.append((time.thread_time_ns() - started) / waiting)
    medians = {kind: statistics.median(times) / 1000 for kind, times in found.items()}
    flush = statistics.median(flushes) / 1000
    bare = medians["neither"]
    return {
        "bare_us": bare,
        "ids_us": medians["ids"] - bare,
        "drift_us": medians["ids and drift"] - medians["ids"] + flush,
        "ids_share": medians["ids"] / bare - 1,
        "drift_share": (medians["ids and drift"] - medians["ids"] + flush) / bare,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"))
    parser.add_argument("--requests", type=int, default=6_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["SENTIMENT_OUTPUT_DIR"] = str(arguments.output_dir)
    os.environ["SENTIMENT_ACCESS_LOG"] = "false"
    result = asyncio.run(measure(arguments.requests))
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{'a request without either':28} {result['bare_us']:8.1f} us")
    print(f"{'signed prediction id':28} {result['ids_us']:8.1f} us {result['ids_share']:8.1%}")
    print(f"{'drift, counted':28} {result['drift_us']:8.1f} us {result['drift_share']:8.1%}")


if __name__ == "__main__":
    main()

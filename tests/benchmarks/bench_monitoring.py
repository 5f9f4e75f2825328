"""What drift and feedback cost: the service with them and without, in turns.

Both are the same service with the same model; the one without neither notes predictions for drift
nor signs their ids. Run it as a script::

    python tests/benchmarks/bench_monitoring.py --output-dir outputs [--rounds 5] [--seconds 4] [--json]

The ratio of processor time per request is the figure to trust on a machine that does other things.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

from bench_serve import LENGTH, Service, free_port, load, reviews


def serve_bare(port: int) -> None:
    """Be the service without drift and signed ids."""
    from serve import supervisor
    from serve.drift import DriftMonitor
    from serve.exchange import new_id
    from serve.feedback import Signer
    from serve.settings import load_settings

    DriftMonitor.add_one = DriftMonitor.add = lambda *_: None
    Signer.sign = lambda *_: new_id()
    supervisor.run(load_settings(port=port))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        serve_bare(arguments.bare)
        return
    environment = {
        "SENTIMENT_OUTPUT_DIR": str(arguments.output_dir),
        "SENTIMENT_ACCESS_LOG": "false",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    texts = [text for text in reviews()[0] if LENGTH - 200 < len(text) < LENGTH + 200][:500]
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    cores = sorted(os.sched_getaffinity(0))
    found: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    services: dict[str, tuple[Service, str]] = {}
    for name in found:
        port = free_port()
        command = [sys.executable, "-m", "sentiment", "serve", "--port", str(port)]
        if name == "without":
            command = [sys.executable, __file__, "--bare", str(port)]
        url = f"http://127.0.0.1:{port}"
        services[name] = Service(command, f"{url}/health", cores[0], **environment), url
    try:
        for name in found:
            load(services[name][1] + "/predict", bodies, arguments.connections, 2, cores[-1])
        for _ in range(arguments.rounds):
            for name, (service, url) in services.items():
                before = service.cpu_seconds()
                result = load(
                    url + "/predict", bodies, arguments.connections, arguments.seconds, cores[-1]
                )
                used = service.cpu_seconds() - before
                assert not result["errors"], result
                result["cpu_us"] = 1e6 * used / result["requests"]
                found[name].append(result)
    finally:
        for service, _ in services.values():
            service.stop()
    pairs = list(zip(found["with"], found["without"], strict=True))
    ratios = {
        key: statistics.median(a[key] / b[key] for a, b in pairs)
        for key in ("per_second", "cpu_us", "p99_ms")
    }
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in ratios}
        for name, runs in found.items()
    }
    if arguments.json:
        print(json.dumps({**medians, "ratio": ratios}))
        return
    print(f"{'':10} {'requests/s':>12} {'cpu us/request':>16} {'p99 ms':>8}")
    for name, row in [*medians.items(), ("ratio", ratios)]:
        digits = 3 if name == "ratio" else 1
        print(
            f"{name:10} {row['per_second']:12.{digits}f} {row['cpu_us']:16.{digits}f} "
            f"{row['p99_ms']:8.{digits}f}"
        )


if __name__ == "__main__":
    main()

"""How long clients wait while others attack the service.

A few clients ask with pauses, as clients do, and note how long each answer takes: first alone, then
beside attackers of one kind after the other, who do what they do as fast as they can. The service
has one core, everybody else another. Figures are the median and the 99th percentile of the clients,
and how many times those of the quiet before they are.

    python tests/benchmarks/bench_attack.py [--seconds 6] [--attackers 4] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from bench_serve import LENGTH, Service, free_port, make_models, reviews, start

CLIENTS = 4
PAUSE_SECONDS = 0.02
ATTACKER = ("127.0.0.2", 0)
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

Writer = asyncio.StreamWriter


def request(body: bytes, more: bytes = b"") -> bytes:
    """Return a request with its head."""
    return HEAD + more + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, Writer]]:
    """Connect from the attackers' address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=ATTACKER)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def repeated(sent: bytes) -> Callable[[int], Awaitable[None]]:
    """Return an attack that sends the same again and again."""

    async def attack(port: int) -> None:
        async with connected(port) as (reader, writer):
            while not writer.transport.is_closing():
                writer.write(sent)
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                await reader.readexactly(length)

    return attack


async def endless_head(port: int) -> None:
    """Send one field without end."""
    async with connected(port) as (_, writer):
        writer.write(HEAD + b"X-Long: ")
        while True:
            writer.write(b"a" * 16_384)
            await writer.drain()


async def single_bytes(port: int) -> None:
    """Send a body byte by byte."""
    async with connected(port) as (_, writer):
        writer.get_extra_info("socket").setsockopt(6, 1, 1)  # TCP_NODELAY
        body = b'{"text": "' + b"a" * 20_000 + b'"}'
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        for byte in body:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)


async def half_bodies(port: int) -> None:
    """Hold a hundred connections with half a body each."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(100):
            _, writer = await stack.enter_async_context(connected(port))
            writer.write(HEAD + b"Content-Length: 1000\r\n\r\n{")
        await asyncio.sleep(3600)


async def crowd(port: int) -> None:
    """Open connections and leave them idle, as many as there can be."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(1_500):
            await stack.enter_async_context(connected(port))
        await asyncio.sleep(3600)


def attacks() -> dict[str, Callable[[int], Awaitable[None]]]:
    """Return what attackers do."""
    numbers = b'{"text": "a", "x": [' + b"1," * 7_000_000 + b"1]}"
    zipped = gzip.compress(b'{"text": "' + b"a" * 15_000_000 + b'"}')
    return {
        "a head without end": endless_head,
        "bodies byte by byte": single_bytes,
        "half-sent bodies": half_bodies,
        "a crowd of idle connections": crowd,
        "14 MB of numbers that nobody reads": repeated(request(numbers)),
        "64 kB of numbers that nobody reads": repeated(request(numbers[:64_000] + b"1]}")),
        "deep JSON": repeated(request(b'{"text": "a", "x": ' + b"[" * 4_000_000)),
        "a packed bomb": repeated(request(zipped, b"Content-Encoding: gzip\r\n")),
    }


async def ask(port: int, bodies: list[bytes], seconds: float) -> None:
    """Be the clients; print how long each answer took, in milliseconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            started = time.perf_counter()
            writer.write(request(bodies[number % len(bodies)]))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            times.append(1e3 * (time.perf_counter() - started))
            number += CLIENTS
            await asyncio.sleep(PAUSE_SECONDS)
        writer.close()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    print(json.dumps(times))


async def attack_for_ever(port: int, name: str, attackers: int) -> None:
    """Be the attackers, until killed."""
    attack = attacks()[name]
    os.nice(19)  # the clients are on this core too

    async def attacker() -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
                await attack(port)
            await asyncio.sleep(0.001)

    await asyncio.gather(*(attacker() for _ in range(attackers)))


def waits(port: int, seconds: float, core: int, texts: list[str]) -> dict[str, float]:
    """Run the clients in a process of their own."""
    command = [sys.executable, __file__, "--ask", str(port), "--seconds", str(seconds)]
    process = start(command, core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = process.communicate(json.dumps(texts).encode())
    times = sorted(json.loads(out))
    return {
        "requests": len(times),
        "p50_ms": statistics.median(times),
        "p99_ms": times[int(len(times) * 0.99)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--attackers", type=int, default=4)
    parser.add_argument("--models", type=Path, help="keep the models here and use them again")
    parser.add_argument("--only", help="attacks whose name holds this")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ask", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--attack", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        bodies = [json.dumps({"text": text}).encode() for text in json.load(sys.stdin)]
        asyncio.run(ask(arguments.ask, bodies, arguments.seconds))
        return
    if arguments.attack:
        port, name = arguments.attack
        asyncio.run(attack_for_ever(int(port), name, arguments.attackers))
        return

    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    cores = sorted(os.sched_getaffinity(0))
    texts = sorted(reviews()[0][22_000:], key=lambda text: abs(len(text) - LENGTH))[:50]
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.models or Path(scratch)
        if not (folder / "outputs").exists():
            make_models(folder, 22_000)
        port = free_port()
        service = Service(
            [sys.executable, "-m", "sentiment", "serve", "--port", str(port)],
            f"http://127.0.0.1:{port}/health",
            cores[0],
            SENTIMENT_OUTPUT_DIR=str(folder / "outputs"),
        )
        waits(port, 2, cores[-1], texts)
        for name in (name for name in attacks() if (arguments.only or "") in name):
            quiet = waits(port, arguments.seconds, cores[-1], texts)
            command = [sys.executable, __file__, "--attack", str(port), name]
            attackers = start([*command, "--attackers", str(arguments.attackers)], cores[-1])
            time.sleep(1.5)  # until they are at it
            found = waits(port, arguments.seconds, cores[-1], texts)
            attackers.kill()
            attackers.wait()
            time.sleep(0.5)
            results[name] = {
                **found,
                "quiet_p99_ms": quiet["p99_ms"],
                "longer_p50": found["p50_ms"] / quiet["p50_ms"],
                "longer_p99": found["p99_ms"] / quiet["p99_ms"],
            }
        service.stop()
    if arguments.json:
        rounded = {name: {k: round(v, 3) for k, v in r.items()} for name, r in results.items()}
        print(json.dumps(rounded))
        return
    columns = ["requests", "p50_ms", "p99_ms", "quiet_p99_ms", "longer_p50", "longer_p99"]
    print(f"{'':36}" + "".join(f"{column:>14}" for column in columns))
    for name, result in results.items():
        print(f"{name:36}" + "".join(f"{result[column]:14.2f}" for column in columns))


if __name__ == "__main__":
    main()

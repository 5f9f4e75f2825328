"""Instructions of the paths that every answer takes, counted by valgrind: no clock, no noise.

    python tests/benchmarks/count_instructions.py [--write | --check]

Seconds tell little on a machine that does other work, and a path becomes slower by two percent at
a time. Here one process does each thing some times under ``callgrind``, which counts what the
processor is told to do; two runs differ by less than one percent. ``--check`` compares with
``instructions.json`` and ends with 1 where a figure has grown by more than 5 %; ``--write`` keeps
new figures there, for a change that is worth its price. Figures of another Python, NumPy or
processor family are not comparable, which is then said (exit code 3).

``callgrind`` writes what it has counted so far whenever the program calls ``getppid``
(``--dump-before``), which is how the phases of one process are told apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEPT = Path(__file__).with_name("instructions.json")
ALLOWED_GROWTH = 1.05
LENGTH = 1_300  # characters of a text
TIMES = 40


def environment() -> str:
    """Return what the figures depend on, beside the code."""
    import numpy as np

    return f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}"


def make_model(outputs: Path) -> list[str]:
    """Train a model on 2,000 embedded reviews; return other reviews, all of about one length."""
    from sklearn.linear_model import LogisticRegression

    sys.path.append(str(Path(__file__).parents[1]))  # run as a script, not by pytest
    from support.reviews import shuffled

    from sentiment.compiler.compile import compile_scorer
    from sentiment.store import save_model, set_pointer
    from sentiment.vectorizers import TfidfVectorizer

    texts, labels = zip(*shuffled(), strict=True)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    matrix = vectorizer.fit_transform(texts[:2_000])
    classifier = LogisticRegression(C=10, solver="liblinear").fit(matrix, labels[:2_000])
    compiled = compile_scorer(vectorizer, classifier, reference_texts=texts[2_000:2_500])
    stored = save_model(compiled, {}, outputs)
    set_pointer(outputs, "champion", stored.digest, source="benchmark")
    return sorted(texts[2_500:], key=lambda text: (abs(len(text) - LENGTH), text))[: 2 * TIMES]


class Wire(asyncio.Transport):
    """A client's end of a connection, in this process."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = bytearray()

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def request_sender(outputs: Path) -> Callable[[str], Any]:
    """Start the service in this process; return what sends one text and awaits the answer."""
    from uvicorn.lifespan.on import LifespanOn
    from uvicorn.server import ServerState

    from serve.process.protocol import HttpProtocol
    from serve.process.server import server_config
    from serve.settings import load_settings

    config = server_config(load_settings())
    config.load()
    lifespan = LifespanOn(config)
    await lifespan.startup()
    server_state = ServerState()
    lifespan.state["state"].tasks = server_state.tasks
    lifespan.state["state"].connections = server_state.connections
    protocol = HttpProtocol(config, server_state, lifespan.state)
    wire = Wire()
    protocol.connection_made(wire)

    async def send(text: str) -> None:
        body = json.dumps({"text": text}).encode()
        wire.written.clear()
        protocol.data_received(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        while b"\r\n\r\n{" not in wire.written:
            await asyncio.sleep(0)
        assert wire.written.startswith(b"HTTP/1.1 200"), bytes(wire.written)

    return send


async def work(folder: Path) -> None:
    """Do each thing some times; a call of ``getppid`` ends a phase."""
    from sentiment.scorer import Scorer
    from sentiment.store import resolve
    from sentiment.text.scanning import scan

    texts = json.loads((folder / "texts.json").read_text())
    warm, measured = texts[:TIMES], texts[TIMES:]
    scorer = Scorer.load(resolve("champion", folder / "outputs").path)
    spec = scorer.views[0].spec
    phases: dict[str, Callable[[list[str]], Any]] = {
        "words of one text": lambda part: [scan([text], spec) for text in part],
        "one text": lambda part: [scorer.predict_one(text) for text in part],
        "a text of many": scorer.predict,
    }
    for run in phases.values():
        run(warm)
        os.getppid()
        run(measured)
        os.getppid()
    send = await request_sender(folder / "outputs")
    # What is done every tenth of a second is not done here: it would be counted by the clock.
    loop, now = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    loop.time = lambda: now
    for part in (warm, measured):
        for text in part:
            await send(text)
        os.getppid()
    print(json.dumps([*phases, "a request to /predict"]))


def count() -> dict[str, int]:
    """Return instructions a text for each phase."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = make_model(folder / "outputs")
        (folder / "texts.json").write_text(json.dumps(texts))
        tool = ["valgrind", "--tool=callgrind", "--dump-before=getppid", "--dump-line=no"]
        done = subprocess.run(
            [*tool, f"--callgrind-out-file={folder}/out", sys.executable, __file__, "--work", name],
            check=False,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PYTHONHASHSEED": "0",
                "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:3])),
                "OPENBLAS_NUM_THREADS": "1",
                "SENTIMENT_OUTPUT_DIR": str(folder / "outputs"),
                "SENTIMENT_RELOAD_MODEL": "0",
            },
        )
        if done.returncode:
            raise SystemExit(f"{done.stdout}\n{done.stderr}")
        names = json.loads(done.stdout.splitlines()[-1])
        totals = []
        for number in range(1, 2 * len(names) + 1):
            found = re.search(
                r"^(?:summary|totals): (\d+)", (folder / f"out.{number}").read_text(), re.M
            )
            assert found is not None
            totals.append(int(found[1]))
    return {name: totals[2 * i + 1] // TIMES for i, name in enumerate(names)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the figures")
    parser.add_argument("--check", action="store_true", help="compare with those that are kept")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        asyncio.run(work(options.work))
        return
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: nothing was counted")
        raise SystemExit(3)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    here = environment()
    comparable = kept.get("environment") == here
    if options.check and not comparable:
        print(f"counted with {kept.get('environment')}, here is {here}: not comparable")
        raise SystemExit(3)
    found = count()
    grown = False
    for name, value in found.items():
        before = kept["instructions"].get(name) if comparable else None
        ratio = value / before if before else None
        grown = grown or (ratio or 0) > ALLOWED_GROWTH
        print(f"{name:24} {value:12,}" + (f"  {ratio:6.3f} of what is kept" if ratio else ""))
    if options.write:
        document = {"environment": here, "instructions": found}
        KEPT.write_text(json.dumps(document, indent=2) + "\n")
    elif options.check and grown:
        print("grown by more than 5 %: make it cheaper, or keep the new figures with --write")
        raise SystemExit(1)


if __name__ == "__main__":
    main()

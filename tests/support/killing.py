"""A training by the command line that kills itself where it is told to."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sentiment.tracking.client import import_mlflow
from sentiment.training import run
from sentiment.vectorizers.making import Sizes

# What takes long to import is so once, by the process that children are forked from: it has our
# packages on its path, but not this one.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "sentiment.cli.train",
        "sentiment.training.run",
        "sklearn.feature_extraction.text",
        "mlflow.pyfunc",
    ]
)


@dataclass
class Plan:
    """When a training kills itself: in the middle of a stage's usual time, or in a step's second part.

    Else it notes which finished blocks are made again.
    """

    stage: str = ""
    step: str = ""
    after: float = 0.0
    left: dict[str, int] = field(default_factory=dict)


@dataclass
class Ended:
    """How it ended, and what it said."""

    returncode: int | None
    stdout: str
    stderr: str


def train(words: Sequence[str], at: Path, plan: Plan, *, beside: bool = False) -> Ended:
    """Run ``sentiment train WORDS`` in a folder.

    Parameters
    ----------
    words : sequence of str
        After ``train``.
    at : Path
        The working folder.
    plan : Plan
        When it is killed.
    beside : bool
        As a shell starts it, with all imports, and with MLflow in a process beside; else it is forked.
    """
    out, err = at / "stdout", at / "stderr"
    if beside:
        program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
        with out.open("w") as stdout, err.open("w") as stderr:
            code = subprocess.run(
                [sys.executable, "-c", program, json.dumps(asdict(plan)), *words],
                check=False, cwd=at, stdout=stdout, stderr=stderr, timeout=300,
            ).returncode  # fmt: skip
        return Ended(code, out.read_text(), err.read_text())
    process = _FORKS.Process(target=_forked, args=(words, at, plan, dict(os.environ)))
    process.start()
    process.join(300)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"train {' '.join(words)} has not ended; it said:\n{err.read_text()}")
    return Ended(process.exitcode, out.read_text(), err.read_text())


def main() -> None:
    """Run the command with the plan that the first word is."""
    plan, *words = sys.argv[1:]
    _train(words, Plan(**json.loads(plan)))


def _forked(words: Sequence[str], at: Path, plan: Plan, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(at)
    for stream, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(stream, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    import_mlflow()
    _train(words, plan)


def _train(words: Sequence[str], plan: Plan) -> None:
    from sentiment.cli import main

    Sizes.within = lambda *_: Sizes(100_000, 60_000)  # type: ignore[method-assign,assignment]
    trained, now, again = run.train, [""], set[str]()

    def kill() -> None:
        Path("killed").write_text(now[0])
        os.kill(os.getpid(), signal.SIGKILL)

    def look() -> None:
        for name, before in plan.left.items():
            if Path(name).exists() and Path(name).stat().st_mtime_ns != before:
                again.add(name)

    def train(cfg: Any, *, watch: Any, progress: Any, **others: Any) -> Any:
        def watched(stage: str, seconds: float | None) -> None:
            if seconds is None:
                now[0] = stage
                if stage == plan.stage and not plan.step:
                    if plan.after < 0.05:  # over before a thread has begun
                        kill()
                    threading.Timer(plan.after, kill).start()
            look()
            watch(stage, seconds)

        def told(step: str, done: int, of: int) -> None:
            if now[0] == plan.stage and step == plan.step and done >= 2:
                kill()
            look()
            progress(step, done, of)

        try:
            return trained(cfg, watch=watched, progress=told, **others)
        finally:
            Path("again").write_text(json.dumps(sorted(again)))

    run.train = train
    sys.argv = ["sentiment", "train", *words]
    main()

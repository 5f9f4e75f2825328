"""A run that a process beside this one tells MLflow of.

MLflow takes seconds to import, and a thread would have to wait for the same interpreter: another process
imports it, opens its database and creates the run while this one loads texts and counts words. What
`Run` is told goes there through a pipe, a line of JSON for a call and one for its answer.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from sentiment.errors import SentimentError, UsageError
from sentiment.text.corpus import thread_count
from sentiment.tracking.client import import_mlflow
from sentiment.tracking.run import Experiment, Run

_LOGGER = "sentiment.tracking"
_AWAITED = ("artifacts", "end")  # files that are removed then, and what nothing follows
_PATIENCE = 10  # seconds for a process that has nothing left to do
_ERRORS: Mapping[str, type[Exception]] = {
    "UsageError": UsageError,
    "SentimentError": SentimentError,
}

log = logging.getLogger(__name__)


class Beside:
    """The other process, from its start to its end; one that has nothing to answer may be killed.

    Parameters
    ----------
    process : Popen
        Of `main`.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._in, self._out = process, process.stdin, process.stdout
        self._asked = self._answered = 0

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def experiment(self, output_dir: Path, name: str, artifacts: str | None = None) -> Experiment:
        """Begin to open an experiment there; `Experiment` says what the parameters are."""
        self.ask("open", output_dir=output_dir, name=name, artifacts=artifacts)
        return _ExperimentBeside(self)

    def ask(self, what: str, /, **values: Any) -> None:
        """Make a call there; what it gives comes with the next `answer`."""
        self._asked += 1
        with contextlib.suppress(BrokenPipeError):  # told when the answer is waited for
            self._in.write(json.dumps([self._asked, what, values], default=str).encode() + b"\n")
            self._in.flush()

    def answer(self) -> dict[str, Any]:
        """Wait until all calls are made, and return what the newest gave.

        Raises
        ------
        SentimentError
            What the first call that failed raised, or the process has ended.
        """
        failed: dict[str, Any] | None = None
        answer: dict[str, Any] = {}
        while self._answered < self._asked:
            line = self._out.readline()
            if not line:
                code = self._process.wait()
                raise SentimentError(f"the process that talks to MLflow ended with {code}")
            with contextlib.suppress(ValueError):  # the end of a line whose reading was interrupted
                answer = json.loads(line)
                self._answered = answer["number"]
                for level, words in answer["said"]:
                    log.log(level, "%s", words)
                if "error" in answer:
                    failed = failed or answer
        if failed is not None:
            reason = _ERRORS.get(failed["error"], RuntimeError)(failed["words"])
            raise reason from (OSError(*failed["cause"]) if failed["cause"] else None)
        return answer

    def close(self) -> None:
        """End the process: by itself when all was answered, else at once."""
        if not self._asked or self._answered < self._asked:
            self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._in.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()


@contextmanager
def beside() -> Iterator[Beside | None]:
    """Start a process that imports MLflow meanwhile; None where that would gain nothing."""
    if "mlflow" in sys.modules or thread_count() < 2 or not sys.executable:
        yield None
        return
    program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is ours: the run must still be ended
        )
    except OSError as error:
        log.info("MLflow is told from this process: %s", error)
        yield None
        return
    with closing(Beside(process)) as started:
        yield started


class _ExperimentBeside(Experiment):
    """An experiment that another process is opening."""

    def __init__(self, process: Beside) -> None:
        self._process = process

    def start(self, *, name: str | None, tags: Mapping[str, str]) -> Run:
        self._process.answer()  # that it is open
        self._process.ask("start", name=name, tags=dict(tags))
        started = self._process.answer()
        os.environ.pop("MLFLOW_RUN_ID", None)  # taken there
        return _RunBeside(self._process, started["value"])


class _RunBeside(Run):
    """A run whose calls another process makes."""

    def __init__(self, process: Beside, run_id: str) -> None:
        self._process = process
        self.run_id = run_id
        self.unsent = self.model_id = None

    def tell(self, kind: str, **values: Any) -> None:
        self._process.ask("tell", kind=kind, **values)
        if kind in _AWAITED:
            self._answer()

    def abandon(self, status: str, reason: str) -> None:
        self._call("abandon", status=status, reason=reason)

    def sample(self, *, begin: bool) -> None:
        self._call("sample", begin=begin)

    def newest(self, tags: Mapping[str, str]) -> str | None:
        found = self._call("newest", tags=dict(tags))
        return None if found is None else str(found)

    def fetch(self, run_id: str, name: str, folder: Path) -> Path | None:
        found = self._call("fetch", run_id=run_id, name=name, folder=folder)
        return None if found is None else Path(found)

    def _call(self, what: str, /, **values: Any) -> Any:
        self._process.ask(what, **values)
        return self._answer()

    def _answer(self) -> Any:
        answer = self._process.answer()
        self.unsent = answer["unsent"]
        return answer["value"]


def main() -> None:
    """Make the calls that come on standard input, until it ends."""
    gc.disable()  # imports make no garbage that is worth looking for
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    said: list[tuple[int, str]] = []
    logging.getLogger(_LOGGER).addHandler(_Collector(said))
    logging.getLogger(_LOGGER).propagate = False
    import_mlflow()
    for number, answer in _answers(sys.stdin.buffer):
        document = {"number": number, "said": list(said), **answer}
        said.clear()
        answers.write(json.dumps(document, default=str).encode() + b"\n")
        answers.flush()
    gc.freeze()  # else the interpreter looks through all of MLflow once more before it ends


def _answers(calls: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    experiment: Experiment | None = None
    run: Run | None = None

    def make(what: str, values: dict[str, Any]) -> Any:
        nonlocal experiment, run
        for path in ("output_dir", "files", "folder"):
            if path in values:
                values[path] = Path(values[path])
        if what == "open":
            experiment = Experiment(**values)
            experiment.open()
            return None
        if what == "start":
            assert experiment is not None
            run = experiment.start(**values)
            return run.run_id
        assert run is not None
        methods: Mapping[str, Callable[..., Any]] = {
            "tell": run.tell, "abandon": run.abandon,
            "sample": run.sample, "newest": run.newest, "fetch": run.fetch,
        }  # fmt: skip
        return methods[what](**values)

    for line in calls:
        number, what, values = json.loads(line)
        try:
            answer: dict[str, Any] = {"value": make(what, values)}
        except Exception as error:
            known = next((name for name, type_ in _ERRORS.items() if isinstance(error, type_)), "")
            words = str(error) if known else f"{type(error).__name__}: {error}"
            answer = {"error": known, "words": words, "cause": _cause(error)}
        yield number, {**answer, "unsent": None if run is None else run.unsent}
        if what == "start":  # what logs the model takes a moment, and texts are being counted
            import mlflow.pyfunc  # noqa: F401

            gc.enable()


def _cause(error: BaseException | None) -> tuple[int, str, str | None] | None:
    """Return number, words and file of what the system refused, where that is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno, error.strerror or "", error.filename
        error = error.__cause__
    return None


class _Collector(logging.Handler):
    def __init__(self, said: list[tuple[int, str]]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append((record.levelno, record.getMessage()))

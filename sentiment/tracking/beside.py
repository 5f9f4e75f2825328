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
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from sentiment.errors import SentimentError, UsageError
from sentiment.text.corpus import thread_count
from sentiment.tracking.client import connect, import_mlflow
from sentiment.tracking.origin import search_path
from sentiment.tracking.run import Experiment, Run

_LOGGER = "sentiment.tracking"
_AWAITED = ("artifacts", "end")  # files that are removed then, and what nothing follows
_PATIENCE = 10  # seconds for a process that has nothing left to do
log = logging.getLogger(__name__)


Calls = list[tuple[str, dict[str, Any]]]
"""What is asked for, and with what."""


class _EndedError(Exception):
    """The other process has ended; these calls were not answered."""

    def __init__(self, code: int, calls: Calls) -> None:
        super().__init__(f"the process that talks to MLflow ended with {code}: this one goes on")
        self.calls = calls


class Beside:
    """The other process, from its start to its end.

    Parameters
    ----------
    process : Popen
        Of `main`.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._in, self._out = process, process.stdin, process.stdout
        self._answered = 0
        self._waiting: Calls = []  # for their answers, the oldest first
        self._failed: Exception | None = None  # the first of the calls that nobody waited for
        self._started = False

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def experiment(self, output_dir: Path, name: str, artifacts: str | None = None) -> Experiment:
        """Begin to open an experiment there; `Experiment` says what the parameters are."""
        # What Hydra set since that process began is meant for it too.
        self.ask("go", environment=dict(os.environ), folder=Path.cwd())
        self.ask("open", output_dir=output_dir, name=name, artifacts=artifacts)
        return _ExperimentBeside(self, output_dir, name, artifacts)

    def ask(self, what: str, /, **values: Any) -> None:
        """Make a call there; what it gives comes with `answer`."""
        self._waiting.append((what, values))
        self._started |= what == "start"
        number = self._answered + len(self._waiting)
        with contextlib.suppress(BrokenPipeError):  # told when the answer is waited for
            self._in.write(json.dumps([number, what, values], default=str).encode() + b"\n")
            self._in.flush()

    def answer(self) -> dict[str, Any]:
        """Wait until all calls are made, and return what the newest gave, or raise what it raised.

        Raises
        ------
        _EndedError
            It will not answer any more.
        """
        answer: dict[str, Any] = {}
        error: Exception | None = None
        while self._waiting:
            line = self._out.readline()
            if not line:
                calls, self._waiting = self._waiting, []
                raise _EndedError(self._process.wait(), calls)
            with contextlib.suppress(ValueError):  # the end of a line whose reading was interrupted
                answer = json.loads(line)
                del self._waiting[: answer["number"] - self._answered]
                self._answered = answer["number"]
                for level, words in answer["said"]:
                    log.log(level, "%s", words)
                error = _error(**answer["error"]) if answer["error"] else None
                if self._waiting:
                    self._failed = self._failed or error
        if error is not None:
            raise error
        return answer

    def check(self) -> None:
        """Raise what a call raised whose answer nobody waited for."""
        error, self._failed = self._failed, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Let the process end, which also ends a run that was begun; at once where none was."""
        if not self._started:
            self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._in.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()


def _error(kind: str, words: str, cause: Sequence[Any] | None, trace: str) -> Exception:
    """Return what was raised there."""
    behind = None if cause is None else OSError(*cause)
    kinds = {"UsageError": UsageError, "SentimentError": SentimentError}
    if kind == "OSError" and behind is not None:
        error: Exception = behind
    else:
        error = kinds.get(kind, RuntimeError)(words)
        error.__cause__ = behind
    error.add_note(trace)
    return error


@contextmanager
def beside() -> Iterator[Beside | None]:
    """Start a process that imports MLflow meanwhile; None where that would gain nothing."""
    if "mlflow" in sys.modules or thread_count() < 2 or not sys.executable:
        yield None
        return
    program = f"import sys; sys.path[:] = {search_path()!r}; from {__name__} import main; main()"
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

    def __init__(self, process: Beside, output_dir: Path, name: str, artifacts: str | None) -> None:
        super().__init__(output_dir, name, artifacts)
        self._process = process

    def start(self, *, name: str | None, tags: Mapping[str, str]) -> Run:
        try:
            self._process.answer()  # that it is open
            self._process.ask("start", name=name, tags=dict(tags))
            run_id = str(self._process.answer()["value"])
        except _EndedError as error:
            log.warning("%s", error)
            return super().start(name=name, tags=tags)
        os.environ.pop("MLFLOW_RUN_ID", None)  # taken there
        return _RunBeside(self._process, run_id, self.output_dir)


class _RunBeside(Run):
    """A run whose calls another process makes, while it can."""

    def __init__(self, process: Beside, run_id: str, output_dir: Path) -> None:
        self.run_id = run_id
        self.unsent = None
        self._process = process
        self._output_dir = output_dir
        self._here: Run | None = None  # which makes them once the other process has ended

    def tell(self, kind: str, **values: Any) -> None:
        if self._here is not None or kind in _AWAITED:
            self._call("tell", kind=kind, **values)
            self._process.check()
        else:
            self._process.ask("tell", kind=kind, **values)

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
        calls: Calls = [(what, values)]
        if self._here is None:
            try:
                self._process.ask(what, **values)
                answer = self._process.answer()
                self.unsent = answer["unsent"]
                return answer["value"]
            except _EndedError as error:
                log.warning("%s", error)
                self._here = Run(connect(self._output_dir), self.run_id, self._output_dir)
                calls = error.calls
        given = [_make(self._here, *call) for call in calls]
        self.unsent = self._here.unsent
        return given[-1]


def main() -> None:
    """Make the calls that come on standard input, until it ends."""
    gc.disable()  # imports make no garbage that is worth looking for
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    said: list[tuple[int, str]] = []
    logging.getLogger(_LOGGER).addHandler(_LogCollector(said))
    logging.getLogger(_LOGGER).propagate = False
    with contextlib.suppress(Exception):  # raised when it is asked for
        import_mlflow()
    with contextlib.suppress(BrokenPipeError):
        for number, answer in _answers(sys.stdin.buffer):
            document = {"number": number, "said": list(said), **answer}
            said.clear()
            answers.write(json.dumps(document, default=str).encode() + b"\n")
            answers.flush()
    gc.freeze()  # else the interpreter looks through all of MLflow once more before it ends


def _answers(calls: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    experiment: Experiment | None = None
    run: Run | None = None
    ended = False

    def make(what: str, values: dict[str, Any]) -> Any:
        nonlocal experiment, run, ended
        if what == "go":
            os.environ.update(values["environment"])
            os.chdir(values["folder"])
        elif what == "open":
            experiment = Experiment(Path(values.pop("output_dir")), **values)
            experiment.open()
        elif what == "start":
            assert experiment is not None
            run = experiment.start(**values)
            return run.run_id
        else:
            assert run is not None
            ended |= what == "abandon" or values.get("kind") == "end"
            return _make(run, what, values)
        return None

    try:
        for line in calls:
            number, what, values = json.loads(line)
            answer: dict[str, Any] = {"value": None, "error": None}
            try:
                answer["value"] = make(what, values)
            except Exception as error:
                answer["error"] = _told(error)
            yield number, {**answer, "unsent": None if run is None else run.unsent}
            if what == "start":  # what logs the model takes a moment, and texts are being counted
                with contextlib.suppress(Exception):
                    import mlflow.pyfunc  # noqa: F401
                gc.enable()
    finally:
        # Who asked was killed, or interrupted before it knew of its run.
        if run is not None and not ended and run.unsent is None:
            with contextlib.suppress(Exception):
                run.abandon("KILLED", "the process that trained has ended")


def _make(run: Run, what: str, values: dict[str, Any]) -> Any:
    """Make a call of `_RunBeside`."""
    paths: dict[str, Any] = {
        name: Path(values[name]) for name in ("files", "folder") if name in values
    }
    methods: Mapping[str, Callable[..., Any]] = {
        "tell": run.tell, "abandon": run.abandon,
        "sample": run.sample, "newest": run.newest, "fetch": run.fetch,
    }  # fmt: skip
    return methods[what](**(values | paths))


def _told(error: Exception) -> dict[str, Any]:
    """Return an error as plain containers: see `_error`."""
    kinds: tuple[type[Exception], ...] = (UsageError, SentimentError, OSError)
    kind = next((type_.__name__ for type_ in kinds if isinstance(error, type_)), "")
    words = str(error) if kind else f"{type(error).__name__}: {error}"
    return {"kind": kind, "words": words, "cause": _cause(error), "trace": traceback.format_exc()}


def _cause(error: BaseException | None) -> tuple[int, str, str | None] | None:
    """Return number, words and file of what the system refused, where that is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno, error.strerror or "", error.filename
        error = error.__cause__
    return None


class _LogCollector(logging.Handler):
    def __init__(self, said: list[tuple[int, str]]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append((record.levelno, record.getMessage()))

"""One job of a sweep: what a launcher runs, in this process or another, and the file that tells of it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from sentiment.errors import SentimentError, UsageError
from sentiment.parent import end_with_parent
from sentiment.progress import repeating
from sentiment.sweep.status import CANCEL, REPLACED, STATUS, STOP, JobState, Status
from sentiment.tracking.tags import SWEEP

if TYPE_CHECKING:
    from sentiment.data.loading import Data
    from sentiment.tracking.run import Run

log = logging.getLogger(__name__)

PATIENCE = 180.0  # seconds that a job waits for MLflow before it begins
BEAT = 5.0  # seconds between a running job's signs of life

# The data that the last job used: jobs of one sweep mostly share them.
_loaded: dict[str, Data] = {}


class Cancelled(KeyboardInterrupt):
    """The sweep was interrupted while this job ran elsewhere, where no signal reaches it."""


@dataclass(frozen=True)
class Job:
    """The task function that a sweep hands to the launcher; small, and picklable for any of them.

    Attributes
    ----------
    folder : str
        Absolute path of the sweep's folder; a job writes to the folder of its number therein.
    parent_run_id : str
        The sweep's run in MLflow.
    keys : tuple of str
        The searched keys: they name the run.
    objective : str
        A metric of `sentiment.training.run.TrainResult`.
    deadline : float or None
        Seconds since the epoch; no job begins after it.
    stop_on_error : bool
        Whether a failure keeps further jobs from beginning.
    tags : mapping
        Tags of every run.
    process : int
        Of the sweep, on its machine: a child of it ends with it.
    """

    folder: str
    parent_run_id: str
    keys: tuple[str, ...]
    objective: str
    deadline: float | None
    stop_on_error: bool
    tags: Mapping[str, str]
    process: int

    def __call__(self, cfg: DictConfig) -> dict[str, Any]:
        """Train, and return the status; an exception would end the other jobs of some launchers."""
        from hydra.core.hydra_config import HydraConfig

        hydra = HydraConfig.get()
        folder = Path(self.folder) / str(hydra.job.num)
        words = [str(word) for word in hydra.overrides.task]
        status = Status(folder=str(folder), started=time.time())
        if os.getppid() == self.process:
            end_with_parent(self.process)
        out_of_time = self.deadline is not None and time.time() >= self.deadline
        if out_of_time or (Path(self.folder) / STOP).exists() or hydra.job.num < self._replaced():
            status.state = JobState.NOT_STARTED
            status.write(folder)
            return asdict(status)
        status.state = JobState.RUNNING
        status.write(folder)
        with _quiet(status), beating(folder):
            try:
                self._train(cfg, words, status, folder)
                status.state = JobState.FINISHED
            except Exception as error:
                log.exception("the job failed")
                status.state, status.error = JobState.FAILED, _reason(error)
                # What the config forbids it will forbid again.
                status.again = not isinstance(error, UsageError)
                if self.stop_on_error:
                    (Path(self.folder) / STOP).touch()
            except Cancelled:
                status.state = JobState.KILLED
            except BaseException:
                status.state = JobState.KILLED
                raise
            finally:
                status.seconds = time.time() - (status.started or 0)
                status.stage = ""
                status.write(folder)
        return asdict(status)

    def _replaced(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((Path(self.folder) / REPLACED).read_text())
        return 0

    def _train(self, cfg: DictConfig, words: list[str], status: Status, folder: Path) -> None:
        from sentiment.tracking import client as tracking
        from sentiment.tracking.run import Run
        from sentiment.training import run as train

        output_dir = Path(cfg.output_dir)
        own = [word for word in words if word.split("=")[0] in self.keys]

        def start() -> Run:
            client = tracking.connect(output_dir)
            with tracking.reaching(client.tracking_uri):
                experiment = tracking.experiment_id(
                    client, cfg.experiment_name, output_dir, cfg.tracking.artifacts
                )
                return Run.start(
                    client,
                    experiment,
                    name=cfg.run_name or " ".join(own) or None,
                    tags={
                        **train.run_tags(cfg),
                        **self.tags,
                        "mlflow.parentRunId": self.parent_run_id,
                        SWEEP: self.parent_run_id,
                    },
                    output_dir=output_dir,
                )

        run = patiently(start)
        status.run_id = run.run_id

        def watch(stage: str, seconds: float | None) -> None:
            if seconds is None:
                if (Path(self.folder) / CANCEL).exists():
                    raise Cancelled
                status.stage = stage
                status.write(folder)

        with run.ending():
            try:
                result = train.train(
                    cfg,
                    overrides=words,
                    watch=watch,
                    run=run,
                    data=data_of(cfg, self.folder),
                    point_latest=False,
                    draw=bool(cfg.sweep.report),
                )
            except Exception:
                # The reason must survive on another machine too.
                with contextlib.suppress(Exception):
                    run.log_text(traceback.format_exc(), "traceback.txt")
                raise
        status.objective = result.metrics.get(self.objective)
        status.metrics = result.metrics
        status.digest, status.model = result.digest, result.model


def patiently(start: Callable[[], Run]) -> Run:
    """Start a run, and wait some minutes for a server that went away.

    Raises
    ------
    SentimentError
        It has not come back.
    """
    end = time.monotonic() + PATIENCE
    pause = 1.0
    while True:
        try:
            return start()
        except UsageError:
            raise
        except SentimentError as error:
            if time.monotonic() + pause > end:
                raise
            log.info("%s; trying again for %.0f s", error, end - time.monotonic())
        time.sleep(pause)
        pause = min(pause * 2, 15.0)


def data_key(cfg: DictConfig) -> str:
    """Return what decides which rows a config loads and how they are split."""
    from sentiment.config import to_dict

    plain = to_dict(cfg)
    return json.dumps([plain["data"], plain["seed"]], sort_keys=True)


def data_of(cfg: DictConfig, sweep: str) -> Data:
    """Return the data of a config, loaded once per process for the jobs of one sweep that share it."""
    from sentiment.training.run import load

    key = f"{sweep} {data_key(cfg)}"
    if key not in _loaded:
        data = load(cfg)
        _loaded.clear()  # two data sets in memory are one too many
        _loaded[key] = data
    return _loaded[key]


@contextmanager
def _quiet(status: Status) -> Iterator[None]:
    """Keep a job's messages out of the terminal, where the table is: its log file has them."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.FileHandler):
            status.log = handler.baseFilename
        elif type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
    collector = _WarningCollector(status.warnings)
    root.addHandler(collector)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(collector)


def beating(folder: Path, seconds: float = BEAT) -> AbstractContextManager[None]:
    """Touch ``status.json`` now and then: who reads it on another machine cannot see the process."""

    def beat() -> None:
        with contextlib.suppress(OSError):
            os.utime(folder / STATUS)

    return repeating(beat, seconds)


class _WarningCollector(logging.Handler):
    """Collects warnings, each once."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            message = record.getMessage().splitlines()[0]
            if message not in self._messages:
                self._messages.append(message)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, UsageError) else f"{type(error).__name__}: {text}"


def thread_limits(n_jobs: int) -> dict[str, str]:
    """Return environment variables that give each of ``n_jobs`` processes its share of the cores.

    They must be set before a process imports numpy or polars; joblib's `cpu_count`, which our
    own threads ask, follows ``LOKY_MAX_CPU_COUNT``.
    """
    from joblib import cpu_count

    share = str(max(1, cpu_count() // n_jobs))
    names = (
        "POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
        "LOKY_MAX_CPU_COUNT",
    )  # fmt: skip
    return {name: os.environ.get(name, share) for name in names}

"""Launches: jobs handed to one of Hydra's launchers, and seen through whatever it does."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from sentiment import config
from sentiment.errors import SentimentError
from sentiment.files import write_whole
from sentiment.sweep.board import Board, Entry
from sentiment.sweep.job import Job, thread_limits
from sentiment.sweep.record import SweepRun
from sentiment.sweep.status import REPLACED, STATUS, STOP, JobState, Status
from sentiment.tracking.origin import search_path

log = logging.getLogger(__name__)

_BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
_JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
_RAY = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
# Jobs handed to local processes at once; models that nobody needs are removed between batches.
_BATCH = 50
# Seconds without a sign of life after which a job on another machine is taken for dead.
SILENCE = 60.0


class Launches:
    """Runs a sweep's jobs.

    Parameters
    ----------
    hydra_context : HydraContext
    config : DictConfig
        As Hydra gave it to the sweeper: the launcher and the node ``sweep``.
    board : Board
        All jobs.
    record : SweepRun
        Opened.
    folder : Path
        Of the sweep.
    deadline : float or None
        Seconds since the epoch; no job begins after it.
    """

    def __init__(
        self,
        hydra_context: HydraContext,
        config: DictConfig,
        board: Board,
        record: SweepRun,
        folder: Path,
        deadline: float | None,
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.board = board
        self.record = record
        self.folder = folder
        self.deadline = deadline
        self._launcher: Launcher | None = None
        self._launched = 0
        target = str(config.hydra.launcher._target_)
        self._target = _JOBLIB if target == _BASIC and config.sweep.jobs != 1 else target
        self._config = config
        if self._target == _JOBLIB:
            self._config = self._with_processes()
        elif self._target == _RAY:
            self._config = self._with_memory_of_the_cluster()

    def out_of_time(self) -> bool:
        """Tell whether no job may begin any more."""
        return self.deadline is not None and time.time() >= self.deadline

    @property
    def batch_size(self) -> int | None:
        """How many jobs one launch gets; None for all, which a cluster's queue likes best."""
        return {_BASIC: 1, _JOBLIB: max(_BATCH, 10 * self.config.sweep.jobs)}.get(self._target)

    def run(self, entries: list[Entry]) -> None:
        """Launch the entries, and those that failed again as often as allowed."""
        while entries:
            self._launch(entries)
            again = [
                entry
                for entry in entries
                if entry.status.state == JobState.FAILED
                and entry.status.again
                and entry.status.attempts <= self.config.sweep.retries
            ]
            if not again or self.out_of_time():
                return
            # A failure that is tried again has not stopped the sweep yet.
            (self.folder / STOP).unlink(missing_ok=True)
            entries = again + [
                entry for entry in entries if entry.status.state == JobState.NOT_STARTED
            ]

    def _launch(self, entries: list[Entry]) -> None:
        """Run the entries; when a process dies and takes its launch along, go on with the rest."""
        begun = self._target != _JOBLIB  # processes of this machine are started once more
        while entries and (crash := self._launch_once(entries)) is not None:
            left = self._left_by(crash, entries)
            for entry in left:  # which has not been tried
                entry.status.attempts -= 1
            if (self.folder / STOP).exists() or self.out_of_time():
                for entry in left:
                    entry.status.state = JobState.NOT_STARTED
                return
            if len(left) == len(entries):
                if begun:
                    self._give_up(crash, left)
                    return
                begun = True
            entries = left
        for entry in entries:
            if entry.status.state == JobState.RUNNING:
                self._mark_dead(entry, "no reason is known")
            elif entry.status.state == JobState.WAITING:
                entry.status.state = JobState.FAILED
                entry.status.error = "the launcher did not run it"

    def _left_by(self, crash: Exception, entries: list[Entry]) -> list[Entry]:
        """Wait for what a crash has left running, and return the entries that never began."""
        if self.config.sweep.on_error == "stop":
            (self.folder / STOP).touch()
        if self._target not in (_BASIC, _JOBLIB):
            outlast(entries, self.board, self.folder / REPLACED, self._launched)
        for entry in entries:
            if entry.status.state == JobState.RUNNING:
                self._mark_dead(entry, str(crash))
        self.record.end_dead_runs("FAILED")
        return [
            entry
            for entry in entries
            if entry.status.state in (JobState.WAITING, JobState.NOT_STARTED)
        ]

    def _give_up(self, crash: Exception, left: list[Entry]) -> None:
        """Take for failed what no launch begins; a sweep in which nothing ever ran ends with the crash."""
        if not any(entry.status.ended for entry in self.board.entries):
            raise crash
        for entry in left:
            entry.status.state, entry.status.error = JobState.FAILED, str(crash)

    def _mark_dead(self, entry: Entry, reason: str) -> None:
        entry.status.state, entry.status.again = JobState.FAILED, True
        entry.status.error = f"its process died: {reason}"
        self.record.end_run(entry.status.run_id)

    def _launch_once(self, entries: list[Entry]) -> Exception | None:
        """Launch and wait; return what the launcher raised."""
        first = self._launched
        self._launched += len(entries)
        for number, entry in enumerate(entries, start=first):
            entry.status = Status(attempts=entry.status.attempts + 1)
            entry.folder = self.folder / str(number)
            (entry.folder / STATUS).unlink(missing_ok=True)
        job = Job(
            folder=str(self.folder),
            parent_run_id=self.record.run.run_id,
            keys=self.board.keys,
            objective=self.board.objective,
            deadline=self.deadline,
            stop_on_error=self.config.sweep.on_error == "stop",
            tags=self.record.git,
            process=os.getpid(),
        )
        crash = None
        try:
            returned = self._set_up_launcher(job).launch(
                [entry.words for entry in entries], initial_job_idx=first
            )
        except Exception as error:
            crash, returned = error, []
            if not isinstance(error, SentimentError):
                crash = SentimentError(_in_one_line(error))
                crash.__cause__ = error
            log.warning("the launcher failed: %s", crash)
        self.board.refresh()
        # On a cluster without a shared folder the statuses come back this way alone.
        for entry, result in zip(entries, returned, strict=False):
            value = result._return_value
            if entry.status.state == JobState.WAITING and isinstance(value, dict):
                entry.status = Status(**{**value, "attempts": entry.status.attempts})
            elif isinstance(value, Exception) and not entry.status.ended:
                entry.status.state, entry.status.error = JobState.FAILED, str(value)
        return crash

    def _set_up_launcher(self, job: Job) -> Launcher:
        from hydra.core.plugins import Plugins

        if self._launcher is None:
            self._launcher = Plugins.instance().instantiate_launcher(
                hydra_context=self.hydra_context, task_function=job, config=self._config
            )
        self._launcher.setup(
            hydra_context=self.hydra_context, task_function=job, config=self.config
        )
        return self._launcher

    def _with_processes(self) -> DictConfig:
        """Return the config with Hydra's joblib launcher and a number of processes."""
        from hydra_plugins.hydra_joblib_launcher.config import (  # type: ignore[import-untyped]
            JobLibLauncherConf,
        )
        from joblib import effective_n_jobs

        chosen = self.config.copy()
        with open_dict(chosen.hydra):
            if chosen.hydra.launcher._target_ == _BASIC:
                chosen.hydra.launcher = OmegaConf.structured(JobLibLauncherConf)
                chosen.hydra.launcher.batch_size = "1"
            if self.config.sweep.jobs != 1:
                chosen.hydra.launcher.n_jobs = self.config.sweep.jobs
            chosen.hydra.launcher.n_jobs = effective_n_jobs(chosen.hydra.launcher.n_jobs)
        return chosen

    def _with_memory_of_the_cluster(self) -> DictConfig:
        """Return the config without the object store's size, which Hydra's Ray launcher gives by default.

        Ray refuses it where a cluster runs already.
        """
        chosen = self.config.copy()
        with open_dict(chosen.hydra):
            init = chosen.hydra.launcher.ray.init
            if init.get("address") not in (None, "local"):
                init.setdefault("object_store_memory", None)
        return chosen

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Give the processes of other launchers our plugin's place, and local ones their cores."""
        if self._target == _BASIC:
            yield
            return
        paths = [config.PLUGINS, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        changes = {"PYTHONPATH": os.pathsep.join(filter(None, dict.fromkeys(paths)))}
        if self._target == _JOBLIB:
            changes |= thread_limits(int(self._config.hydra.launcher.n_jobs))
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        places = sys.path[:]
        sys.path[:] = search_path()  # processes of joblib search where this one does
        try:
            yield
        finally:
            sys.path[:] = places
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _in_one_line(error: Exception) -> str:
    """Return what a launcher raised, with the reason that another process gave for it."""
    said = f"{type(error).__name__}: {error}"
    if error.__cause__ is not None:  # joblib's holds the other process's traceback as its text
        reason = str(error.__cause__).strip().strip('"').strip().splitlines()
        said = f"{said[:300]} ({reason[-1] if reason else type(error.__cause__).__name__})"
    return " ".join(said.split())[:500]


def outlast(
    entries: list[Entry], board: Board, replaced: Path, launched: int, *, silence: float = SILENCE
) -> None:
    """Wait for jobs that go on elsewhere: their launcher gave up when one of them died.

    When none runs any more, those that have not begun are told that they never shall; what begins
    at the same moment, or has begun unseen by a slow network file system, is waited for too.

    Parameters
    ----------
    entries : list of Entry
        The jobs of that launch.
    board : Board
        Reads their status.
    replaced : Path
        The file that tells them.
    launched : int
        Above their numbers.
    silence : float
        Seconds after which a job that gives no sign of life counts as dead.
    """
    seen: dict[int, tuple[int, float]] = {}
    quiet: float | None = None
    while True:
        board.refresh()
        now = time.monotonic()
        alive = False
        for entry in entries:
            if entry.status.state == JobState.RUNNING and entry.folder is not None:
                beat = Status.beat(entry.folder)
                if entry.job not in seen or beat != seen[entry.job][0]:
                    seen[entry.job] = beat, now
                alive |= now - seen[entry.job][1] < silence
        if alive:
            quiet = None
        elif quiet is None:
            quiet = now
            write_whole(replaced, str(launched))
        elif now - quiet >= silence or all(
            entry.status.state != JobState.WAITING for entry in entries
        ):
            return
        time.sleep(1)

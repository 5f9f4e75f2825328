"""Multirun: one Hydra Sweeper that shares work, survives failure and ends with an answer.

Hydra composes, a launcher runs the jobs here, in processes or on a cluster; this decides which jobs,
skips what is done, tries again what failed, stops in time, and ranks the results.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from sentiment import config
from sentiment.board import Board, Entry
from sentiment.errors import SentimentError, UsageError, nearest
from sentiment.job import CANCEL, REPLACED, STOP, Job, Status, data_key, splits_of, thread_limits
from sentiment.outcome import Outcome
from sentiment.search import (
    Assignment,
    Fixed,
    Optuna,
    Search,
    Space,
    distributions,
    grid,
    paired,
    word_of,
)

log = logging.getLogger(__name__)

_BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
_JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
# Seconds without a sign of life after which a job on another machine is taken for dead.
_SILENCE = 60.0
# Jobs handed to local processes at once; models that nobody needs are removed between batches.
_BATCH = 50
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

Composed = tuple[Entry, DictConfig]


class Task:
    """What Hydra is handed as its task: takes the display in, and the summary out.

    Parameters
    ----------
    show : callable, optional
        Given the board, returns a context manager that shows it while jobs run.
    """

    def __init__(self, show: Callable[[Board], AbstractContextManager[Any]] | None = None) -> None:
        self.show = show or (lambda _board: nullcontext())
        self.summary: dict[str, Any] | None = None

    def __call__(self, cfg: DictConfig) -> None:
        """Train, when another sweeper than ours was chosen."""
        from sentiment.train import train

        train(cfg, point_latest=False)


class Sweep(Sweeper):
    """Hydra's sweeper of this project; ``hydra/sweeper=sentiment`` is the default.

    Parameters
    ----------
    params : mapping, optional
        A search space in a file: key to Hydra's sweep syntax.
    """

    hydra_context: HydraContext
    config: DictConfig

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self.params = dict(params or {})

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra gives; called once before `sweep`."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config
        self._launcher: Launcher | None = None
        self._launched = 0

    def sweep(self, arguments: list[str]) -> dict[str, Any]:
        """Run the sweep that the overrides describe, and return its summary.

        Raises
        ------
        UsageError
            If settings, space, objective or data are wrong; nothing has run then.
        """
        task = self.task_function if isinstance(self.task_function, Task) else Task()
        settings = self.config.sweep
        budget = check(settings)
        self.space = Space.parse(self.params, arguments, self.hydra_context.config_loader)
        self.folder = Path(str(self.config.hydra.sweep.dir)).resolve()
        self.board = Board(
            keys=self.space.keys, objective=settings.objective, maximize=_maximize(settings)
        )
        search: Search | None = None
        waiting: list[Composed] = []
        if settings.method != "optuna":
            search = (grid if settings.method == "grid" else paired)(self.space, settings.trials)
            # All are composed before the first runs: a wrong word in the last costs no time.
            waiting = [self._compose_job(assignment) for assignment in search.ask(None)]
        else:
            distributions(self.space)
        default = waiting[0][1] if waiting else self._compose(self.space.fixed)
        self.outcome = Outcome(
            self.board, self.space, settings, default, self.folder, self._compose
        )
        if settings.dry_run:
            task.summary = self.outcome.planned()
            return task.summary
        self._check_objective([cfg for _, cfg in waiting] or [default])
        self.outcome.open()
        self.deadline = None if budget is None else time.time() + budget
        state = "finished"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(self.config, self.folder / "multirun.yaml")
            search = search or self._optuna(default)
            self.board.total = search.total
            with terminable(), self._environment(), task.show(self.board):
                self._work(search, waiting)
        except KeyboardInterrupt as interrupt:
            state = "terminated" if isinstance(interrupt, Terminated) else "interrupted"
            # For jobs that wait in a cluster's queue, or run there.
            (self.folder / STOP).touch()
            (self.folder / CANCEL).touch()
        except BaseException:
            self.outcome.abandon()
            raise
        task.summary = self.outcome.close(state)
        return task.summary

    def _words(self, assignment: Assignment) -> list[str]:
        return [*self.space.fixed, *(f"{key}={word}" for key, word in assignment)]

    def _compose(self, words: Sequence[str]) -> DictConfig:
        """Return a job's config without Hydra's own node."""
        try:
            cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(words))
        except Exception as error:
            raise config.explain_error(error, words) from error
        with open_dict(cfg):
            cfg.pop("hydra")
        return cfg

    def _compose_job(self, assignment: Assignment) -> Composed:
        words = self._words(assignment)
        cfg = self._compose(words)
        return self.board.add(assignment, words, config.content_hash(cfg)), cfg

    def _check_objective(self, configs: Sequence[DictConfig]) -> None:
        """Refuse data that cannot be loaded and an objective that no job will have."""
        objective = str(self.config.sweep.objective)
        splits, first_error = None, None
        for cfg in {data_key(cfg): cfg for cfg in configs}.values():
            try:
                splits = splits_of(cfg, str(self.folder))
                break
            except SentimentError as error:  # of one job, maybe: the others may be good
                first_error = first_error or error
        if splits is None:
            assert first_error is not None
            raise first_error
        if not len(splits.val):
            raise UsageError(
                f"sweep.objective={objective} needs a validation split: data.val_size=0.1"
            )
        known = metric_names(splits.classes)
        if objective not in known:
            raise UsageError(
                f"sweep.objective={objective!r} is no metric of the validation split"
                f"{nearest(objective, known)} (metrics: {', '.join(known)})"
            )

    def _optuna(self, default: DictConfig) -> Optuna:
        settings = self.config.sweep
        plain = config.flatten(config.to_dict(default))
        choices = self.config.hydra.runtime.choices
        defaults = {
            key: word_of(plain.get(key.lstrip("+"), choices.get(key))) for key in self.space.keys
        }
        return Optuna(
            self.space,
            defaults=defaults,
            database=Path(default.output_dir) / "optuna.db",
            name=f"{default.experiment_name} {settings.objective} {self.outcome.run.run_id}",
            maximize=self.board.maximize,
            trials=settings.trials,
            batch=settings.jobs,
            seed=int(default.seed),
        )

    def _work(self, search: Search, waiting: list[Composed]) -> None:
        """Ask, skip, launch and tell until the search is over or something ends it."""
        done = self.outcome.done_before() if self.config.sweep.resume else {}
        size = search.batch or self._batch_size()
        while not self._stopped():
            if isinstance(search, Fixed):
                batch, waiting = waiting[:size], waiting[size or len(waiting) :]
            else:
                batch = [self._compose_job(assignment) for assignment in search.ask(size)]
            if not batch:
                break
            keys = {}
            if done or not isinstance(search, Fixed):
                keys = {entry.job: self._result_key(entry, cfg) for entry, cfg in batch}
            for entry, _ in batch:
                if keys.get(entry.job) in done:
                    entry.status = done[keys[entry.job]]
            self._attempt([entry for entry, _ in batch if entry.status.state == "waiting"])
            for entry, _ in batch:
                search.tell(entry.assignment, entry.status.objective)
                if entry.job in keys and entry.status.state == "finished":
                    done[keys[entry.job]] = reused(entry.status)
            self.outcome.remove_models()
        for entry, _ in waiting:
            entry.status.state = "not started"

    def _result_key(self, entry: Entry, cfg: DictConfig) -> tuple[str, str]:
        try:
            return entry.config_hash, splits_of(cfg, str(self.folder)).fingerprint()
        except SentimentError:  # the job itself will say so
            return entry.config_hash, ""

    def _stopped(self) -> bool:
        return self._out_of_time() or (self.folder / STOP).exists()

    def _out_of_time(self) -> bool:
        return self.deadline is not None and time.time() >= self.deadline

    def _attempt(self, entries: list[Entry]) -> None:
        """Launch the entries, and those that failed again as often as allowed."""
        while entries:
            self._launch(entries)
            again = [
                entry
                for entry in entries
                if entry.status.state == "failed"
                and entry.status.again
                and entry.status.attempts <= self.config.sweep.retries
            ]
            if not again or self._out_of_time():
                return
            # A failure that is tried again has not stopped the sweep yet.
            (self.folder / STOP).unlink(missing_ok=True)
            entries = again + [entry for entry in entries if entry.status.state == "not started"]

    def _launch(self, entries: list[Entry]) -> None:
        """Run the entries; when a process dies and takes its launch along, go on with the rest."""
        while entries:
            crash = self._launch_once(entries)
            if crash is not None and self._launcher_target() not in (_BASIC, _JOBLIB):
                self._outlast(entries)
            for entry in entries:
                if entry.status.state == "running":
                    entry.status.state, entry.status.again = "failed", True
                    entry.status.error = f"its process died: {crash or 'no reason is known'}"
                    self.outcome.end_run(entry.status.run_id)
            left = [entry for entry in entries if entry.status.state == "waiting"]
            if crash is None:
                for entry in left:
                    entry.status.state = "failed"
                    entry.status.error = "the launcher did not run it"
                return
            self.outcome.end_dead_runs("FAILED")
            if len(left) == len(entries):
                raise crash
            if self.config.sweep.on_error == "stop":
                (self.folder / STOP).touch()
            (self.folder / REPLACED).write_text(str(self._launched))
            entries = left

    def _outlast(self, entries: list[Entry]) -> None:
        """Wait for jobs that go on elsewhere: their launcher gave up when one of them died."""
        seen: dict[int, tuple[int, float]] = {}
        alive = True
        while alive:
            self.board.refresh()
            alive = False
            for entry in entries:
                if entry.status.state == "running" and entry.folder is not None:
                    beat, now = Status.beat(entry.folder), time.monotonic()
                    if entry.job not in seen or beat != seen[entry.job][0]:
                        seen[entry.job] = beat, now
                    alive |= now - seen[entry.job][1] < _SILENCE
            time.sleep(1)

    def _launch_once(self, entries: list[Entry]) -> Exception | None:
        """Launch and wait; return what the launcher raised."""
        first = self._launched
        self._launched += len(entries)
        for number, entry in enumerate(entries, start=first):
            entry.status = Status(attempts=entry.status.attempts + 1)
            entry.folder = self.folder / str(number)
        job = Job(
            folder=str(self.folder),
            parent_run_id=self.outcome.run.run_id,
            keys=self.space.keys,
            objective=self.board.objective,
            deadline=self.deadline,
            stop_on_error=self.config.sweep.on_error == "stop",
            tags=self.outcome.git,
        )
        crash = None
        try:
            returned = self._set_up_launcher(job).launch(
                [entry.words for entry in entries], initial_job_idx=first
            )
        except Exception as error:
            crash, returned = error, []
            if not isinstance(error, SentimentError):
                crash = SentimentError(" ".join(f"{type(error).__name__}: {error}".split())[:500])
                crash.__cause__ = error
            log.warning("the launcher failed: %s", crash)
        self.board.refresh()
        # On a cluster without a shared folder the statuses come back this way alone.
        for entry, result in zip(entries, returned, strict=False):
            value = result._return_value
            if entry.status.state == "waiting" and isinstance(value, dict):
                entry.status = Status(**{**value, "attempts": entry.status.attempts})
            elif isinstance(value, Exception) and not entry.status.ended:
                entry.status.state, entry.status.error = "failed", str(value)
        return crash

    def _launcher_target(self) -> str:
        target = str(self.config.hydra.launcher._target_)
        return _JOBLIB if target == _BASIC and self.config.sweep.jobs != 1 else target

    def _batch_size(self) -> int | None:
        """Return how many jobs one launch gets; None for all, which a cluster's queue likes best."""
        return {_BASIC: 1, _JOBLIB: max(_BATCH, 10 * self.config.sweep.jobs)}.get(
            self._launcher_target()
        )

    def _set_up_launcher(self, job: Job) -> Launcher:
        from hydra.core.plugins import Plugins

        if self._launcher is None:
            self._launcher = Plugins.instance().instantiate_launcher(
                hydra_context=self.hydra_context, task_function=job, config=self._launch_config
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

    @contextmanager
    def _environment(self) -> Iterator[None]:
        """Give the processes of other launchers our plugin's place, and local ones their cores."""
        target = self._launcher_target()
        self._launch_config = self._with_processes() if target == _JOBLIB else self.config
        if target == _BASIC:
            yield
            return
        paths = [config.PLUGINS, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        changes = {"PYTHONPATH": os.pathsep.join(filter(None, dict.fromkeys(paths)))}
        if target == _JOBLIB:
            changes |= thread_limits(int(self._launch_config.hydra.launcher.n_jobs))
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def reused(status: Status) -> Status:
    """Return the status of a job whose result another run has."""
    return Status(
        state="reused", run_id=status.run_id, objective=status.objective, metrics=status.metrics,
        digest=status.digest, model=status.model, seconds=status.seconds,
    )  # fmt: skip


def check(settings: DictConfig) -> float | None:
    """Check the ``sweep`` node and return the time budget in seconds.

    Raises
    ------
    UsageError
        Naming every wrong value at once.
    """
    wrong = []
    for key, options in (
        ("method", ("grid", "paired", "optuna")),
        ("on_error", ("continue", "stop")),
        ("keep_models", ("best", "all")),
        ("direction", (None, "maximize", "minimize")),
    ):
        value = settings[key]
        if value not in options:
            names = [option for option in options if option]
            hint = nearest(str(value), names)
            wrong.append(f"sweep.{key}={value} is not one of {', '.join(names)}{hint}")
    if settings.jobs < 1 and settings.jobs != -1:
        wrong.append(f"sweep.jobs={settings.jobs}: give 1 or more, or -1 for all cores")
    if settings.trials is not None and settings.trials < 1:
        wrong.append(f"sweep.trials={settings.trials}: give 1 or more")
    if settings.retries < 0:
        wrong.append(f"sweep.retries={settings.retries}: give 0 or more")
    objective = str(settings.objective)
    if objective.startswith("test_"):
        wrong.append(
            f"sweep.objective={objective}: the test split is never used to choose, or its figures "
            f"would be too good; use val_{objective.removeprefix('test_')}"
        )
    elif not objective.startswith("val_"):
        known = metric_names(("a", "b"))
        hint = nearest(f"val_{objective}", known)
        wrong.append(f"sweep.objective={objective!r} is no metric of the validation split{hint}")
    budget = None
    if settings.time_budget is not None:
        text = str(settings.time_budget).strip().lower()
        if re.fullmatch(r"(\d+(\.\d+)?[smhd]?)+", text):
            parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
            budget = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        else:
            wrong.append(f"sweep.time_budget={text}: give a time such as 90s, 10m or 1h30m")
    if wrong:
        raise UsageError("; ".join(wrong))
    return budget


def _maximize(settings: DictConfig) -> bool:
    from sentiment.evaluate import LOWER_IS_BETTER

    if settings.direction is not None:
        return bool(settings.direction == "maximize")
    return str(settings.objective).removeprefix("val_") not in LOWER_IS_BETTER


def metric_names(classes: Sequence[str]) -> list[str]:
    """Return the validation metrics that a run with these classes has."""
    import numpy as np

    from sentiment.evaluate import evaluate

    metrics = evaluate(classes, np.eye(len(classes)), classes, n_bootstrap=1)
    return [f"val_{name}" for name in metrics]


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a sweep as Ctrl-C does."""


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into `Terminated` within the body; only the main thread can."""

    def handle(_signal: int, _frame: Any) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, handle)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

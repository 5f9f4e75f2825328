"""Multirun: one Hydra Sweeper that shares work, survives failure and ends with an answer.

Hydra composes, a launcher runs the jobs here, in processes or on a cluster; this decides which jobs,
skips what is done, tries again what failed, stops in time, and ranks the results.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from sentiment import config
from sentiment.errors import SentimentError, UsageError, nearest
from sentiment.groups import CHOICES, CONFIG_DIR
from sentiment.sweep.board import Board, Entry
from sentiment.sweep.job import data_key, data_of
from sentiment.sweep.keep import remove_models
from sentiment.sweep.launcher import Launches
from sentiment.sweep.record import SweepRun
from sentiment.sweep.search import (
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
from sentiment.sweep.status import CANCEL, MARKERS, STOP, JobState, Status, SweepState
from sentiment.sweep.summary import SweepSummary

log = logging.getLogger(__name__)

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
        from sentiment.training.run import train

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
        sources = self.config.hydra.runtime.config_sources
        folders = [
            source.path
            for source in sources
            if source.provider in ("main", "command-line") and Path(source.path) != CONFIG_DIR
        ]
        summary = SweepSummary(
            self.board, self.space, settings, default, self.folder, self._compose, folders
        )
        if settings.dry_run:
            task.summary = summary.planned()
            return task.summary
        self._check_objective([cfg for _, cfg in waiting] or [default])
        self.record = SweepRun(self.board, self.space, settings, default, self.folder)
        deadline = None if budget is None else time.time() + budget
        state = SweepState.FINISHED
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for marker in MARKERS:  # of an earlier sweep that was told to use the same folder
                (self.folder / marker).unlink(missing_ok=True)
            self.launches = Launches(
                self.hydra_context, self.config, self.board, self.record, self.folder, deadline
            )
            OmegaConf.save(self.config, self.folder / "multirun.yaml")
            search = search or self._optuna(default)
            self.board.total = search.total
            with terminable(), self.launches.environment(), task.show(self.board):
                self._work(search, waiting)
        except KeyboardInterrupt as interrupt:
            terminated = isinstance(interrupt, Terminated)
            state = SweepState.TERMINATED if terminated else SweepState.INTERRUPTED
            self._end_jobs()
        except BaseException:
            self._end_jobs()
            self.record.abandon()
            raise
        task.summary = self._close(state, summary)
        return task.summary

    def _close(self, state: SweepState, summary: SweepSummary) -> dict[str, Any]:
        """End what is still open, rank the results, draw them and log the answer."""
        self.board.close()
        with self.record.though_away():
            self.record.end_dead_runs("KILLED")
        self._remove_models()
        document = summary.document(state, self.record)
        artifacts = [self.folder / "sweep.json", self.folder / "search.html"]
        artifacts[0].write_text(json.dumps(document, indent=1), encoding="utf-8")
        if not summary.write_search(artifacts[1]):
            artifacts.pop()
        best = self.board.best()
        written = self.config.sweep.report  # by the job itself
        if best is not None and best.status.state == JobState.FINISHED and not written:
            with self.record.though_away():
                summary.write_report(best, self.record)
        self.record.end(state, artifacts)
        return document

    def _remove_models(self) -> None:
        if self.config.sweep.keep_models != "all":
            remove_models(self.board, self.record.output_dir)

    def _end_jobs(self) -> None:
        """End jobs that wait in a cluster's queue, or run there, where no signal reaches them."""
        with contextlib.suppress(OSError):
            for marker in (STOP, CANCEL):
                (self.folder / marker).touch()

    def _words(self, assignment: Assignment) -> list[str]:
        folds = self.config.sweep.cv
        judged = [] if folds is None else [f"cv={folds}"]
        return [*self.space.fixed, *judged, *(f"{key}={word}" for key, word in assignment)]

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
                splits = data_of(cfg, str(self.folder)).splits
                break
            except SentimentError as error:  # of one job, maybe: the others may be good
                first_error = first_error or error
        if splits is None:
            assert first_error is not None
            raise first_error
        if not len(splits.val) and all(cfg.cv is None for cfg in configs):
            raise UsageError(
                f"sweep.objective={objective} needs a validation split: data.val_size=0.1"
            )
        own = [f"val_{name}" for name in self.config.metrics]
        known = [*metric_names(splits.classes), *own]
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
            name=f"{default.experiment_name} {settings.objective} {self.record.run.run_id}",
            maximize=self.board.maximize,
            trials=settings.trials,
            batch=settings.jobs,
            seed=int(default.seed),
        )

    def _work(self, search: Search, waiting: list[Composed]) -> None:
        """Ask, skip, launch and tell until the search is over or something ends it."""
        done = self.record.done_before() if self.config.sweep.resume else {}
        if isinstance(search, Optuna):
            self._recall(search, done)
        size = search.batch or self.launches.batch_size
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
            self.launches.run(
                [entry for entry, _ in batch if entry.status.state == JobState.WAITING]
            )
            for entry, _ in batch:
                search.tell(entry.assignment, entry.status.objective)
                if entry.job in keys and entry.status.state == JobState.FINISHED:
                    done[keys[entry.job]] = reused(entry.status)
            self._remove_models()
        for entry, _ in waiting:
            entry.status.state = JobState.NOT_STARTED

    def _recall(self, search: Optuna, done: Mapping[tuple[str, str], Status]) -> None:
        """Put the results of a continued study on the board: they are in the ranking too."""
        for assignment in search.known:
            entry, cfg = self._compose_job(assignment)
            earlier = done.get(self._result_key(entry, cfg))
            if earlier is None:  # of other code or data
                self.board.entries.remove(entry)
            else:
                entry.status = earlier
        self.board.total = len(self.board.entries) + search.total

    def _result_key(self, entry: Entry, cfg: DictConfig) -> tuple[str, str]:
        try:
            return entry.config_hash, data_of(cfg, str(self.folder)).splits.fingerprint()
        except SentimentError:  # the job itself will say so
            return entry.config_hash, ""

    def _stopped(self) -> bool:
        return self.launches.out_of_time() or (self.folder / STOP).exists()


def reused(status: Status) -> Status:
    """Return the status of a job whose result another run has."""
    return Status(
        state=JobState.REUSED, run_id=status.run_id, objective=status.objective, metrics=status.metrics,
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
    for key, names in CHOICES.items():
        group, _, name = key.partition(".")
        if group != "sweep":
            continue
        value = settings[name]
        if value not in names and not (value is None and name == "direction"):
            hint = nearest(str(value), names)
            wrong.append(f"{key}={value} is not one of {', '.join(names)}{hint}")
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
    from sentiment.evaluation.metrics import LOWER_IS_BETTER

    if settings.direction is not None:
        return bool(settings.direction == "maximize")
    return str(settings.objective).removeprefix("val_") not in LOWER_IS_BETTER


def metric_names(classes: Sequence[str]) -> list[str]:
    """Return the validation metrics that a run with these classes has."""
    import numpy as np

    from sentiment.evaluation.metrics import evaluate

    metrics = evaluate(classes, np.eye(len(classes)), classes, draws=1)
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

"""A sweep's run in MLflow: what it is, what earlier runs already have, how it ends."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sentiment.errors import Parameter, SentimentError, UsageError
from sentiment.sweep.board import Board
from sentiment.sweep.search import Space
from sentiment.sweep.status import JobState, Status, SweepState
from sentiment.tracking.tags import (
    BEST_OVERRIDES,
    BEST_RUN,
    CODE_HASH,
    COMMAND,
    CONFIG_HASH,
    DATA_FINGERPRINT,
    DIGEST,
    FOLDER,
    JOBS,
    KIND,
    PROCESS,
    SPACE,
    STATE,
    SWEEP,
)

log = logging.getLogger(__name__)

# Words that drive a sweep or say where it is logged: another spelling of them is the same search.
_DRIVING = ("sweep.", "tracking.", "cache.", "output_dir=", "search=", "run_name=")


class SweepRun:
    """A sweep's own run, the parent of its jobs' runs.

    Parameters
    ----------
    board : Board
        The jobs.
    space : Space
        What is searched.
    settings : DictConfig
        The node ``sweep``.
    default : DictConfig
        A job's config: where runs go.
    folder : Path
        Of the sweep.
    """

    def __init__(
        self, board: Board, space: Space, settings: DictConfig, default: DictConfig, folder: Path
    ) -> None:
        """Prepare database and experiment once for all jobs, and start or reopen the sweep's run.

        Raises
        ------
        UsageError
            If the sweep to resume is still running in another process.
        """
        from sentiment.tracking import client as tracking
        from sentiment.tracking import origin
        from sentiment.tracking.address import remember
        from sentiment.tracking.run import Run

        self.board = board
        self.space = space
        self.settings = settings
        self.output_dir = Path(default.output_dir)
        remember(self.output_dir, default.tracking.uri)
        self.client = tracking.connect(self.output_dir)
        self.experiment = tracking.experiment_id(
            self.client, default.experiment_name, self.output_dir, default.tracking.artifacts
        )
        if settings.resume:
            self._log_what_waits()
        self.git = origin.git_state()
        tags = {
            KIND: "sweep",
            SPACE: self._space_hash(),
            COMMAND: shlex.join(
                ["sentiment", "sweep", *(word for word in sys.argv[1:] if word != "-m")]
            ),
            CODE_HASH: origin.code_hash(),
            PROCESS: origin.process_identity(),
            FOLDER: str(folder),
            **self.git,
        }
        earlier = self._earlier() if settings.resume else None
        self.resumed = earlier is not None
        if earlier is None:
            names = " × ".join(key.rsplit(".", 1)[-1] for key in self.space.keys)
            name = default.run_name or f"sweep {names}".strip()
            self.run = Run.start(
                self.client, self.experiment, name=name, tags=tags, output_dir=self.output_dir
            )
            self.run.log(
                params={
                    "method": self.settings.method,
                    "objective": self.board.objective,
                    **{
                        key.lstrip("+"): word  # MLflow takes no plus in a name
                        for key, _, word in (w.partition("=") for w in self.space.words())
                    },
                }
            )
            return
        self.run = Run(self.client, earlier.info.run_id, self.output_dir)
        self.client.update_run(self.run.run_id, status="RUNNING")
        self.run.log(tags=tags)
        self.end_dead_runs("KILLED", everywhere=True)

    def _log_what_waits(self) -> None:
        """Log what an interrupted sweep could not, so that its jobs are not trained again."""
        from sentiment.tracking.resend import resend

        try:
            for sent in resend(self.output_dir):
                log.warning("run %s waited to be logged: it is, %s", sent.run_id, sent.status)
        except SentimentError as error:  # of another MLflow, maybe: it waits on
            log.warning("%s", error)

    @property
    def run_id(self) -> str:
        """Its id."""
        return self.run.run_id

    def _space_hash(self) -> str:
        fixed = sorted(word for word in self.space.fixed if not word.startswith(_DRIVING))
        content = [self.settings.method, fixed, self.space.words()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _earlier(self) -> Any:
        """Return the newest run of a sweep over the same space, or None."""
        from sentiment.tracking import client as tracking
        from sentiment.tracking import origin

        found = tracking.search_runs(
            self.client, self.experiment, f"tags.`{SPACE}` = '{self._space_hash()}'"
        )
        if not found:
            log.warning("no earlier sweep over this space: nothing to resume but single jobs")
            return None
        newest = found[0]
        process = newest.data.tags.get(PROCESS, "")
        alive = process and not origin.is_gone(process)
        if newest.info.status == "RUNNING" and alive and process != origin.process_identity():
            raise UsageError(
                f"this sweep is still running (process {process.split(':')[-2]}): "
                "wait for it or stop it before ",
                Parameter("resume", key="sweep.resume"),
            )
        return newest

    def done_before(self) -> dict[tuple[str, str], Status]:
        """Return the finished runs of this code by config and data."""
        from sentiment.tracking import client as tracking
        from sentiment.tracking import origin

        query = f"tags.`{CODE_HASH}` = '{origin.code_hash()}' and status = 'FINISHED'"
        done: dict[tuple[str, str], Status] = {}
        for run in tracking.search_runs(self.client, self.experiment, query):
            tags = run.data.tags
            key = (tags.get(CONFIG_HASH), tags.get(DATA_FINGERPRINT))
            if None in key or self.board.objective not in run.data.metrics:
                continue
            status = Status(
                state=JobState.REUSED,
                run_id=run.info.run_id,
                objective=run.data.metrics[self.board.objective],
                metrics={k: v for k, v in run.data.metrics.items() if k[:4] in ("val_", "test")},
                digest=tags.get(DIGEST),
                model=self._model_of(tags),
                seconds=run.data.metrics.get("seconds_total"),
            )
            done.setdefault(key, status)  # the newest comes first
        return done

    def _model_of(self, tags: Mapping[str, str]) -> str | None:
        """Return where the model of an earlier job of this sweep is stored."""
        from sentiment import store

        digest = tags.get(DIGEST)
        if not digest or tags.get(SWEEP) != self.run.run_id:
            return None
        place = store.models_dir(self.output_dir) / digest
        return str(place) if place.is_dir() else None

    def end_run(self, run_id: str | None) -> None:
        """End the run of a job that has died, wherever it ran."""
        if run_id is None:
            return
        try:
            if self.client.get_run(run_id).info.status == "RUNNING":
                self.client.set_terminated(run_id, "FAILED")
        except Exception as error:  # what is left of the sweep matters more
            log.warning("run %s of a dead job cannot be ended: %s", run_id, error)

    def end_dead_runs(self, state: str, *, everywhere: bool = False) -> None:
        """End runs whose process is gone: those of this sweep, or all of the experiment."""
        from sentiment.tracking import client as tracking
        from sentiment.tracking import origin

        mine = "" if everywhere else f" and tags.`{SWEEP}` = '{self.run.run_id}'"
        for attempt in range(20):
            alive = 0
            for run in tracking.search_runs(
                self.client, self.experiment, f"status = 'RUNNING'{mine}"
            ):
                process = run.data.tags.get(PROCESS)
                if process is None or process == origin.process_identity():
                    continue
                if origin.is_gone(process):
                    self.client.set_terminated(run.info.run_id, state)
                else:
                    alive += 1
            if everywhere or not alive or attempt == 19:
                return
            time.sleep(0.1)  # processes that were told to end need a moment

    @contextmanager
    def though_away(self) -> Iterator[None]:
        """Go on with a sweep whose server went away: its answer matters more."""
        from sentiment.tracking.client import reaching

        try:
            with reaching(self.client.tracking_uri):
                yield
        except SentimentError as error:
            log.warning("%s", error)

    def abandon(self) -> None:
        """Mark the sweep as failed."""
        self.run.end("FAILED")

    def end(self, state: SweepState, artifacts: Sequence[Path]) -> None:
        """Log the answer, and end the run.

        Parameters
        ----------
        state : SweepState
        artifacts : sequence of Path
            Files to log.
        """
        board = self.board
        for file in artifacts:
            self.run.log_artifacts(file)
        best = board.best()
        tags = {JOBS: str(len(board.entries)), STATE: state}
        metrics: dict[str, float] = {}
        if best is not None and best.status.objective is not None:
            tags |= {
                BEST_RUN: str(best.status.run_id),
                BEST_OVERRIDES: " ".join(f"{k}={w}" for k, w in best.assignment),
            }
            metrics = {f"best_{board.objective}": best.status.objective}
        self.run.log(metrics=metrics, tags=tags)
        failed = board.counts()[JobState.FAILED] and not best
        ended = ("FAILED" if failed else "FINISHED") if state == SweepState.FINISHED else "KILLED"
        self.run.end(ended)

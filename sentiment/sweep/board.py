"""The jobs of a sweep as they stand: what the table shows and the summary says."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentiment.sweep.search import Assignment
from sentiment.sweep.status import JobState, Status


@dataclass
class Entry:
    """One job.

    Attributes
    ----------
    job : int
        Its number in the order of the search, from 0.
    assignment : tuple of (str, str)
        The searched keys with its values.
    words : list of str
        All overrides.
    config_hash : str
        What it computes.
    folder : Path or None
        Where its last attempt writes its status.
    """

    job: int
    assignment: Assignment
    words: list[str]
    config_hash: str
    folder: Path | None = None
    status: Status = field(default_factory=Status)

    def to_dict(self) -> dict[str, Any]:
        """Return the job as plain containers."""
        status = self.status
        return {
            "job": self.job,
            "overrides": [f"{key}={word}" for key, word in self.assignment],
            "state": status.state,
            "objective": status.objective,
            "seconds": status.seconds,
            "attempts": status.attempts,
            "run_id": status.run_id,
            "digest": status.digest,
            "metrics": status.metrics,
            "error": status.error,
            "log": status.log,
        }


class Board:
    """All jobs so far.

    Parameters
    ----------
    keys : tuple of str
        The searched keys.
    objective : str
        The metric that ranks.
    maximize : bool
        Whether more of it is better.
    """

    def __init__(self, *, keys: tuple[str, ...], objective: str, maximize: bool) -> None:
        self.keys = keys
        self.objective = objective
        self.maximize = maximize
        self.total = 0
        self.begun = time.time()
        self.entries: list[Entry] = []
        self._lock = threading.Lock()

    def add(self, assignment: Assignment, words: list[str], config_hash: str) -> Entry:
        """Append a job."""
        entry = Entry(len(self.entries), assignment, words, config_hash)
        self.entries.append(entry)
        self.total = max(self.total, len(self.entries))
        return entry

    def refresh(self) -> None:
        """Read the status of the jobs that run; any thread may ask for it."""
        with self._lock:
            for entry in list(self.entries):
                if entry.folder is None or entry.status.ended:
                    continue
                status = Status.read(entry.folder)
                if status is not None:
                    status.attempts = entry.status.attempts
                    entry.status = status

    def close(self) -> None:
        """Say of every job that nothing more happens to it."""
        self.refresh()
        for entry in self.entries:
            if entry.status.state == JobState.RUNNING:
                entry.status.state = JobState.KILLED
            elif entry.status.state == JobState.WAITING:
                entry.status.state = JobState.NOT_STARTED

    def ranked(self) -> list[Entry]:
        """Return the jobs with a result, the best first; equal ones in the order of the search."""

        def rank(entry: Entry) -> tuple[float, int]:
            value = entry.status.objective
            assert value is not None
            return (-value if self.maximize else value, entry.job)

        return sorted(
            (
                entry
                for entry in self.entries
                if entry.status.state in (JobState.FINISHED, JobState.REUSED)
                and entry.status.objective is not None
                and not math.isnan(entry.status.objective)
            ),
            key=rank,
        )

    def best(self) -> Entry | None:
        """Return the best job so far."""
        ranked = self.ranked()
        return ranked[0] if ranked else None

    def counts(self) -> Counter[str]:
        """Return how many jobs are in each state."""
        return Counter(entry.status.state for entry in self.entries)

    def warnings(self) -> dict[str, int]:
        """Return what jobs warned of, with the number of jobs that did."""
        return dict(Counter(w for entry in self.entries for w in entry.status.warnings))

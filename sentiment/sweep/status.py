"""What a job tells of itself, and the marker files of a sweep's folder."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path

from sentiment.files import write_whole

STATUS = "status.json"
STOP = "stop"  # a file in the sweep's folder: no further job begins
CANCEL = "cancel"  # another: a running job ends when its next stage begins
REPLACED = "replaced"  # holds a number: jobs below it that have not begun were launched again
MARKERS = (STOP, CANCEL, REPLACED)


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"
    REUSED = "reused"  # an earlier run has the result
    NOT_STARTED = "not started"  # stopped before, or out of time


class SweepState(StrEnum):
    """Where a sweep stands, when it is told of."""

    PLANNED = "planned"  # a dry run
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"


@dataclass
class Status:
    """What is known of a job; ``status.json`` in its folder.

    Attributes
    ----------
    state : JobState
    stage : str
        Of a running job.
    objective : float or None
        The metric that the sweep is about.
    started, seconds : float
        Seconds since the epoch, and spent.
    again : bool
        Whether a failed job might succeed when tried again.
    """

    state: JobState = JobState.WAITING
    stage: str = ""
    run_id: str | None = None
    objective: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    started: float | None = None
    seconds: float | None = None
    digest: str | None = None
    model: str | None = None
    folder: str | None = None
    log: str | None = None
    error: str | None = None
    again: bool = False
    attempts: int = 0
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = JobState(self.state)  # a plain word when it was read from JSON

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state not in (JobState.WAITING, JobState.RUNNING)

    def write(self, folder: Path) -> None:
        """Replace ``status.json``: a reader sees the old one or the new one."""
        write_whole(folder / STATUS, json.dumps(asdict(self)))

    @staticmethod
    def beat(folder: Path) -> int:
        """Return when a running job last gave a sign of life, by the clock of its file system."""
        with contextlib.suppress(OSError), (folder / STATUS).open() as file:
            # Of the open file: what a network file system remembers of a closed one may be old.
            return os.fstat(file.fileno()).st_mtime_ns
        return 0

    @classmethod
    def read(cls, folder: Path) -> Status | None:
        """Return what the job wrote last, or None."""
        try:
            content = json.loads((folder / STATUS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        known = {entry.name for entry in fields(cls)}
        return cls(**{key: value for key, value in content.items() if key in known})

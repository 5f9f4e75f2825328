"""What people said the right label was: one SQLite file, one row per prediction answered."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sentiment.errors import DataError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS feedback (
    number INTEGER PRIMARY KEY,
    prediction_id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    predicted TEXT NOT NULL,
    confidence REAL NOT NULL,
    predicted_at REAL NOT NULL,
    label TEXT NOT NULL,
    text TEXT,
    answered_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS by_model ON feedback (digest, number);
"""
_BUSY_SECONDS = 10.0

COLUMNS = ("text", "label", "predicted", "confidence", "model", "predicted_at", "answered_at")
"""Of `labelled_rows`."""


class Answer(NamedTuple):
    """One prediction and its true label.

    Attributes
    ----------
    prediction_id : str
    digest : str
        The first 32 hexadecimal digits of the model's digest.
    predicted : str
    confidence : float
    predicted_at : float
        Unix time.
    label : str
        The true one.
    text : str or None
    answered_at : float
        Unix time.
    """

    prediction_id: str
    digest: str
    predicted: str
    confidence: float
    predicted_at: float
    label: str
    text: str | None
    answered_at: float


class Feedback:
    """The file that holds the answers; one object belongs to one thread.

    Parameters
    ----------
    path : Path
        ``<output_dir>/feedback.db``; made when it is missing, readable by its owner alone.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)

    def add(self, answers: Sequence[Answer]) -> list[bool]:
        """Record answers in one transaction; for each, whether it is the first for its prediction."""
        with self._database:
            return [
                self._database.execute(
                    "INSERT OR IGNORE INTO feedback (prediction_id, digest, predicted, confidence,"
                    " predicted_at, label, text, answered_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    answer,
                ).rowcount
                > 0
                for answer in answers
            ]

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def observed(path: Path, digest: str, last: int) -> tuple[int, int]:
    """Return how many of a model's last answered predictions were right, and how many there are.

    Parameters
    ----------
    path : Path
        The file; may be missing.
    digest : str
        Of the model.
    last : int
        So many answers at most.
    """
    if not path.is_file():
        return 0, 0
    database = _read_only(path)
    try:
        right, n = database.execute(
            "SELECT coalesce(sum(right), 0), count(*) FROM (SELECT predicted = label AS right"
            " FROM feedback WHERE digest = ? ORDER BY number DESC LIMIT ?)",
            (digest[:32], last),
        ).fetchone()
    except sqlite3.OperationalError:  # made, but its table not yet
        return 0, 0
    finally:
        database.close()
    return int(right), int(n)


def answers(path: Path) -> Iterator[Answer]:
    """Yield every answer, in the order they came.

    Raises
    ------
    DataError
        There is no such file, or it is no feedback database.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: there is no feedback yet; POST /feedback of the service records it"
        )
    database = _read_only(path)
    try:
        for row in database.execute(
            "SELECT prediction_id, digest, predicted, confidence, predicted_at, label, text,"
            " answered_at FROM feedback ORDER BY number"
        ):
            yield Answer(*row)
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path}: not a feedback database ({error})") from None
    finally:
        database.close()


def labelled_rows(path: Path, *, mistakes: bool = False) -> tuple[list[dict[str, Any]], int]:
    """Return the texts that were answered, with their true labels: rows to train on.

    Parameters
    ----------
    path : Path
        The database.
    mistakes : bool
        Only predictions that were wrong.

    Returns
    -------
    rows : list of dict
        With the keys `COLUMNS`.
    n_bare : int
        Answers that came without their text, which are left out.

    Raises
    ------
    DataError
        There is no such file, or it is no feedback database.
    """
    rows: list[dict[str, Any]] = []
    n_bare = 0
    for answer in answers(path):
        if mistakes and answer.label == answer.predicted:
            continue
        if answer.text is None:
            n_bare += 1
            continue
        rows.append(
            {
                "text": answer.text,
                "label": answer.label,
                "predicted": answer.predicted,
                "confidence": round(answer.confidence, 6),
                "model": answer.digest,
                "predicted_at": _time(answer.predicted_at),
                "answered_at": _time(answer.answered_at),
            }
        )
    return rows, n_bare


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)

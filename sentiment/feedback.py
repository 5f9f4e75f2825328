"""What people said the right label was: one row per prediction answered, in SQLite or PostgreSQL.

A file serves the workers of one machine. Where a replica has no disk that outlives it, or where
several shall know the answers of all, ``SENTIMENT_FEEDBACK_URL`` names a PostgreSQL database.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from sentiment import sqlite
from sentiment.errors import DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    import psycopg

URL_VARIABLE = "SENTIMENT_FEEDBACK_URL"

_COLUMNS = """
    prediction_id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    predicted TEXT NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    predicted_at DOUBLE PRECISION NOT NULL,
    label TEXT NOT NULL,
    text TEXT,
    answered_at DOUBLE PRECISION NOT NULL
"""
_BUSY_SECONDS = 10.0
# Who asks for figures waits this long for a database, and no longer.
_GLANCE_SECONDS = 2.0

Place = Path | str
"""Where answers lie: a file, or the address of a PostgreSQL database."""

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


def place_of(output_dir: Path, url: str | None = None) -> Place:
    """Return where the answers of an output folder lie.

    Parameters
    ----------
    output_dir : Path
        Has ``feedback.db`` when nothing else is said.
    url : str, optional
        ``postgresql://USER@HOST/DATABASE``; from ``SENTIMENT_FEEDBACK_URL`` when not given. What it
        leaves out is taken from libpq's own variables (PGPASSWORD, PGSSLMODE, ...).

    Raises
    ------
    UsageError
        The address is of another kind, or the extra for it is not installed.
    """
    url = os.environ.get(URL_VARIABLE, "") if url is None else url
    if not url:
        return output_dir / "feedback.db"
    scheme, _, rest = url.partition("://")
    if scheme.split("+")[0] not in ("postgresql", "postgres") or not rest:
        raise UsageError(
            f"{URL_VARIABLE}={shown(url)}: must be postgresql://USER@HOST/DATABASE, "
            "or empty for a file in the output folder"
        )
    _driver()
    return f"postgresql://{rest}"


def shown(place: Place) -> str:
    """Return a place as it may be shown: without who signs in, and how."""
    if isinstance(place, Path):
        return str(place)
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class FeedbackError(DataError):
    """The store of answers cannot be read or written.

    Attributes
    ----------
    reason : str
        What the disk or the file's database said, without where it lies; empty for a server's.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class Feedback:
    """The store of answers; one object belongs to one thread.

    A damaged file is put aside, under a name that tells when, and another is begun.

    Parameters
    ----------
    place : Path or str
        Made when it is missing: a file readable by its owner alone, or a table of its own.

    Raises
    ------
    FeedbackError
        It cannot be made or written.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._file: os.stat_result | None = None
        with _told(place, "written"):
            if isinstance(place, Path):
                schema = _schema("feedback", "INTEGER PRIMARY KEY")
                self._sqlite, self._file = sqlite.connect(place, _BUSY_SECONDS, schema)
            else:
                self._postgres = _connect(place, _BUSY_SECONDS)
                with _transaction(self._postgres, _BUSY_SECONDS):
                    # A role without the right to make tables will do where there is one.
                    if _is_made(self._postgres):
                        return
                    # Replicas that start together would make the table twice.
                    self._postgres.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [_TABLE])
                    for statement in _schema(
                        _TABLE, "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
                    ):
                        self._postgres.execute(statement)

    def add(self, answers: Sequence[Answer]) -> list[bool]:
        """Record answers in one transaction; for each, whether it is the first for its prediction.

        Raises
        ------
        FeedbackError
            They cannot be written; none of them is. Make the object anew to try again.
        """
        with _told(self.place, "written"):
            if isinstance(self.place, Path):
                with self._sqlite:
                    return [self._sqlite.execute(_INSERT, a).rowcount > 0 for a in answers]
            # Sorted, so that replicas that are told the same never wait for each other in a circle; of
            # one prediction, the first stays first. One statement and no pipeline: PgBouncer keeps the
            # connection of a pipelined transaction after its end, now and then, and others wait for it.
            rows = [_without_nul(answer) for answer in answers]
            columns = [
                list(column) for column in zip(*sorted(rows, key=itemgetter(0)), strict=True)
            ]
            if not rows:
                return []
            with _transaction(self._postgres, _BUSY_SECONDS):
                new = {one for (one,) in self._postgres.execute(_INSERT_MANY, columns)}
            firsts = []
            for prediction_id, *_ in rows:
                firsts.append(prediction_id in new)
                new.discard(prediction_id)
            return firsts

    def is_gone(self) -> bool:
        """Tell whether the file was removed, replaced or written over: nobody reads it any more."""
        if not isinstance(self.place, Path) or self._file is None:
            return False
        return sqlite.is_gone(self.place, self._file)

    def close(self) -> None:
        """Close the file or the connection."""
        if isinstance(self.place, Path):
            self._sqlite.close()
        else:
            self._postgres.close()


def observed(place: Place, digest: str, last: int) -> tuple[int, int]:
    """Return how many of a model's last answered predictions were right, and how many there are.

    Parameters
    ----------
    place : Path or str
        A file may be missing.
    digest : str
        Of the model.
    last : int
        So many answers at most.

    Raises
    ------
    DataError
        The store is there and cannot be read.
    """
    query = (
        "SELECT coalesce(sum(hit), 0), count(*) FROM (SELECT CASE WHEN predicted = label"
        " THEN 1 ELSE 0 END AS hit FROM {table} WHERE digest = {mark}"
        " ORDER BY number DESC LIMIT {mark}) AS latest"
    )
    rows = list(_read(place, query, (digest[:32], last), _GLANCE_SECONDS))
    return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)


def answers(place: Place) -> Iterator[Answer]:
    """Yield every answer, in the order they came.

    Raises
    ------
    DataError
        There is no such file, or it is no feedback database.
    """
    if isinstance(place, Path) and not place.is_file():
        raise DataError(
            f"{place}: there is no feedback yet; POST /feedback of the service records it"
        )
    query = (
        "SELECT prediction_id, digest, predicted, confidence, predicted_at, label, text,"
        " answered_at FROM {table} ORDER BY number"
    )
    for row in _read(place, query, (), _BUSY_SECONDS):
        yield Answer(*row)


def is_there(place: Place) -> bool:
    """Tell whether there may be answers: a database is asked when they are read."""
    return not isinstance(place, Path) or place.is_file()


def labelled_rows(place: Place, *, mistakes: bool = False) -> tuple[list[dict[str, Any]], int]:
    """Return the texts that were answered, with their true labels: rows to train on.

    Parameters
    ----------
    place : Path or str
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
    for answer in answers(place):
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


_TABLE = "sentiment_feedback"  # beside the tables of others
_INSERT = (
    "INSERT INTO feedback (prediction_id, digest, predicted, confidence, predicted_at, label, text,"
    " answered_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (prediction_id) DO NOTHING"
)
_INSERT_MANY = (
    f"INSERT INTO {_TABLE} (prediction_id, digest, predicted, confidence, predicted_at, label, text,"
    " answered_at) SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::float8[], %s::float8[],"
    " %s::text[], %s::text[], %s::float8[]) ON CONFLICT (prediction_id) DO NOTHING RETURNING prediction_id"
)


def _schema(table: str, key: str) -> tuple[str, str]:
    return (
        f"CREATE TABLE IF NOT EXISTS {table} (number {key}, {_COLUMNS})",
        f"CREATE INDEX IF NOT EXISTS {'by_model' if table == 'feedback' else f'{table}_by_model'}"
        f" ON {table} (digest, number)",
    )


def _read(place: Place, query: str, values: tuple[Any, ...], seconds: float) -> Iterator[Any]:
    """Yield the rows of a query; none where the table was not made yet."""
    with _told(place, "read"):
        if isinstance(place, Path):
            query = query.format(table="feedback", mark="?")
            yield from sqlite.read(place, query, values, seconds)
            return
        with (
            contextlib.closing(_connect(place, seconds)) as connection,
            _transaction(connection, seconds),
        ):
            if not _is_made(connection):
                return
            # The server keeps the rows that were not fetched yet.
            with connection.cursor("answers") as cursor:
                cursor.execute(query.format(table=_TABLE, mark="%s"), values)
                yield from cursor


def _connect(url: str, seconds: float) -> psycopg.Connection[Any]:
    connection: psycopg.Connection[Any] = _driver().connect(
        url,
        autocommit=True,
        connect_timeout=max(2, int(seconds)),
        prepare_threshold=None,  # a pooler may give the next statement to another connection
    )
    return connection


@contextlib.contextmanager
def _transaction(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Hold a transaction each of whose statements ends within so many seconds.

    It says so itself: poolers (PgBouncer) refuse what a connection asks for when it begins, and
    give it to others afterwards.
    """
    with connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
        yield


def _is_made(connection: psycopg.Connection[Any]) -> bool:
    found = connection.execute("SELECT to_regclass(%s)", (_TABLE,)).fetchone()
    return found is not None and found[0] is not None


def _driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise MissingExtraError(f"{URL_VARIABLE} (feedback in PostgreSQL)", "postgres") from None
    return psycopg


@contextlib.contextmanager
def _told(place: Place, what: str) -> Iterator[None]:
    """Turn what a database or a disk says into one line of ours."""
    kinds: tuple[type[Exception], ...] = (sqlite3.Error, OSError)
    if not isinstance(place, Path):
        kinds = (*kinds, _driver().Error)
    try:
        yield
    except kinds as error:
        said = (isinstance(error, OSError) and error.strerror) or str(error)
        reason = " ".join(said.split()) or type(error).__name__
        ours = reason if isinstance(place, Path) else ""
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in reason:
            raise FeedbackError(f"{place}: not a feedback database ({reason})", ours) from None
        raise FeedbackError(f"{shown(place)}: feedback cannot be {what} ({reason})", ours) from None


def _without_nul(answer: Answer) -> tuple[Any, ...]:
    """Return what PostgreSQL can hold: its text has no character 0."""
    return tuple(v.replace("\0", "\ufffd") if isinstance(v, str) else v for v in answer)

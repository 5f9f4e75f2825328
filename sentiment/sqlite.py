"""A SQLite file that several processes share: made for its owner alone, read without being made."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sentiment.files import locked

logger = logging.getLogger("sentiment.sqlite")

_HEAD = b"SQLite format 3\x00"
_BESIDE = ("-wal", "-shm")


def connect(
    path: Path, seconds: float, schema: Sequence[str]
) -> tuple[sqlite3.Connection, os.stat_result]:
    """Open a file to write, made where it is missing; a damaged one is put aside and another begun.

    Parameters
    ----------
    path : Path
    seconds : float
        How long to wait for another writer.
    schema : sequence of str
        Statements that make what is not there yet.

    Returns
    -------
    connection : sqlite3.Connection
    file : os.stat_result
        Of the file that was opened: another may take its name later.

    Raises
    ------
    OSError, sqlite3.Error
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that find the same damage must not put each other's new file aside.
    with locked(path.with_name(path.name + ".lock")):
        if not path.exists():  # what a removed file leaves must not be taken for the new one's
            for end in _BESIDE:
                path.with_name(path.name + end).unlink(missing_ok=True)
        try:
            return _connect(path, seconds, schema)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (
                sqlite3.SQLITE_CORRUPT,
                sqlite3.SQLITE_NOTADB,
            ):
                raise
            aside = _put_aside(path)
            logger.error("%s is damaged (%s): kept as %s, begun anew", path, error, aside)  # noqa: TRY400
            return _connect(path, seconds, schema)


def _connect(
    path: Path, seconds: float, schema: Sequence[str]
) -> tuple[sqlite3.Connection, os.stat_result]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    file = os.fstat(descriptor)
    os.close(descriptor)
    connection = sqlite3.connect(path, timeout=seconds)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        for statement in schema:
            connection.execute(statement)
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            damage = sqlite3.DatabaseError(str(found).splitlines()[0])
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage
    except sqlite3.Error:
        connection.close()
        raise
    return connection, file


def _put_aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.stem}.damaged-{stamp}-{os.getpid()}{path.suffix}")
    for end in (*_BESIDE, ""):
        beside = path.with_name(path.name + end)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + end))
    return aside


def is_gone(path: Path, file: os.stat_result) -> bool:
    """Tell whether a file was removed, replaced or written over: nobody reads it any more.

    Parameters
    ----------
    path : Path
    file : os.stat_result
        Of the file that was opened.
    """
    try:
        with path.open("rb") as opened:
            same = os.path.samestat(os.fstat(opened.fileno()), file)
            return not same or opened.read(len(_HEAD)) != _HEAD
    except OSError:
        return True


def read(path: Path, query: str, values: tuple[Any, ...], seconds: float) -> Iterator[Any]:
    """Yield the rows of a query; none where the file or its table was not made yet.

    Raises
    ------
    OSError, sqlite3.Error
    """
    if not path.is_file():
        return
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=seconds)) as connection:
        try:
            yield from connection.execute(query, values)
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise

"""A SQLite file that several processes share: made for its owner alone, read without being made."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def connect(path: Path, seconds: float) -> tuple[sqlite3.Connection, os.stat_result]:
    """Open a file to write, made where it is missing.

    Parameters
    ----------
    path : Path
    seconds : float
        How long to wait for another writer.

    Returns
    -------
    connection : sqlite3.Connection
    file : os.stat_result
        Of the file that was opened: another may take its name later.

    Raises
    ------
    OSError, sqlite3.Error
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    file = os.fstat(descriptor)
    os.close(descriptor)
    connection = sqlite3.connect(path, timeout=seconds)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection, file


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

"""The SQLite database of an output folder: made whole, and found again where the folder was moved."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from sentiment.files import locked

log = logging.getLogger(__name__)

# Alembic keeps what it works on in globals: one thread at a time.
_MIGRATING = threading.Lock()
# What the migrations leave, which take seconds: a process runs them once.
_empty: list[bytes] = []
# Where MLflow keeps absolute addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def prepare(file: Path) -> None:
    """Make the database where it is missing or was left half made, and its artifacts findable.

    MLflow's migrations are not atomic: who interrupts the first command leaves tables that no later
    one can go on from. So they run on a file beside, which takes the name when they are done.

    Parameters
    ----------
    file : Path
        Its folder is made where it is missing.

    Raises
    ------
    OSError, sqlalchemy.exc.SQLAlchemyError
        It cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(file.parent, os.W_OK):
        return
    with locked(file.with_name(f".{file.name}.lock")):
        if not file.exists():
            _make(file)
        elif _is_half_made(file):
            aside = file.with_name(f"{file.name}.half-made")
            log.warning(
                "%s was left half made by an interrupted command: made again, the old one is %s",
                file, aside.name,
            )  # fmt: skip
            file.replace(aside)
            _make(file)
        else:
            _follow_artifacts(file)


def _make(file: Path) -> None:
    """Write an empty database beside, and rename."""
    place = (file.parent / "artifacts").as_uri()
    now = int(time.time() * 1000)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as folder:
        beside = Path(folder) / file.name
        with _MIGRATING:
            if not _empty:
                _migrate(beside)
                _empty.append(beside.read_bytes())
        beside.write_bytes(_empty[0])
        with contextlib.closing(sqlite3.connect(beside)) as database:
            database.execute(
                "UPDATE experiments SET artifact_location = ? || '/' || experiment_id,"
                " creation_time = ?, last_update_time = ?",
                (place, now, now),
            )
            database.commit()
        for suffix in ("-wal", "-shm", "-journal"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        beside.replace(file)


def _migrate(file: Path) -> None:
    """Run MLflow's migrations: several hundred transactions, for none of which the disk is waited."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    make: Any = SqlAlchemyStore  # untyped

    def do_not_wait(connection: sqlite3.Connection, _: object) -> None:
        # Other threads may be connecting to databases that are somebody's.
        places = connection.execute("PRAGMA database_list")
        if any(Path(place).parent.name == file.parent.name for *_, place in places):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", do_not_wait)
    try:
        # Older versions make that folder.
        make(f"sqlite:///{file}", (file.parent / "artifacts").as_uri()).engine.dispose()
    finally:
        event.remove(Engine, "connect", do_not_wait)


def _is_half_made(file: Path) -> bool:
    """Tell whether the file is what interrupted migrations left: MLflow's tables alone, all empty.

    The default experiment is what MLflow makes last; without it there is no run either. A database
    of anything else is its owner's, whatever stands in the tracking address.
    """
    with contextlib.closing(sqlite3.connect(file, timeout=10)) as database:
        try:
            tables = {
                str(name)
                for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
            }
            if any(
                database.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()
                for table in {"experiments", "runs", "registered_models"} & tables
            ):
                return False
        except sqlite3.DatabaseError:
            return False  # something else is wrong with it: MLflow says what
    return all(_is_mlflows(table) for table in tables)


def _is_mlflows(table: str) -> bool:
    """Tell whether a table is MLflow's, or its migrations' own."""
    from mlflow.store.db.base_sql_model import Base

    return table in Base.metadata.tables or table.startswith(("alembic_", "_alembic_", "sqlite_"))


def _follow_artifacts(file: Path) -> None:
    """Mend addresses below ``artifacts`` of the folder's former place: it was moved."""
    folder = file.parent / "artifacts"
    if not folder.is_dir():
        return
    here = folder.as_uri()
    with contextlib.closing(sqlite3.connect(file, timeout=10)) as database:
        try:
            found = database.execute(
                "SELECT DISTINCT artifact_location FROM experiments"
                " WHERE artifact_location LIKE 'file:%/artifacts' AND artifact_location != ?",
                (here,),
            ).fetchall()
            for (there,) in found:
                if _exists(there):
                    continue
                log.warning("artifacts of %s are now looked for in %s", there, here)
                for table, column in _ADDRESSES:
                    database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                        f" WHERE substr({column}, 1, ?) = ?",
                        (here, len(there) + 1, len(there), there),
                    )
            database.commit()
        except sqlite3.DatabaseError as error:  # MLflow says what is wrong with it
            log.warning("%s: addresses of artifacts cannot be mended (%s)", file, error)


def _exists(uri: str) -> bool:
    return Path(unquote(urlparse(uri).path)).exists()

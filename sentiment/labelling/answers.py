"""The answers of a labelling, one line of JSON each, on the disk before anyone is told so."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

from sentiment.errors import DataError

try:
    import fcntl
except ImportError:  # not POSIX: nothing says that another process writes the same file
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)


class AnswerFile:
    """A file of JSON Lines that grows by one line per answer.

    What was there is read first. A last line that is not whole, which a process that was killed may
    leave, was never confirmed: it is cut off.

    Parameters
    ----------
    path : Path
        Made where it is missing.

    Raises
    ------
    DataError
        It cannot be read or written, or another process is writing it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}") from error
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.close()
                raise DataError(
                    f"{path} is being written by another labelling: open its page in a second window, "
                    "or write another file"
                ) from None
            except OSError:  # some network file systems know no locks
                log.info("%s cannot be locked", path)
        self.rows = self._read()

    def _read(self) -> list[dict[str, Any]]:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        rows = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise DataError(
                    f"{self.path}: line {number} is no answer (JSON with a text): write another file"
                )
            rows.append(row)
        if len(whole) < len(content):
            log.warning("%s ends in the middle of a line, which is cut off", self.path)
            self._file.truncate(len(whole))
        return rows

    def add(self, row: dict[str, Any]) -> None:
        """Write an answer; it is on the disk when this returns.

        Raises
        ------
        DataError
            It cannot be written; the file is as before.
        """
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")
        with self._lock:
            end = self._file.seek(0, os.SEEK_END)
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                with contextlib.suppress(OSError):
                    self._file.truncate(end)
                raise DataError(f"{self.path} cannot be written: {error.strerror}") from error
            self.rows.append(row)

    def take_back(self, row: dict[str, Any]) -> None:
        """Remove an answer from the file.

        Parameters
        ----------
        row : dict
            One of `rows`, that very object.
        """
        with self._lock:
            kept = [other for other in self.rows if other is not row]
            lines = [
                (json.dumps(r, ensure_ascii=False) + "\n").encode("utf-8", "replace") for r in kept
            ]
            place = next(i for i, other in enumerate(self.rows) if other is row)
            # Cut at the row and write again what came after: it is the last one nearly always.
            self._file.truncate(sum(map(len, lines[:place])))
            self._file.write(b"".join(lines[place:]))
            self._file.flush()
            os.fsync(self._file.fileno())
            self.rows[:] = kept

    def close(self) -> None:
        """Close the file and let others have it."""
        self._file.close()

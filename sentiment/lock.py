"""Locks between processes, that the system gives back however a process ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not POSIX: without locks a thing may be done twice
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made where it is missing.

    Parameters
    ----------
    path : Path
        It may be removed by who holds the lock.
    """
    if fcntl is None:
        yield
        return
    while True:
        file: IO[str] = path.open("a")
        try:
            # Some network file systems know no locks: then as without POSIX.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            # The file may have been removed while this process waited for it.
            if _still(file, path):
                yield
                return
        finally:
            file.close()


def _still(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False

"""One way each to hold a lock, to write a file whole, and to put a folder in place whole."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sentiment.errors import UsageError

try:
    import fcntl
except ImportError:  # not POSIX: without locks a thing may be done twice
    fcntl = None  # type: ignore[assignment]

_WRITING = ".writing-"
_ABANDONED = 24 * 3600.0  # seconds since anything was put into a folder that is being written


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made where it is missing.

    The system gives a lock back however its process ends. Who holds it may remove the file.

    Parameters
    ----------
    path : Path
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


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside the target that takes its name when the block ends well.

    When another process has put the same folder in place in the meantime, that one stays. What a process
    was writing when it was killed goes after a day.

    Parameters
    ----------
    target : Path
        The folders above it are made where they are missing.

    Raises
    ------
    OSError
        The folder cannot be made or renamed; nothing is left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f"{_WRITING}*"):
        with contextlib.suppress(OSError):  # another process removes it too
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left)
    beside = Path(tempfile.mkdtemp(prefix=_WRITING, dir=target.parent))
    try:
        beside.chmod(0o755)
        with writing(target):
            yield beside
        try:
            beside.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or replaced; None where there is none."""
    try:
        found = path.stat()  # through links: a mounted secret is changed by turning one
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let an error of the system name the file: a write that fails names none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def no_space(error: BaseException) -> str | None:
    """Return which disk is full and how much is free, where that is why something failed.

    Parameters
    ----------
    error : BaseException
        What it was raised from is looked at too.

    Returns
    -------
    str or None
        None for another reason.
    """
    one: BaseException | None = error
    full, place = False, None
    seen: set[int] = set()  # an error may be its own context's cause
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if isinstance(one, OSError):
            full |= one.errno in (errno.ENOSPC, errno.EDQUOT)
            place = place or one.filename
        # SQLite and libraries that are not written in Python have the words alone.
        full |= any(words in str(one) for words in ("disk is full", "No space left on device"))
        one = one.__cause__ or one.__context__
    if not full:
        return None
    places = [Path(place)] if place else [Path.cwd(), Path(tempfile.gettempdir())]
    known = [
        next(up for up in (p.absolute(), *p.absolute().parents) if up.exists()) for p in places
    ]
    free, where = min((shutil.disk_usage(one).free, one) for one in known)
    return f"no space left: {free / 1e6:.1f} MB are free where {where} lies; free some and repeat"


def is_pipe(path: str | Path) -> bool:
    """Tell whether a path is there and no file or folder: a pipe, a device."""
    place = Path(path)
    return place.exists() and not place.is_file() and not place.is_dir()


PAGES = (".html", ".htm")
"""Ends that the name of a page may have: rows never have them."""


def check_target(path: Path, *kinds: str, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a file that cannot be written, before the work that it is for.

    Parameters
    ----------
    path : Path
    *kinds : str
        Ends that its name may have; any, where none are given.
    inputs : iterable of str or Path
        What is read: see `check_no_input`.

    Raises
    ------
    UsageError
        It is a folder, lies in none or in one that may not be written, its name ends otherwise, or
        it is read.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{path}: no such folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give a file")
    if is_pipe(path):
        return  # which is never replaced
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: cannot be written: the folder {path.parent} may not be")
    if kinds and path.suffix.lower() not in kinds:
        raise UsageError(f"{path}: its name must end in {', '.join(kinds)}")
    check_no_input(path, inputs)


def check_no_input(path: Path, inputs: Iterable[str | Path]) -> None:
    """Refuse to write what is read, under whichever name.

    Parameters
    ----------
    path : Path
        Of the output.
    inputs : iterable of str or Path
        Those that are no file on this machine are passed over.

    Raises
    ------
    UsageError
        It is one of them.
    """
    if not path.exists():
        return
    for one in inputs:
        with contextlib.suppress(OSError, ValueError):  # an address, a name that is too long
            if path.samefile(one):
                raise UsageError(f"{path}: is the input; write to another file")


def write_whole(path: Path, text: str) -> None:
    """Write a file beside and rename it: a reader sees the old one or the new one.

    A pipe or device, such as ``/dev/stdout``, is written to as it is.

    Parameters
    ----------
    path : Path
        Its folder is made where it is missing.
    text : str
    """
    if is_pipe(path):
        path.write_text(text, encoding="utf-8")
        return
    path = path.resolve()  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with writing(path), os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

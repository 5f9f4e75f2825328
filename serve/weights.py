"""Weights as a service holds them: bytes of its own, which nobody can cut off or overwrite.

A mapped file is its owner's. Cut off in place, by a copy that was broken off or a disk that is full,
it ends with SIGBUS every process that reads there; overwritten, it changes their answers.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import shutil
from functools import partial
from pathlib import Path

from sentiment.files import locked
from sentiment.scorer.container import Reader, map_file

logger = logging.getLogger("sentiment.serve")


def reader(shared: Path | None) -> Reader:
    """Return what reads weights for this process.

    Parameters
    ----------
    shared : Path, optional
        A folder of the workers alone: they map one copy there, in which nobody else writes. Without
        one the bytes are this process's memory.
    """
    return read_own if shared is None else partial(map_copy, shared)


def read_own(path: Path, _sha256: str) -> memoryview:
    """Read a file into memory of this process.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or is empty.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        file.readinto(memory)
    return memoryview(memory).toreadonly()


def map_copy(folder: Path, path: Path, sha256: str) -> memoryview:
    """Map a copy that the workers share; who needs it first makes it, and removes the one before.

    A copy that is removed lives on for those that have mapped it. What is not as its checksum says
    is not copied: the caller sees it in this process's own memory.

    Raises
    ------
    OSError, ValueError
        The file cannot be read, or is empty.
    """
    copy = folder / f"{sha256}.weights"
    try:
        folder.mkdir(exist_ok=True)
        with locked(folder / "lock"):
            if not copy.exists() and not _copy(path, copy, sha256):
                return read_own(path, sha256)
            return map_file(copy)
    except OSError as error:
        weights = read_own(path, sha256)  # raises too where the file itself cannot be read
        logger.warning("each worker keeps weights of its own: no room to share them: %s", error)
        return weights


def _copy(path: Path, copy: Path, sha256: str) -> bool:
    for before in copy.parent.glob("*.weights"):
        before.unlink()
    beside = copy.with_suffix(".new")
    try:
        shutil.copyfile(path, beside)
        with beside.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        if whole:
            beside.rename(copy)
    finally:
        beside.unlink(missing_ok=True)
    return whole

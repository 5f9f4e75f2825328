"""Buckets of counts, the newest over the oldest, in memory or in a file that others read.

With several workers the ring lies in a memory-mapped file beside prometheus_client's; whoever is
asked adds up the newest buckets of all files until they hold as many predictions as the window
wants. A worker holds its file by a lock that dies with it, and its successor goes on with the
file, so a killed worker takes nothing away.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sentiment.drift.reference import Reference

BUCKETS = 10

Item = TypeVar("Item")


class Ring:
    """Buckets of counts, the newest over the oldest, in memory or in a file that others read.

    Parameters
    ----------
    reference : Reference
        Whose counts they are.
    size : int
        Predictions in each bucket.
    directory : Path, optional
        Where the workers' files lie.
    name : str
        What the files of this model's rings are called.
    """

    def __init__(
        self, reference: Reference, size: int, directory: Path | None = None, name: str = ""
    ) -> None:
        self.reference = reference
        self.size = size
        self.directory = directory
        self.name = name
        # One more than the window has: the newest is seldom full.
        self.dtype = np.dtype([("ended", "f8"), ("n", "i8"), ("counts", reference.dtype)])
        self._file: int | None = None
        self._path: Path | None = None
        if directory is None:
            self.buckets: NDArray[np.void] = np.zeros(BUCKETS + 1, self.dtype)
        else:
            self.buckets = self._take_file(directory)
        self._place = int(self.buckets["ended"].argmax())

    def _take_file(self, directory: Path) -> NDArray[np.void]:
        """Map the first file that no living worker holds."""
        slot = 0
        while True:
            path = directory / f"{self.name}-{slot}.ring"
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                slot += 1
                continue
            os.ftruncate(file, (BUCKETS + 1) * self.dtype.itemsize)
            self._file, self._path = file, path
            return np.memmap(path, self.dtype, "r+", shape=(BUCKETS + 1,))

    def close(self) -> None:
        """Give the ring up, and remove its file."""
        if self._file is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def places(self, items: Sequence[Item]) -> Iterator[tuple[NDArray[np.void], Sequence[Item]]]:
        """Yield the counts of the bucket that is being filled, and the items that go there."""
        start = 0
        while start < len(items):
            bucket = self.buckets[self._place]
            room = self.size - int(bucket["n"])
            if room <= 0:
                self._place = (self._place + 1) % len(self.buckets)
                bucket = self.buckets[self._place]
                bucket["n"] = 0
                bucket["ended"] = 0.0
                bucket["counts"] = 0
                room = self.size
            part = items[start : start + room]
            yield bucket["counts"], part
            bucket["n"] += len(part)
            bucket["ended"] = time.time()
            start += room

    def total(self, into: NDArray[np.void], fields: Iterable[str], window: int) -> float | None:
        """Add up the newest buckets of all workers; return when the oldest of them ended.

        Parameters
        ----------
        into : Counts
            What they are added to.
        fields : iterable of str
            The fields wanted.
        window : int
            Texts wanted at least; a bucket is taken whole or not at all.
        """
        rings = [self.buckets]
        if self.directory is not None:
            rings = list(self._all_rings())
        ended = np.concatenate([ring["ended"] for ring in rings])
        sizes = np.concatenate([ring["n"] for ring in rings])
        order = np.argsort(-ended, kind="stable")
        order = order[ended[order] > 0]
        taken = order[: int(np.searchsorted(np.cumsum(sizes[order]), window)) + 1]
        per_ring = len(self.buckets)
        for number, ring in enumerate(rings):
            mine = taken[(taken >= number * per_ring) & (taken < (number + 1) * per_ring)]
            if len(mine):
                parts = ring["counts"][mine - number * per_ring]
                for field in fields:
                    into[field] += parts[field].sum(axis=0, dtype=into[field].dtype)
        return float(ended[taken].min()) if len(taken) else None

    def _all_rings(self) -> Iterator[NDArray[np.void]]:
        assert self.directory is not None
        for path in self.directory.glob(f"{self.name}-*.ring"):
            try:
                yield np.memmap(path, self.dtype, "r", shape=(BUCKETS + 1,))
            except (OSError, ValueError):
                continue  # just being made, or gone

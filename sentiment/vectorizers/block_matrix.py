"""A matrix in blocks of rows and of columns on disk, and how its files are written: whole or not at all."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from sentiment.text.engine import Engine

_PARSING = threading.Lock()


class BlockMatrix:
    """A matrix that lies on disk in blocks of rows and, where that is asked for, of columns.

    Files are mapped into memory while they are used.

    Parameters
    ----------
    folder : Path
    lengths : list of int
        Rows of each block of rows.
    widths : list of int
        Columns of each block of columns; empty when there are none.
    n_columns : int
    engine : Engine
        Computes with the blocks.
    """

    def __init__(
        self, folder: Path, lengths: list[int], widths: list[int], n_columns: int, engine: Engine
    ) -> None:
        self.folder = folder
        self.lengths = lengths
        self.widths = widths
        self.engine = engine
        self.shape = (sum(lengths), n_columns)
        self.starts = [0, *itertools.accumulate(lengths)]

    def __getstate__(self) -> dict[str, Any]:
        # Who computes elsewhere needs no engine.
        return {**self.__dict__, "engine": None}

    @property
    def n_blocks(self) -> int:
        """Number of blocks of rows."""
        return len(self.lengths)

    @property
    def n_column_blocks(self) -> int:
        """Number of blocks of columns."""
        return len(self.widths)

    def block(self, number: int) -> sp.csr_array:
        """Return a block of rows."""
        return self._map("rows", number, (self.lengths[number], self.shape[1]))

    def column_block(self, number: int) -> sp.csr_array:
        """Return some rows of the transpose."""
        return self._map("columns", number, (self.widths[number], self.shape[0]))

    def _map(self, kind: str, number: int, shape: tuple[int, int]) -> sp.csr_array:
        data, indices, indptr = (
            mapped(self.folder / f"{number:06}-{kind}-{part}.npy")
            for part in ("data", "indices", "indptr")
        )
        X = sp.csr_array((data, indices, indptr), shape=shape, copy=False)
        X.has_canonical_format = True
        return X

    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(file.stat().st_size for file in self.folder.glob("*.npy"))


def sort_block(
    number: int, *, folder: Path, target: Path, starts: list[int], cuts: list[int]
) -> None:
    """Write a block's values by columns, and where each range of columns begins."""
    if (folder / f"{number:06}-at.npy").exists():
        return
    data, indices, indptr = (
        load(target, number, f"rows-{part}") for part in ("data", "indices", "indptr")
    )
    X = sp.csr_array((data, indices, indptr), shape=(len(indptr) - 1, cuts[-1])).tocsc()
    save(folder, number, "row", X.indices.astype(np.int32) + np.int32(starts[number]))
    save(folder, number, "value", X.data)
    at = X.indptr[cuts].astype(np.int64)
    del X
    indices.sort()
    save(folder, number, "column", indices)
    save(folder, number, "at", at)


def transpose(
    number: int, *, folder: Path, target: Path, starts: list[int], cuts: list[int]
) -> None:
    """Write a range of columns, in the order of the texts."""
    if (target / f"{number:06}-columns-indptr.npy").exists():
        return
    first, last = cuts[number], cuts[number + 1]
    parts = []
    counts = np.zeros(last - first, np.int64)
    for block in range(len(starts) - 1):
        at = load(folder, block, "at")
        cut = slice(int(at[number]), int(at[number + 1]))
        column, row, value = (
            mapped(folder / f"{block:06}-{name}.npy")[cut] for name in ("column", "row", "value")
        )
        column = column - np.int32(first)
        counts += np.bincount(column, minlength=last - first)
        parts.append((column, row, value))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    next_free = indptr[:-1].copy()
    indices = np.empty(int(indptr[-1]), np.int32)
    data = np.empty(int(indptr[-1]), parts[0][2].dtype)
    for column, row, value in parts:
        begins = np.flatnonzero(np.diff(column, prepend=np.int32(-1)))
        lengths = np.diff(begins, append=len(column))
        places = next_free[column] + np.arange(len(column)) - np.repeat(begins, lengths)
        indices[places], data[places] = row, value
        next_free[column[begins]] += lengths
    save(target, number, "columns-data", data)
    save(target, number, "columns-indices", indices)
    save(target, number, "columns-indptr", indptr.astype(np.int32))


def save_rows(target: Path, number: int, X: Any, dtype: npt.DTypeLike) -> None:
    save(target, number, "rows-data", X.data.astype(dtype, copy=False))
    save(target, number, "rows-indices", X.indices.astype(np.int32, copy=False))
    save(target, number, "rows-indptr", X.indptr.astype(np.int32))


def save(folder: Path, number: int, name: str, array: npt.NDArray[Any]) -> None:
    save_array(folder / f"{number:06}-{name}.npy", array)


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    beside = path.with_suffix(".writing")
    with beside.open("wb") as file:
        np.save(file, array)
    beside.replace(path)


def load(folder: Path, number: int, name: str) -> Any:
    return np.array(mapped(folder / f"{number:06}-{name}.npy"))


def mapped(path: Path) -> Any:
    """Return an array that lies on disk, mapped into memory."""
    # numpy parses the head of a file as Python; in several threads at once, Python 3.11 and 3.12
    # may answer "AST constructor recursion depth mismatch".
    with _PARSING:
        return np.load(path, mmap_mode="r")

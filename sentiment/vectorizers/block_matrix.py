"""A matrix in blocks of rows and of columns on disk, and how its files are written: whole or not at all."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from sentiment.text.engine import Engine

_PARSING = threading.Lock()
_PARTS = ("data", "indices", "indptr")
_VALUES = ("data", "indices")  # as long as there are values; the others tell the rows
_WHOLE = "whole"


class BlockMatrix:
    """A matrix that lies on disk: in blocks of rows, and of columns where that is asked for, or whole.

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
    joined : bool
        Whether the rows of all blocks stand in the same files.
    """

    def __init__(
        self,
        folder: Path,
        lengths: list[int],
        widths: list[int],
        n_columns: int,
        engine: Engine,
        *,
        joined: bool = False,
    ) -> None:
        self.folder = folder
        self.lengths = lengths
        self.widths = widths
        self.engine = engine
        self.joined = joined
        self.shape = (sum(lengths), n_columns)
        self.starts = [0, *itertools.accumulate(lengths)]

    def __getstate__(self) -> dict[str, Any]:
        # Who computes elsewhere needs no engine.
        return {**self.__dict__, "engine": None}

    def description(self) -> dict[str, Any]:
        """Return what is needed to make this again of the same files, beside an engine."""
        return {
            "lengths": self.lengths, "widths": self.widths, "n_columns": self.shape[1],
            "joined": self.joined,
        }  # fmt: skip

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
        shape = (self.lengths[number], self.shape[1])
        if not self.joined:
            return _csr(self.folder, f"{number:06}-rows", shape)
        data, indices, indptr = (mapped(self.folder / f"{_WHOLE}-{part}.npy") for part in _PARTS)
        ends = indptr[self.starts[number] : self.starts[number + 1] + 1]
        here = slice(int(ends[0]), int(ends[-1]))
        return _canonical((data[here], indices[here], ends - ends[0]), shape)

    def column_block(self, number: int) -> sp.csr_array:
        """Return some rows of the transpose."""
        return _csr(self.folder, f"{number:06}-columns", (self.widths[number], self.shape[0]))

    def whole(self) -> sp.csr_matrix:
        """Return all rows, mapped into memory: what reads them costs pages that the system may take back."""
        # Private, as some of scikit-learn's loops take no array that cannot be written.
        parts = [np.load(self.folder / f"{_WHOLE}-{part}.npy", mmap_mode="c") for part in _PARTS]
        return sp.csr_matrix(_canonical(tuple(map(np.asarray, parts)), self.shape), copy=False)

    def take(
        self,
        keep: npt.NDArray[np.bool_],
        folder: Path,
        tell: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> BlockMatrix:
        """Write the rows that are kept, laid out as these, and return them.

        Parameters
        ----------
        keep : bool[rows]
        folder : Path
        tell : callable
            Told how many blocks are done, and of how many.
        """
        folder.mkdir(parents=True)
        words = {"X": self, "keep": keep, "target": folder}
        rows = self.engine.map(_take_rows, range(self.n_blocks), **words)
        columns = self.engine.map(_take_columns, range(self.n_column_blocks), **words)
        for done, _ in enumerate(itertools.chain(rows, columns), start=1):
            tell(done, self.n_blocks + self.n_column_blocks)
        lengths = np.add.reduceat(keep, self.starts[:-1], dtype=np.int64).tolist()
        if self.joined:
            join_rows(folder, len(lengths))
        return BlockMatrix(
            folder, lengths, self.widths, self.shape[1], self.engine, joined=self.joined
        )

    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(file.stat().st_size for file in self.folder.glob("*.npy"))


def _csr(folder: Path, name: str, shape: tuple[int, int]) -> sp.csr_array:
    parts = tuple(mapped(folder / f"{name}-{part}.npy") for part in _PARTS)
    return _canonical(parts, shape)


def _canonical(parts: tuple[Any, ...], shape: tuple[int, int]) -> sp.csr_array:
    X = sp.csr_array(parts, shape=shape, copy=False)
    X.has_canonical_format = True
    return X


def _take_rows(number: int, *, X: BlockMatrix, keep: npt.NDArray[np.bool_], target: Path) -> None:
    here = keep[X.starts[number] : X.starts[number + 1]]
    rows = X.block(number)[np.flatnonzero(here)]
    save_csr(target, number, "rows", rows, rows.dtype)


def _take_columns(
    number: int, *, X: BlockMatrix, keep: npt.NDArray[np.bool_], target: Path
) -> None:
    columns = X.column_block(number)[:, np.flatnonzero(keep)]
    save_csr(target, number, "columns", columns, columns.dtype)


def join_views(
    number: int,
    *,
    folders: list[Path],
    widths: list[int],
    weights: list[float | None],
    target: Path,
    dtype: npt.DTypeLike | None,
) -> None:
    """Write a block's rows of all views side by side, each times its weight; remove those of the views.

    Parameters
    ----------
    number : int
        Of the block.
    folders : list of Path
        Where the views' blocks are.
    widths : list of int
        Columns of each view.
    weights : list of float or None
        As `sklearn.pipeline.FeatureUnion` takes them.
    target : Path
    dtype : dtype, optional
        Of the values.
    """
    if not has_rows(target, number):
        views = []
        for folder, width, weight in zip(folders, widths, weights, strict=True):
            length = len(mapped(folder / f"{number:06}-rows-indptr.npy")) - 1
            rows = _csr(folder, f"{number:06}-rows", (length, width))
            views.append(rows if weight is None else rows * weight)
        X = sp.hstack(views).tocsr()
        save_csr(target, number, "rows", X, dtype or X.dtype)
    for folder in folders:
        for file in folder.glob(f"{number:06}-rows-*"):
            file.unlink()


def join_rows(
    target: Path, n_blocks: int, tell: Callable[[int, int], None] = lambda _done, _of: None
) -> None:
    """Put the rows of all blocks into the same files, and remove each block that stands there.

    Parameters
    ----------
    target : Path
        What was done there before is not done again.
    n_blocks : int
    tell : callable
        Told how many blocks are done, and of how many.
    """
    files = {part: target / f"{_WHOLE}-{part}.npy" for part in _PARTS}
    ends_file = target / f"{_WHOLE}-ends.npy"
    if not ends_file.exists():
        each = [mapped(target / f"{number:06}-rows-indptr.npy") for number in range(n_blocks)]
        ends = np.cumsum([0, *(int(indptr[-1]) for indptr in each)])
        kind = np.int64 if ends[-1] > np.iinfo(np.int32).max else np.int32
        joined = [np.zeros(1, kind)]
        joined += [
            indptr[1:].astype(kind) + kind(end) for indptr, end in zip(each, ends, strict=False)
        ]
        save_array(files["indptr"], np.concatenate(joined))
        for part in _VALUES:
            first = mapped(target / f"{0:06}-rows-{part}.npy")
            np.lib.format.open_memmap(files[part], "w+", first.dtype, (int(ends[-1]),))
        save_array(ends_file, ends)
    ends = load_array(ends_file)
    for number in range(n_blocks):
        for part in _VALUES:
            block = target / f"{number:06}-rows-{part}.npy"
            if not block.exists():
                continue
            values = mapped(block)
            at = mapped(files[part]).offset + int(ends[number]) * values.itemsize
            with files[part].open("r+b") as file:
                file.seek(at)
                values.tofile(file)
            block.unlink()
        (target / f"{number:06}-rows-indptr.npy").unlink(missing_ok=True)
        tell(number + 1, n_blocks)


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
    X = sp.csr_array((data, indices, indptr), shape=(last - first, starts[-1]), copy=False)
    save_csr(target, number, "columns", X, data.dtype)


def has_rows(target: Path, number: int) -> bool:
    """Tell whether a block of rows is there, whole."""
    return (target / f"{number:06}-rows-indptr.npy").exists()


def save_csr(target: Path, number: int, kind: str, X: Any, dtype: npt.DTypeLike) -> None:
    """Write a block of rows or of columns; what says that it is there, last."""
    save(target, number, f"{kind}-data", X.data.astype(dtype, copy=False))
    save(target, number, f"{kind}-indices", X.indices.astype(np.int32, copy=False))
    save(target, number, f"{kind}-indptr", X.indptr.astype(np.int32))


def save(folder: Path, number: int, name: str, array: npt.NDArray[Any]) -> None:
    save_array(folder / f"{number:06}-{name}.npy", array)


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    beside = path.with_suffix(".writing")
    with beside.open("wb") as file:
        np.save(file, array)
    beside.replace(path)


def save_text(path: Path, text: str) -> None:
    beside = path.with_suffix(".writing")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def load(folder: Path, number: int, name: str) -> Any:
    return load_array(folder / f"{number:06}-{name}.npy")


def load_array(path: Path) -> Any:
    return np.array(mapped(path))


def mapped(path: Path) -> Any:
    """Return an array that lies on disk, mapped into memory."""
    # numpy parses the head of a file as Python; in several threads at once, Python 3.11 and 3.12
    # may answer "AST constructor recursion depth mismatch".
    with _PARSING:
        return np.load(path, mmap_mode="r")

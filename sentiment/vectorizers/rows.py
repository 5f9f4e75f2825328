"""Rows of a sparse matrix, made a block of texts at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from copy import copy
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Int64 = npt.NDArray[np.int64]


class Rows(NamedTuple):
    """Some rows of a sparse matrix.

    Attributes
    ----------
    lengths : ndarray of int64, shape (n_rows,)
        Number of values of each row.
    indices : ndarray of int32, shape (n_values,)
        Columns, ascending within a row.
    data : ndarray, shape (n_values,)
    """

    lengths: Int64
    indices: npt.NDArray[np.int32]
    data: npt.NDArray[Any]


def stack(
    parts: Iterable[Rows],
    n_rows: int,
    n_columns: int,
    dtype: npt.DTypeLike,
    most: int | None = None,
) -> sp.csr_matrix:
    """Stack rows to a matrix.

    Parameters
    ----------
    parts : iterable of Rows
    n_rows, n_columns : int
        Shape of the matrix.
    dtype : dtype
        Of the parts' data too.
    most : int, optional
        Parts hold no more values than that: each is copied as it comes, and never are all held twice.

    Returns
    -------
    csr_matrix, shape (n_rows, n_columns)
        Canonical; indices of 32 bits unless there are more values than these can count.
    """
    if most is None:
        waiting = deque(parts)
        most = sum(len(part.data) for part in waiting)
        parts = (waiting.popleft() for _ in range(len(waiting)))
    indptr = np.zeros(n_rows + 1, np.int64)
    # What is never written takes no memory.
    indices, data = np.empty(most, np.int32), np.empty(most, dtype)
    row = at = 0
    for part in parts:
        indptr[row + 1 : row + 1 + len(part.lengths)] = part.lengths
        row += len(part.lengths)
        if len(part.data) == most:  # the only one
            indices, data = part.indices, part.data
        else:
            indices[at : at + len(part.data)] = part.indices
            data[at : at + len(part.data)] = part.data
        at += len(part.data)
    indptr.cumsum(out=indptr)
    index = np.int32 if at <= np.iinfo(np.int32).max else np.int64
    X = copy(_empty_matrix(n_rows, n_columns, np.dtype(dtype)))
    X.data, X.indices = data[:at], indices[:at].astype(index, copy=False)
    X.indptr = indptr.astype(index, copy=False)
    X.has_canonical_format = True
    return X


@lru_cache(maxsize=4)
def _empty_matrix(n_rows: int, n_columns: int, dtype: np.dtype[Any]) -> sp.csr_matrix:
    """Return a matrix to copy: scipy's checks of a new one take a tenth of a text's time."""
    return sp.csr_matrix((n_rows, n_columns), dtype=dtype)


def divide_by_norm(
    rows: Int64, data: npt.NDArray[np.float64], norm: Literal["l1", "l2"] | None, n_rows: int
) -> npt.NDArray[np.float64]:
    """Divide every value by the norm of its row, in place.

    Parameters
    ----------
    rows : ndarray of int64, shape (n_values,)
        Row of each value.
    data : ndarray of float64, shape (n_values,)
    norm : {"l1", "l2", None}
    n_rows : int
    """
    if norm is None:
        return data
    if norm == "l1":
        length = np.bincount(rows, np.abs(data), n_rows)
    else:
        length = np.sqrt(np.bincount(rows, data * data, n_rows))
    length[length == 0] = 1.0
    data /= length.take(rows)
    return data

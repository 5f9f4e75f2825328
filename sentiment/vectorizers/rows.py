"""Rows of a sparse matrix, made a block of texts at a time."""

from __future__ import annotations

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


_NO_ROWS = Rows(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0))


def stack(
    parts: Iterable[Rows], n_rows: int, n_columns: int, dtype: npt.DTypeLike
) -> sp.csr_matrix:
    """Stack rows to a matrix.

    Parameters
    ----------
    parts : iterable of Rows
    n_rows, n_columns : int
        Shape of the matrix.
    dtype : dtype
        Of the parts' data too.

    Returns
    -------
    csr_matrix, shape (n_rows, n_columns)
        Canonical; indices of 32 bits unless there are more values than these can count.
    """
    parts = list(parts)
    if not parts:
        return sp.csr_matrix((n_rows, n_columns), dtype=dtype)
    n_values = sum(len(part.data) for part in parts)
    index = np.int32 if n_values <= np.iinfo(np.int32).max else np.int64
    indptr = np.zeros(n_rows + 1, index)
    if len(parts) == 1:
        parts[0].lengths.cumsum(out=indptr[1:])
        indices, data = parts[0].indices.astype(index, copy=False), parts[0].data
    else:
        np.cumsum(np.concatenate([part.lengths for part in parts]), out=indptr[1:])
        indices, data = np.empty(n_values, index), np.empty(n_values, dtype)
        at = 0
        for i, part in enumerate(parts):
            indices[at : at + len(part.data)] = part.indices
            data[at : at + len(part.data)] = part.data
            at += len(part.data)
            parts[i] = _NO_ROWS  # so that not all rows are held twice
    X = copy(_empty_matrix(n_rows, n_columns, np.dtype(dtype)))
    X.data, X.indices, X.indptr = data, indices, indptr
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

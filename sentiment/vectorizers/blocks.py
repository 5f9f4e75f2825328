"""The same features as `fit_transform` makes, for a corpus that memory does not hold.

Texts come in blocks of a fixed number of characters. Each block is encoded and its n-grams are
counted by itself, with the functions that count a corpus in memory; its counts go to disk, sorted.
Ranges of n-grams are then merged over all blocks, so that `min_df`, `max_df` and `max_features` see the
exact counts of the whole corpus, and what is infrequent is dropped before the next order is counted.
At last each block's rows are written as a block of the matrix.

In memory are the vocabulary and a few blocks. Every step of a block ends with one file that takes its
name when it is whole, so that a step can be done again, elsewhere, or left out when it is done.
"""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import FeatureUnion

from sentiment.text.engine import Engine, give_back
from sentiment.vectorizers.base import TextError
from sentiment.vectorizers.block_matrix import (
    BlockMatrix,
    has_rows,
    join_rows,
    join_views,
    mapped,
    save_array,
    save_csr,
    save_text,
    sort_block,
    transpose,
)
from sentiment.vectorizers.counting import assemble_block, count
from sentiment.vectorizers.fitted import read_fitted, write_fitted
from sentiment.vectorizers.hashing import HashingVectorizer
from sentiment.vectorizers.making import LARGEST, Block, Int32, Making, Progress, Sizes
from sentiment.vectorizers.ngram import CountVectorizer

_ROWS = "rows.json"  # says that all rows are written

Layout = Literal["rows", "columns", "whole"]
"""Blocks of rows, those and blocks of columns, or all rows in the same files."""


def fit_blocks(
    vectorizer: Any,
    texts: Callable[[], Iterable[list[str]]],
    folder: Path,
    engine: Engine,
    progress: Progress,
    *,
    dtype: npt.DTypeLike | None = None,
    layout: Layout = "columns",
    sizes: Sizes = LARGEST,
    n_texts: int = 0,
) -> BlockMatrix:
    """Fit a vectorizer on texts that come in pieces, and write their features in blocks.

    Parameters
    ----------
    vectorizer : CountVectorizer, TfidfVectorizer, HashingVectorizer or a union of them
        Fitted in place.
    texts : callable
        Returns the texts, some at a time: all of them again for each view of a union.
    folder : Path
        What is there already is taken, so it belongs to these texts and this vectorizer alone.
    engine : Engine
    progress : callable
    dtype : dtype, optional
        Of the values on disk; without it they are as the vectorizer makes them.
    layout : {"rows", "columns", "whole"}
        In blocks of rows, in blocks of columns too, or with all rows in the same files.
    sizes : Sizes
    n_texts : int
        How many there are, for the progress; 0 is not known.

    Returns
    -------
    BlockMatrix
        In the folder ``matrix``; what was needed on the way is removed.

    Raises
    ------
    TextError
        As `fit_transform` does, or it was given a vocabulary or functions.
    """
    matrix, work = folder / "matrix", folder / "work"
    making = Making(texts, engine, progress, sizes, n_texts)
    lengths, filled = _write_rows(vectorizer, making, work, matrix, dtype)
    widths = []
    if layout == "columns":
        cuts = _cut_columns(filled, sizes.ngrams)
        widths = np.diff(cuts).tolist()
        steps = len(lengths) + len(widths)
        done = 0
        for function, items in (
            (sort_block, range(len(lengths))),
            (transpose, range(len(widths))),
        ):
            for _ in engine.map(
                function, items, folder=work, target=matrix, starts=[0, *itertools.accumulate(lengths)],
                cuts=cuts,
            ):  # fmt: skip
                done += 1
                progress("transpose", done, steps)
    elif layout == "whole":
        join_rows(matrix, len(lengths), lambda done, of: progress("one file", done, of))
    # A network file system keeps names of what is mapped still: they go with the whole.
    shutil.rmtree(work, ignore_errors=True)
    return BlockMatrix(matrix, lengths, widths, len(filled), engine, joined=layout == "whole")


def _write_rows(
    vectorizer: Any, making: Making, work: Path, target: Path, dtype: npt.DTypeLike | None
) -> tuple[list[int], Int32]:
    """Fit a vectorizer and write all rows; return those of each block, and the texts of each column."""
    about = work / _ROWS
    if about.exists():
        return _rows_there(vectorizer, work)
    work.mkdir(parents=True, exist_ok=True)
    target.mkdir(parents=True, exist_ok=True)
    if isinstance(vectorizer, FeatureUnion):
        lengths, filled = _write_union(vectorizer, making, work, target, dtype)
    else:
        if vectorizer.functions() or getattr(vectorizer, "vocabulary", None) is not None:
            raise TextError(
                "a vectorizer with functions or a given vocabulary has all texts in memory: "
                "data.memory must allow that"
            )
        write = _write_hashed if isinstance(vectorizer, HashingVectorizer) else _write_counted
        lengths, filled = write(vectorizer, making, work, target, dtype or vectorizer.dtype)
    # From here on the blocks may be used up.
    save_array(work / "filled.npy", filled)
    known = {"fitted": write_fitted(vectorizer, work), "lengths": lengths}
    save_text(about, json.dumps(known))
    return _rows_there(vectorizer, work)


def _rows_there(vectorizer: Any, work: Path) -> tuple[list[int], Int32]:
    """Give a vectorizer what it learned when all rows were written, and return what `_write_rows` does.

    Arrays are mapped: what no step reads takes no memory.
    """
    known = json.loads((work / _ROWS).read_text(encoding="utf-8"))
    read_fitted(vectorizer, known["fitted"], work)
    return known["lengths"], mapped(work / "filled.npy")


def _write_union(
    union: FeatureUnion, making: Making, work: Path, target: Path, dtype: npt.DTypeLike | None
) -> tuple[list[int], Int32]:
    """Write each view's rows, then all side by side."""
    weights = union.transformer_weights or {}
    folders, filled = [], []
    lengths: list[int] = []
    for number, (name, view) in enumerate(union.transformer_list):
        place = work / f"view{number}"
        folders.append(place / "rows")
        # Blocks are of texts as they are read: those of all views begin and end with the same.
        lengths, found = _write_rows(view, making.of_view(name), place, folders[-1], None)
        filled.append(found)
    for done, _ in enumerate(
        making.engine.map(
            join_views, range(len(lengths)), folders=folders, widths=[len(each) for each in filled],
            weights=[weights.get(name) for name, _ in union.transformer_list], target=target,
            dtype=dtype,
        ),
        start=1,
    ):  # fmt: skip
        making.progress("join", done, len(lengths))
    return lengths, np.concatenate(filled)


def _write_hashed(
    vectorizer: HashingVectorizer, making: Making, work: Path, target: Path, dtype: npt.DTypeLike
) -> tuple[list[int], Int32]:
    lengths: list[int] = []
    for rows in making.engine.map(
        _hash_block, making.blocks(), folder=target, vectorizer=vectorizer, dtype=dtype
    ):
        lengths.append(rows)
        making.progress("features", len(lengths), making.expected(lengths))
    return lengths, np.ones(vectorizer.n_features, np.int32)


def _write_counted(
    vectorizer: CountVectorizer, making: Making, work: Path, target: Path, dtype: npt.DTypeLike
) -> tuple[list[int], Int32]:
    vectorizer._validate_params()
    lengths, n_orders = count(vectorizer, vectorizer._make_spec(), making, work)
    filled = vectorizer.index_.document_frequency()
    give_back()
    weigher = copy.copy(vectorizer)  # the weights without the vocabulary
    weigher.__dict__.pop("index_")
    for done, _ in enumerate(
        making.engine.map(
            assemble_block, range(len(lengths)), folder=work, target=target, weigher=weigher,
            n_columns=len(filled), n_orders=n_orders, dtype=dtype,
        ),
        start=1,
    ):  # fmt: skip
        making.progress("features", done, len(lengths))
    return lengths, filled


def _cut_columns(filled: Int32, size: int) -> list[int]:
    """Cut columns into ranges that hold about so many values."""
    ends = np.cumsum(filled, dtype=np.int64)
    n_ranges = max(1, -(-int(ends[-1]) // size))
    marks = int(ends[-1]) * np.arange(1, n_ranges) // n_ranges
    cuts = np.concatenate([[0], np.searchsorted(ends, marks), [len(filled)]])
    return [int(cut) for cut in np.unique(cuts)]


def _hash_block(
    block: Block, *, folder: Path, vectorizer: HashingVectorizer, dtype: npt.DTypeLike
) -> int:
    if not has_rows(folder, block.number):
        save_csr(folder, block.number, "rows", vectorizer.transform(block.texts), dtype)
    return len(block.texts)

"""Lay a fitted vectorizer and its weights out as the arrays of one view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment.scorer.container import Tensors
from sentiment.scorer.view import HashView, NgramView
from sentiment.text.ngrams import Level, key_ngrams

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Columns = NDArray[np.int64]

# float16 has 2048 steps between two powers of two and nothing below 6e-8: each column is scaled
# so that its largest value lies here, and small weights keep their digits.
_FLOAT16_TOP = 1024.0
_PART = 1 << 20


def is_hashing(step: Any) -> bool:
    """Tell whether a vectorizer hashes its n-grams instead of knowing them."""
    return hasattr(step, "spec_") and hasattr(step, "alternate_sign")


def inverse_frequency(step: Any, n_features: int) -> NDArray[np.floating[Any]]:
    """Return the factor of each feature inside the norm, as precise as the vectorizer knows it."""
    idf = None if is_hashing(step) else step.idf_
    return np.ones(n_features) if idf is None else np.asarray(idf)


def compile_view(
    step: Any, coef: Floats, factor: float, dtype: np.dtype[Any], keep: Bools | None = None
) -> tuple[dict[str, Any], Tensors]:
    """Lay one vectorizer out.

    Parameters
    ----------
    step : vectorizer
        Fitted, of `sentiment.vectorizers`.
    coef : float64[scores, n_features]
        Weights of its features.
    factor : float
        Of the view: what its features count.
    dtype : dtype
        Of the stored values, float32 or float16.
    keep : bool[n_features], optional
        Features to keep; by default all.

    Returns
    -------
    document : dict
        The view in ``scorer.json``.
    tensors : dict of str to ndarray
        Its arrays.
    """
    view: dict[str, Any] = {"text": step.spec_.to_dict(), "tf": step.tf_, "norm": step.norm}
    idf = inverse_frequency(step, coef.shape[1])
    if is_hashing(step):
        columns = np.arange(coef.shape[1])
        values, view["scale"] = _values(
            coef, factor, idf, [(columns, columns, 0)], len(columns), step.norm, dtype
        )
        view |= {"kind": HashView.kind, "alternate_sign": bool(step.alternate_sign)}
        return view, {"values": values}
    tokens, levels = step.index_.tokens, step.index_.levels
    if keep is None:
        keyed = step.index_.keyed
    else:
        tokens, levels = _pruned(tokens, levels, keep)
        keyed = key_ngrams(levels, len(tokens))
    table, slots = keyed.table, keyed.slots
    first = levels[0].column
    single = np.flatnonzero(first >= 0)
    orders = [1, *keyed.orders] if len(single) else list(keyed.orders)
    below = len(tokens) + 2
    values, view["scale"] = _values(
        coef,
        factor,
        idf,
        [(first[single], single + 1, 0), (keyed.columns, slots, below)],
        below + len(table.keys),
        step.norm,
        dtype,
    )
    view |= {
        "kind": NgramView.kind,
        "base": int(keyed.base),
        "orders": orders,
        "multiplier": table.multiplier,
        "n_documents": int(step.n_documents_),
    }
    tensors: Tensors = {
        "tokens": np.frombuffer("".join(tokens).encode(), dtype=np.uint8),
        "token_lengths": np.array([len(token) for token in tokens], dtype=np.uint32),
        "document_frequency": levels[0].df.astype(np.uint32),
        "keys": table.keys,
        "displacements": table.displacements,
        "values": values,
    }
    if not keyed.exact:
        tensors["ngrams"] = np.zeros((len(table.keys), len(levels)), dtype=np.uint32)
        at = 0
        for digits in _digits(levels):
            tensors["ngrams"][slots[at : at + len(digits)]] = digits
            at += len(digits)
    return view, tensors


def _values(
    coef: Floats,
    factor: float,
    idf: NDArray[np.floating[Any]],
    places: Sequence[tuple[Any, Columns, int]],
    n_rows: int,
    norm: str | None,
    dtype: np.dtype[Any],
) -> tuple[NDArray[Any], list[float] | None]:
    """Lay weights out by row; the factor inside the norm stands first where there is a norm.

    Places are columns, the rows where they go, and the first of these. Large vocabularies are laid
    out a part at a time, so that no other array is as long.
    """

    def parts() -> Iterator[tuple[Columns, Floats]]:
        for columns, rows, first_row in places:
            for begin in range(0, len(columns), _PART):
                cut = slice(begin, begin + _PART)
                inside = idf[columns[cut]].astype(np.float64)
                weighted = (coef[:, columns[cut]] * factor * inside).T
                if norm is not None:
                    weighted = np.column_stack([inside, weighted])
                yield rows[cut].astype(np.int64) + first_row, weighted

    width = len(coef) + int(norm is not None)
    top = np.ones(width)
    if dtype == np.float16:
        top = np.max([np.abs(part).max(axis=0) for _, part in parts()], axis=0, initial=0.0)
        top /= _FLOAT16_TOP
        top[top == 0] = 1.0
    values = np.zeros((n_rows, width), dtype=dtype)
    for rows, part in parts():
        values[rows] = part / top if dtype == np.float16 else part
    return values, top.tolist() if dtype == np.float16 else None


def _digits(levels: list[Level]) -> Iterator[NDArray[np.uint32]]:
    """Yield the token ids of all features of two tokens and more, some at a time, 0 before the first."""
    for order, level in enumerate(levels[1:], start=1):
        features = np.flatnonzero(level.column >= 0)
        for begin in range(0, len(features), _PART):
            entries: NDArray[Any] = features[begin : begin + _PART]
            digits = np.zeros((len(entries), len(levels)), dtype=np.uint32)
            for back, below in enumerate(levels[order::-1], start=1):
                digits[:, -back] = below.last[entries] + 1
                entries = below.prefix[entries]
            yield digits


def _pruned(tokens: list[str], levels: list[Level], keep: Bools) -> tuple[list[str], list[Level]]:
    """Return the vocabulary without the features that go, nor the tokens that only they had."""
    columns = [np.where((c := level.column) >= 0, np.where(keep[c], c, -1), -1) for level in levels]
    needed = [column >= 0 for column in columns]
    for order in range(len(levels) - 1, 0, -1):
        needed[order - 1][levels[order].prefix[needed[order]]] = True
        needed[0][levels[order].last[needed[order]]] = True
    numbers = [np.cumsum(need, dtype=np.int32) - 1 for need in needed]
    pruned = []
    for order, (level, need, column) in enumerate(zip(levels, needed, columns, strict=True)):
        prefix = level.prefix[need]
        pruned.append(
            Level(
                prefix if order == 0 else numbers[order - 1][prefix].astype(np.int32),
                numbers[0][level.last[need]].astype(np.int32),
                column[need].astype(np.int32),
                level.df[need],
            )
        )
    return [tokens[number] for number in np.flatnonzero(needed[0]).tolist()], pruned

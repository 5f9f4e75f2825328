"""N-grams as numbers: an n-gram is the pair of its prefix and its last token, and one 64-bit key.

The key's digits, in base ``n_tokens + 2``, are the ids of the tokens, from 1; ``n_tokens + 1`` stands
for every unknown token and for the gap between two texts, so no n-gram across either is ever found.
Where such numbers pass 64 bits (long n-grams of many tokens), the base is a random odd number and
keys are these polynomials modulo 2**64, distinct for all features of two tokens and more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment.text.table import Table, build_table

IntArray = npt.NDArray[np.int32]
LongArray = npt.NDArray[np.int64]
Ids = npt.NDArray[np.uint64]

_ONE = np.uint64(1)


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """All n-grams of one order that an index knows, in lexicographic order.

    Attributes
    ----------
    prefix : ndarray of int32, shape (n,)
        Entry of the level below that the n-gram extends; -1 in the first level.
    last : ndarray of int32, shape (n,)
        Id of the last token.
    column : ndarray of int32, shape (n,)
        Feature column, or -1 for an n-gram that is only the prefix of others.
    df : ndarray of int32, shape (n,)
        Number of training texts that hold the n-gram.
    """

    prefix: IntArray
    last: IntArray
    column: IntArray
    df: IntArray

    def __len__(self) -> int:
        return len(self.last)


class NgramIndex:
    """A fitted vocabulary.

    Attributes
    ----------
    tokens : list of str
        Tokens that occur in some n-gram of the vocabulary, sorted; a token's id is its position.
        Entry ``i`` of the first level is token ``i``.
    levels : list of Level
        ``levels[k - 1]`` holds the n-grams of ``k`` tokens.
    separator : str
        What stands between the tokens of an n-gram: a space, or nothing for characters.
    n_features : int
        Number of feature columns.
    """

    def __init__(self, tokens: list[str], levels: list[Level], separator: str) -> None:
        self.tokens = tokens
        self.levels = levels
        self.separator = separator
        self.n_features = sum(int((level.column >= 0).sum()) for level in levels)
        self._keyed: KeyedNgrams | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"tokens": self.tokens, "levels": self.levels, "separator": self.separator}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def ngrams(self) -> list[str]:
        """Return the n-gram of every column, in column order."""
        names = [""] * self.n_features
        strings: list[str] = []
        for k, level in enumerate(self.levels):
            if k == 0:
                strings = self.tokens
            else:
                strings = [
                    strings[p] + self.separator + self.tokens[t]
                    for p, t in zip(level.prefix.tolist(), level.last.tolist(), strict=True)
                ]
            for name, column in zip(strings, level.column.tolist(), strict=True):
                if column >= 0:
                    names[column] = name
        return names

    def document_frequency(self) -> IntArray:
        """Return the number of training texts that hold each column's n-gram."""
        df = np.zeros(self.n_features, np.int32)
        for level in self.levels:
            kept = level.column >= 0
            df[level.column[kept]] = level.df[kept]
        return df

    @property
    def keyed(self) -> KeyedNgrams:
        """The features by their keys, made when first asked for; not pickled."""
        if self._keyed is None:
            self._keyed = key_ngrams(self.levels, len(self.tokens))
        return self._keyed


@dataclass(frozen=True, slots=True, eq=False)
class KeyedNgrams:
    """The features of a vocabulary, those of two tokens and more in one table of all orders.

    Attributes
    ----------
    n_tokens : int
    base : uint64
        Of the keys.
    exact : bool
        Whether a key can be taken apart into its digits again.
    orders : tuple of int
        The numbers of tokens from 2 that any feature has, ascending.
    table : Table
        Of the keys.
    slots, columns : ndarray of int32 (slots: of int64 where there are too many), shape (n,)
        Slot in the table and column of each feature of two tokens and more, order by order.
    of_token, of_slot : ndarray of int32
        The column of each token, and at the end -1 for an unknown one; that of each slot.
    """

    n_tokens: int
    base: np.uint64
    exact: bool
    orders: tuple[int, ...]
    table: Table
    slots: npt.NDArray[np.signedinteger[Any]]
    columns: IntArray
    of_token: IntArray
    of_slot: IntArray

    def find(self, ids: IntArray, rows: LongArray | None = None) -> LongArray:
        """Return the features of a corpus.

        Parameters
        ----------
        ids : ndarray of int32, shape (n_positions,)
            Token ids of a corpus; -1 for unknown tokens and after every text.
        rows : ndarray of int64, shape (n_positions,), optional
            A number for the text of each position, shifted by 32 bits; by default 0.

        Returns
        -------
        ndarray of int64, shape (n_found,)
            The text's number and the column of each found n-gram, order by order.
        """
        columns = self.of_token.take(ids)
        known = (columns >= 0).nonzero()[0]
        found = [columns.take(known).astype(np.int64)]
        if rows is not None:
            found[0] |= rows.take(known)
        if self.orders:
            keys = join_digits(to_digits(ids, self.n_tokens), self.orders, self.base)
            slots, there = self.table.find(np.concatenate(keys))
            hits = there.nonzero()[0]
            found.append(self.of_slot.take(slots.take(hits)).astype(np.int64))
            if rows is not None:
                found[1] |= np.concatenate([rows[: len(part)] for part in keys]).take(hits)
        return np.concatenate(found)


def to_digits(ids: IntArray, n_tokens: int) -> Ids:
    """Return the digits of token ids, of which -1 is an unknown token or a gap.

    Parameters
    ----------
    ids : ndarray of int32, shape (n,)
    n_tokens : int
    """
    digits = ids.astype(np.uint64)
    digits += _ONE
    digits[ids < 0] = n_tokens + 1
    return digits


def join_digits(digits: Ids, orders: tuple[int, ...], base: np.uint64) -> list[Ids]:
    """Return the keys of the n-grams at every position of a sequence, for each order.

    Parameters
    ----------
    digits : ndarray of uint64, shape (n,)
        Token ids, from 1.
    orders : tuple of int
        Numbers of tokens from 2, ascending.
    base : uint64
    """
    joined = []
    keys = digits
    for order in range(2, max(orders, default=1) + 1):
        keys = keys[:-1] * base
        keys += digits[order - 1 :]
        if order in orders:
            joined.append(keys)
    return joined


def key_ngrams(levels: list[Level], n_tokens: int) -> KeyedNgrams:
    """Give features their keys, and put these into a table.

    Parameters
    ----------
    levels : list of Level
    n_tokens : int
    """
    orders = tuple(
        order
        for order, level in enumerate(levels, start=1)
        if order > 1 and (level.column >= 0).any()
    )
    base = n_tokens + 2
    exact = base ** len(levels) < 2**64
    generator = np.random.Generator(np.random.PCG64(0))
    while True:
        if not exact:
            base = int(generator.integers(2**62, 2**63)) * 2 + 1
        keys, columns = _keys(levels, np.uint64(base))
        try:
            table, slots = build_table(keys)
            break
        except ValueError:
            # N-grams met; 64 random bits nearly always see to it that they do not.
            if exact:
                raise
    of_slot = np.full(len(table.keys), -1, np.int32)
    of_slot[slots] = columns
    of_token = np.append(levels[0].column, np.int32(-1))
    return KeyedNgrams(
        n_tokens, np.uint64(base), exact, orders, table, slots, columns, of_token, of_slot
    )


def _keys(levels: list[Level], base: np.uint64) -> tuple[Ids, IntArray]:
    n = sum(int(np.count_nonzero(level.column >= 0)) for level in levels[1:])
    found, columns = np.empty(n, np.uint64), np.empty(n, np.int32)
    keys = levels[0].last.astype(np.uint64) + _ONE
    at = 0
    for level in levels[1:]:
        keys = keys[level.prefix]
        keys *= base
        keys += level.last.astype(np.uint64)
        keys += _ONE
        features = level.column >= 0
        here = slice(at, at := at + int(np.count_nonzero(features)))
        found[here], columns[here] = keys[features], level.column[features]
    return found, columns


def count_keys(keys: LongArray) -> tuple[LongArray, LongArray, LongArray]:
    """Count equal features of a text.

    Parameters
    ----------
    keys : ndarray of int64, shape (n,)
        Number of the text, shifted by 32 bits, and column, for every n-gram; sorted in place.

    Returns
    -------
    rows, indices, counts : ndarray of int64, shape (nnz,)
        Text, column and count; ascending by text, then column.
    """
    keys.sort()
    first = np.empty(len(keys), np.bool_)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    begins = first.nonzero()[0]
    counts = np.empty(len(begins), np.int64)
    np.subtract(begins[1:], begins[:-1], out=counts[:-1])
    counts[-1:] = len(keys) - begins[-1:]
    keys = keys.take(begins)
    return keys >> 32, keys & 0xFFFFFFFF, counts

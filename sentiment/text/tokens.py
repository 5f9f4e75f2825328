"""Tokens to ids: a token's bytes, read as one to eight 64-bit words, are its key in a hash table.

Exact, since the whole key is compared. All of it is numpy over arrays that fit the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sentiment.text.scanning import PADDING, Spans, spans_of

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_MAX_WORDS = len(PADDING) // 8  # longer tokens, in 64-bit words, are keys of a dict
# Bytes of a key that belong to a token with 0, 1, ... 8 bytes left.
_KEEP = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)


class KeyTable:
    """A hash table that grows, of keys of one or more 64-bit words; all look-ups are vectorized.

    Open addressing with linear probing, at most half full. The last word of no key is 0; a key's
    number is how many were added before it.

    Parameters
    ----------
    n_words : int
        64-bit words of a key.
    """

    def __init__(self, n_words: int) -> None:
        self.n = 0
        self._make(n_words, 16)

    def _make(self, n_words: int, n_slots: int) -> None:
        self._keys = np.zeros((n_words, n_slots), np.uint64)
        self._numbers = np.full(n_slots, -1, np.int32)
        self._mask = np.int64(n_slots - 1)
        self._shift = np.uint64(65 - n_slots.bit_length())

    def keys(self) -> UInt64:
        """Return the keys in the order of their numbers, shape (n_words, n)."""
        used = np.flatnonzero(self._numbers >= 0)
        keys = np.empty((len(self._keys), self.n), np.uint64)
        keys[:, self._numbers[used]] = self._keys[:, used]
        return keys

    def add(self, keys: UInt64) -> None:
        """Append keys that the table lacks, all distinct."""
        begin, self.n = self.n, self.n + keys.shape[1]
        if 2 * self.n > len(self._numbers):
            keys = np.concatenate([self.keys()[:, :begin], keys], axis=1)
            begin = 0
            n_slots = 1 << (3 * self.n).bit_length()
            self._make(len(keys), n_slots)
        numbers = np.arange(begin, self.n, dtype=np.int32)
        slots = self._slot(keys)
        while len(numbers):
            free = self._numbers[slots] < 0
            self._numbers[slots[free]] = numbers[free]  # of several, one stays
            lost = self._numbers[slots] != numbers
            self._keys[:, slots[~lost]] = keys[:, ~lost]
            numbers, keys = numbers[lost], keys[:, lost]
            slots = slots[lost] + 1 & self._mask

    def _slot(self, keys: UInt64) -> Int64:
        mixed = keys[0] * _ODD
        for word in keys[1:]:
            mixed = ((mixed ^ (mixed >> np.uint64(32))) + word) * _ODD
        mixed >>= self._shift
        slots: Int64 = mixed.view(np.int64)
        return slots

    def find(self, keys: UInt64) -> Int32:
        """Return each key's number, or -1.

        Parameters
        ----------
        keys : ndarray of uint64, shape (n_words, m)
        """
        slots = self._slot(keys)
        open_ = self._taken(slots, keys).nonzero()[0]
        keys = keys.take(open_, axis=1)
        while len(open_):
            following = slots.take(open_)
            following += 1
            following &= self._mask
            slots[open_] = following
            taken = self._taken(following, keys).nonzero()[0]
            open_, keys = open_.take(taken), keys.take(taken, axis=1)
        return self._numbers.take(slots)

    def _taken(self, slots: Int64, keys: UInt64) -> Bools:
        """Return which slots hold another key than the given ones."""
        last = self._keys[-1].take(slots)
        taken: Bools = last != keys[-1]
        for column, word in zip(self._keys[:-1], keys[:-1], strict=True):
            taken |= column.take(slots) != word
        taken &= last != 0
        return taken


_ODD = np.uint64(0x9E3779B97F4A7C15)


class TokenTable:
    """Token to id, for the tokens of `Spans`.

    Parameters
    ----------
    tokens : sequence of str
        The tokens with ids 0, 1, 2, ...
    """

    def __init__(self, tokens: Sequence[str] = ()) -> None:
        # Of each number of words: the keys, and the id of each key; the id after the last is -1.
        self._tables: dict[int, tuple[KeyTable, Int32]] = {}
        self._others: dict[bytes, int] = {}
        self.n = 0
        if len(tokens):
            spans = spans_of([tokens])
            wanted = np.append(np.argsort(self.find(spans, grow=True)), -1).astype(np.int32)
            self._tables = {n: (table, wanted[ids]) for n, (table, ids) in self._tables.items()}
            self._others = {token: int(wanted[i]) for token, i in self._others.items()}

    def tokens(self) -> list[str]:
        """Return every token, in the order of the ids."""
        tokens = [""] * self.n
        for table, ids in self._tables.values():
            keys = table.keys()
            packed = np.ascontiguousarray(keys.T).view(f"S{8 * len(keys)}").ravel()
            for i, token in zip(ids[:-1].tolist(), packed.tolist(), strict=True):
                tokens[i] = token.decode()
        for token, i in self._others.items():
            tokens[i] = token.decode()
        return tokens

    def find(self, spans: Spans, *, grow: bool = False) -> Int32:
        """Return each token's id; an unknown one gets -1, or the next free id with ``grow``.

        Parameters
        ----------
        spans : Spans
        grow : bool
        """
        starts, lengths = spans.starts, spans.lengths
        ids = np.empty(len(starts), np.int32)
        n_words = (lengths + 7) >> 3
        n_words[n_words > _MAX_WORDS] = 0
        # Keys are padded with zeros, so a token that ends in one needs the dict; so does the empty.
        buffer = np.frombuffer(spans.buffer, np.uint8)
        n_words[(lengths == 0) | (buffer[starts + lengths - 1] == 0)] = 0
        # Every byte offset is the start of a (little-endian, unaligned) 64-bit word.
        words = np.ndarray((len(buffer) - 7,), "<u8", spans.buffer, 0, (1,))
        for n in np.flatnonzero(np.bincount(n_words)).tolist():
            at = np.flatnonzero(n_words == n)
            if n == 0:
                ids[at] = self._find_others(spans, at, grow)
                continue
            keys = np.empty((n, len(at)), np.uint64)
            begin = starts[at]
            for j in range(n):
                keys[j] = words[begin + 8 * j]
            keys[n - 1] &= _KEEP[lengths[at] - 8 * (n - 1)]
            ids[at] = self._find_keys(keys, grow)
        return ids

    def _find_keys(self, keys: UInt64, grow: bool) -> Int32:
        n = len(keys)
        table, ids = self._tables.get(n, (None, None))
        if table is None or ids is None:
            table, ids = KeyTable(n), np.full(1, -1, np.int32)
        numbers = table.find(keys)
        if grow:
            missing = np.flatnonzero(numbers < 0)
            if len(missing):
                unknown = keys[:, missing]
                order = np.lexsort(unknown)
                ordered = unknown[:, order]
                new = np.ones(len(order), np.bool_)
                new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
                numbers[missing[order]] = table.n + np.cumsum(new) - 1
                fresh = ordered[:, new]
                table.add(fresh)
                added = np.arange(self.n, self.n + fresh.shape[1], dtype=np.int32)
                ids = np.concatenate([ids[:-1], added, ids[-1:]])
                self.n += len(added)
            self._tables[n] = table, ids
        return ids.take(numbers)

    def _find_others(self, spans: Spans, at: Int64, grow: bool) -> list[int]:
        ids = []
        for start, length in zip(
            spans.starts[at].tolist(), spans.lengths[at].tolist(), strict=True
        ):
            token = spans.buffer[start : start + length]
            i = self._others.get(token, -1)
            if i < 0 and grow:
                i = self._others[token] = self.n
                self.n += 1
            ids.append(i)
        return ids

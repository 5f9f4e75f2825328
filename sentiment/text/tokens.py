r"""Many texts to columns of token ids, without making a string per token.

The texts of a block become one UTF-8 buffer. A table of 256 entries says which bytes are word
characters (the few other characters are looked up by code point), so token boundaries are the places
where that changes. A token's bytes, read as one to eight 64-bit words, are its key in a hash table:
exact, since the whole key is compared. All of it is numpy over arrays that fit the processor's cache.

What a token is stays defined by `sentiment.text.Tokenizer`; a pattern that is not one of the named
ones goes through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sentiment.text.normal import UNSEGMENTED, mark_ranges
from sentiment.text.spec import PATTERNS, SKLEARN_PATTERN, TextSpec, Tokenizer, clean, word_ranges

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

_MAX_WORDS = 8  # longer tokens, in 64-bit words, are keys of a dict
_PADDING = bytes(8 * _MAX_WORDS)
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


@dataclass(frozen=True, slots=True)
class Spans:
    """Tokens as stretches of a buffer.

    Attributes
    ----------
    buffer : bytes
        UTF-8, followed by at least 64 other bytes.
    starts, lengths : ndarray of int64, shape (n_tokens,)
        In bytes.
    per_text : ndarray of int64, shape (n_texts,)
        Number of tokens of each text.
    """

    buffer: bytes
    starts: Int64
    lengths: Int64
    per_text: Int64


class TokenTable:
    """Token to id, for the tokens of `Spans`.

    Parameters
    ----------
    tokens : sequence of str
        The tokens with ids 0, 1, 2, ...
    """

    def __init__(self, tokens: Sequence[str] = ()) -> None:
        self._tables: dict[int, tuple[KeyTable, Int32]] = {}
        self._others: dict[bytes, int] = {}
        self.n = 0
        if len(tokens):
            spans = _spans_of([tokens])
            wanted = np.argsort(self.find(spans, grow=True)).astype(np.int32)
            self._tables = {n: (table, wanted[ids]) for n, (table, ids) in self._tables.items()}
            self._others = {token: int(wanted[i]) for token, i in self._others.items()}

    def tokens(self) -> list[str]:
        """Return every token, in the order of the ids."""
        tokens = [""] * self.n
        for table, ids in self._tables.values():
            keys = table.keys()
            packed = np.ascontiguousarray(keys.T).view(f"S{8 * len(keys)}").ravel()
            for i, token in zip(ids.tolist(), packed.tolist(), strict=True):
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
            table, ids = KeyTable(n), np.empty(0, np.int32)
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
                ids = np.concatenate([ids, added])
                self.n += len(added)
            self._tables[n] = table, ids
        return np.append(ids, np.int32(-1))[numbers]

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


def scan(texts: Sequence[str], spec: TextSpec) -> Spans:
    """Find the tokens of texts, for the word analyzer; stop words are still among them.

    Parameters
    ----------
    texts : sequence of str
    spec : TextSpec
    """
    name = "word" if spec.token_pattern == SKLEARN_PATTERN else spec.token_pattern
    if name not in PATTERNS:
        tokenizer = Tokenizer(_without_stop_words(spec))
        return _spans_of([tokenizer(text) for text in texts])
    cleaned = [clean(text, spec) for text in texts]
    sizes = [len(text) if text.isascii() else len(text.encode()) for text in cleaned]
    buffer = "\n".join(cleaned).encode() + b"\n" + _PADDING
    starts, lengths = _FINDERS[name](buffer, spec.marks)
    ends = np.cumsum(np.array(sizes, np.int64) + 1)
    per_text = np.diff(np.searchsorted(starts, ends), prepend=0)
    return Spans(buffer, starts, lengths, per_text)


def _without_stop_words(spec: TextSpec) -> TextSpec:
    return TextSpec.from_dict({**spec.to_dict(), "stop_words": None})


def _spans_of(token_lists: Sequence[Sequence[str]]) -> Spans:
    encoded = [token.encode() for tokens in token_lists for token in tokens]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    per_text = np.fromiter(map(len, token_lists), np.int64, len(token_lists))
    return Spans(b"".join(encoded) + _PADDING, np.cumsum(lengths) - lengths, lengths, per_text)


_ASCII_WORD = bytes(1 if chr(i).isalnum() or i == ord("_") else 0 for i in range(128)) + bytes(128)
_ASCII_SPACE = bytes(1 if chr(i).isspace() else 0 for i in range(128)) + bytes(128)
# Number of bytes of the character that a byte begins; 1 for bytes that begin none.
_CHARACTER_BYTES = np.array([1] * 0xC0 + [2] * 0x20 + [3] * 0x10 + [4] * 0x10, np.int64)


@lru_cache(maxsize=4)
def _is_word(marks: bool) -> Bools:
    return _table((*word_ranges(), *mark_ranges()) if marks else word_ranges())


@lru_cache(maxsize=1)
def _is_mark() -> Bools:
    return _table(mark_ranges())


@lru_cache(maxsize=1)
def _is_unsegmented() -> Bools:
    return _table(UNSEGMENTED) & _is_word(False)


def _table(ranges: tuple[tuple[int, int], ...]) -> Bools:
    table = np.zeros(0x110000, np.bool_)
    for first, last in ranges:
        table[first : last + 1] = True
    return table


@lru_cache(maxsize=1)
def _is_space() -> Bools:
    return np.fromiter((chr(i).isspace() for i in range(0x3001)), np.bool_, 0x3001)


def _classes(buffer: bytes, marks: bool) -> tuple[Bytes, Bools, Int64, Int64]:
    """Return the buffer's bytes, which are of words, and the places and code points beyond ASCII."""
    data = np.frombuffer(buffer, np.uint8)
    word = np.frombuffer(bytearray(buffer).translate(_ASCII_WORD), np.bool_)
    leads = np.flatnonzero(data >= 0xC0)
    points = np.empty(0, np.int64)
    if len(leads):
        size = _CHARACTER_BYTES[data[leads]]
        points = data[leads].astype(np.int64) & np.array([0, 0, 0x1F, 0x0F, 0x07])[size]
        for j in range(1, 4):
            following = data[leads + j].astype(np.int64) & 0x3F
            points = np.where(size > j, points << 6 | following, points)
        letters = leads[_is_word(marks)[points]]
        size = _CHARACTER_BYTES[data[letters]]
        for j in range(4):
            word[letters[size > j] + j] = True
    return data, word, leads, points


def _runs(word: Bools) -> tuple[Int64, Int64]:
    edges = np.flatnonzero(word[1:] != word[:-1]) + 1
    if word[0]:
        edges = np.concatenate([[0], edges])
    starts = edges[::2]
    return starts, edges[1::2] - starts


def _find_letters(buffer: bytes, marks: bool) -> tuple[Int64, Int64]:
    return _runs(_classes(buffer, marks)[1])


def _find_words(buffer: bytes, marks: bool) -> tuple[Int64, Int64]:
    data, word, leads, _ = _classes(buffer, marks)
    starts, lengths = _runs(word)
    two = lengths > (_CHARACTER_BYTES[data[starts]] if len(leads) else 1)
    return starts[two], lengths[two]


def _join(data: Bytes, word: Bools, leads: Int64, points: Int64) -> None:
    """Make word characters of the apostrophes between two of them."""
    quotes = np.flatnonzero(data == ord("'"))
    joined = quotes[(quotes > 0) & word[quotes - 1] & word[quotes + 1]]
    curly = leads[points == ord("’")]
    curly = curly[(curly > 0) & word[curly - 1] & word[curly + 3]]
    word[joined] = True
    for j in range(3):
        word[curly + j] = True


def _find_apostrophe(buffer: bytes, marks: bool) -> tuple[Int64, Int64]:
    data, word, leads, points = _classes(buffer, marks)
    _join(data, word, leads, points)
    return _runs(word)


def _find_punctuation(buffer: bytes, marks: bool) -> tuple[Int64, Int64]:
    data, word, leads, points = _classes(buffer, marks)
    _join(data, word, leads, points)
    singles = _find_singles(buffer, data, word, leads, points, marks)
    return _in_order(_runs(word), singles)


def _find_unsegmented(buffer: bytes, marks: bool) -> tuple[Int64, Int64]:
    data, word, leads, points = _classes(buffer, marks)
    alone = leads[_is_unsegmented()[points]]
    lengths = np.empty(0, np.int64)
    segmented = word.copy()
    if len(alone):
        # A mark belongs to the character before it.
        begins = (data & 0xC0) != 0x80
        begins[leads[_is_mark()[points]]] = False
        owner = np.maximum.accumulate(np.where(begins, np.arange(len(data)), 0))
        is_alone = np.zeros(len(data), np.bool_)
        is_alone[alone] = True
        inside = is_alone[owner] & word
        segmented &= ~inside
        lengths = np.add.reduceat(inside, alone, dtype=np.int64)
    _join(data, segmented, leads, points)
    words = _in_order(_runs(segmented), (alone, lengths))
    singles = _find_singles(buffer, data, word | segmented, leads, points, marks)
    return _in_order(words, singles)


def _in_order(a: tuple[Int64, Int64], b: tuple[Int64, Int64]) -> tuple[Int64, Int64]:
    starts, lengths = np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])
    order = np.argsort(starts, kind="stable")
    return starts[order], lengths[order]


def _find_singles(
    buffer: bytes, data: Bytes, word: Bools, leads: Int64, points: Int64, marks: bool
) -> tuple[Int64, Int64]:
    """Find the visible characters that are not part of a word; each is a token by itself ..."""
    single = ~word & (data < 0x80)
    single &= ~np.frombuffer(bytearray(buffer).translate(_ASCII_SPACE), np.bool_)
    single[len(buffer) - len(_PADDING) :] = False
    space = (points < 0x3001) & _is_space()[np.minimum(points, 0x3000)]
    others = leads[~word[leads] & ~space]
    single[others] = True
    # ... but of a run of dots, each three from its left are one.
    dots, n_dots = _runs(np.concatenate([data == ord("."), [False]]))
    dots, n_dots = dots[n_dots >= 3], n_dots[n_dots >= 3] // 3
    ellipses = np.repeat(dots - 3 * (np.cumsum(n_dots) - n_dots), n_dots)
    ellipses += 3 * np.arange(len(ellipses))
    single[ellipses + 1] = single[ellipses + 2] = False
    at = np.flatnonzero(single)
    size = _CHARACTER_BYTES[data[at]]
    size[np.searchsorted(at, ellipses)] = 3
    if marks and ((points == _JOINER) | (points >= _FLAG)).any():
        return _join_emoji(at, size, data, leads, points)
    return at, size


_JOINER = 0x200D
_FLAG = 0x1F1E6  # the first letter of flags; tones and tags come after it


def _join_emoji(
    at: Int64, size: Int64, data: Bytes, leads: Int64, points: Int64
) -> tuple[Int64, Int64]:
    """Make one token of an emoji with its tones, tags and joined emoji, and of a flag's two halves."""
    point = data[at].astype(np.int64)
    beyond = point >= 0x80
    point[beyond] = points[np.searchsorted(leads, at[beyond])]
    adjacent = np.zeros(len(at), np.bool_)
    adjacent[1:] = at[1:] == at[:-1] + size[:-1]
    dots = (size == 3) & (point == ord("."))
    before = np.roll(point, 1)
    flag = (point >= _FLAG) & (point <= 0x1F1FF)
    first = flag & ~(adjacent & np.roll(flag, 1))
    number = np.arange(len(at))
    in_run = number - np.maximum.accumulate(np.where(first, number, 0))
    follows = (
        (point == _JOINER)
        | ((point >= 0x1F3FB) & (point <= 0x1F3FF))
        | ((point >= 0xE0020) & (point <= 0xE007F))
        | ((before == _JOINER) & (point != ord(".")) & ~flag)
        | (flag & (in_run % 2 == 1))
    )
    begins = np.flatnonzero(~(adjacent & ~np.roll(dots, 1) & follows))
    return at[begins], np.add.reduceat(size, begins)


_FINDERS: dict[str, Callable[[bytes, bool], tuple[Int64, Int64]]] = {
    "word": _find_words,
    "letter": _find_letters,
    "apostrophe": _find_apostrophe,
    "punctuation": _find_punctuation,
    "unsegmented": _find_unsegmented,
}
assert _FINDERS.keys() == PATTERNS.keys()

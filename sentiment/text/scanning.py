r"""Where the tokens of many texts are, without making a string per token.

The texts of a block become one UTF-8 buffer. A table of 256 entries says which bytes are word
characters (the few other characters are looked up by code point), so token boundaries are the places
where that changes. All of it is numpy over arrays that fit the processor's cache.

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

Int64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

PADDING = bytes(64)
"""What follows the last token, so that as many bytes can be read from where any token begins."""


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
        return spans_of([tokenizer(text) for text in texts])
    cleaned = [clean(text, spec) for text in texts]
    sizes = [len(text) if text.isascii() else len(text.encode()) for text in cleaned]
    buffer = "\n".join(cleaned).encode() + b"\n" + PADDING
    starts, lengths = _FINDERS[name](buffer, spec.marks)
    ends = np.cumsum(np.array(sizes, np.int64) + 1)
    per_text = np.diff(np.searchsorted(starts, ends), prepend=0)
    return Spans(buffer, starts, lengths, per_text)


def _without_stop_words(spec: TextSpec) -> TextSpec:
    return TextSpec.from_dict({**spec.to_dict(), "stop_words": None})


def spans_of(token_lists: Sequence[Sequence[str]]) -> Spans:
    """Return the tokens of texts that are lists of them."""
    encoded = [token.encode() for tokens in token_lists for token in tokens]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    per_text = np.fromiter(map(len, token_lists), np.int64, len(token_lists))
    return Spans(b"".join(encoded) + PADDING, np.cumsum(lengths) - lengths, lengths, per_text)


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
    single[len(buffer) - len(PADDING) :] = False
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

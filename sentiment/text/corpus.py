"""A corpus as one column of token ids: what n-grams are made of."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sentiment.text.scanning import scan
from sentiment.text.spec import MANY_CHARACTERS, TextSpec, Tokenizer, clean, spaced
from sentiment.text.tokens import TokenTable

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_BLOCK_CHARACTERS = 300_000  # its arrays fit the second-level cache of current processors
_DROPPED = -2  # of split words that are no tokens
_SEAM = "\ud800"  # no cleaned text holds a lone surrogate
_CODE_POINTS = 0x110000

T = TypeVar("T")
R = TypeVar("R")


def thread_count() -> int:
    """Return how many threads the engine uses: one for each processor that this process may use.

    ``LOKY_MAX_CPU_COUNT`` is joblib's way to say so; a sweep sets it for each of its processes.
    """
    limit = os.environ.get("LOKY_MAX_CPU_COUNT", "")
    if limit.isdigit() and int(limit) > 0:
        return int(limit)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel(function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield ``function(item)`` in order, computed by `thread_count` threads."""
    if len(items) < 2 or thread_count() < 2:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(thread_count()) as executor:
        yield from executor.map(function, items)


def cut_blocks(texts: Sequence[str]) -> list[slice]:
    """Cut texts into runs of about 300,000 characters.

    Parameters
    ----------
    texts : sequence of str
    """
    if sum(map(len, texts)) <= _BLOCK_CHARACTERS:
        return [slice(0, len(texts))] if texts else []
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    marks = np.arange(_BLOCK_CHARACTERS, ends[-1], _BLOCK_CHARACTERS)
    cuts = np.unique(np.concatenate([[0], np.searchsorted(ends, marks) + 1, [len(texts)]]))
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(cuts)]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts as columns.

    Attributes
    ----------
    ids : ndarray of int32, shape (n_positions,)
        Token ids, with -1 after every text.
    per_text : ndarray of int64, shape (n_texts,)
        Number of positions of each text, its -1 included.
    """

    ids: Int32
    per_text: Int64

    def texts(self) -> Int32:
        """Return the number of the text at every position."""
        return np.repeat(np.arange(len(self.per_text), dtype=np.int32), self.per_text)


class Encoder:
    """Turn texts into ids of known tokens.

    Parameters
    ----------
    tokens : sequence of str
        Token ``i`` has id ``i``.
    spec : TextSpec
    """

    def __init__(self, tokens: Sequence[str], spec: TextSpec) -> None:
        self._tokens = tokens
        self._spec = spec
        self._made_table: TokenTable | None = None
        self._lock = threading.Lock()  # many threads ask for the table first

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer(self._spec)

    @cached_property
    def _ids(self) -> dict[str, int]:
        """Word to id, for few texts."""
        ids = {token: i for i, token in enumerate(self._tokens)}
        ids.update(dict.fromkeys(self._tokenizer.dropped, _DROPPED))
        return ids

    def _table(self) -> TokenTable:
        """Word to id, for many texts. Stop words come after the tokens: n-grams reach over them."""
        with self._lock:
            if self._made_table is None:
                stop_words = set(self._spec.stop_words or ()) - set(self._tokens)
                self._made_table = TokenTable([*self._tokens, *sorted(stop_words)])
        return self._made_table

    @cached_property
    def _of_character(self) -> Int32:
        ids = np.full(_CODE_POINTS, -1, np.int32)
        ids[[ord(token) for token in self._tokens]] = np.arange(len(self._tokens))
        return ids

    def __call__(self, texts: Sequence[str]) -> Corpus:
        """Return the texts as a corpus.

        Parameters
        ----------
        texts : sequence of str
        """
        if self._spec.analyzer != "word":
            points, per_text = _characters(texts, self._spec)
            return Corpus(self._of_character[points], per_text)
        if sum(map(len, texts)) < MANY_CHARACTERS:
            return self._encode_few(texts)
        spans = scan(texts, self._spec)
        ids = self._table().find(spans)
        return _with_ends(ids, spans.per_text, len(self._tokens), np.int32(0))

    def _encode_few(self, texts: Sequence[str]) -> Corpus:
        words: list[str] = []
        starts: list[int] = []
        for text in texts:
            starts.append(len(words))
            words += self._tokenizer.split(text)
            words.append(_SEAM)  # never a token (the empty string can be one): -1
        found = map(self._ids.get, words, itertools.repeat(-1))
        ids = np.fromiter(found, np.int32, len(words))
        keep = ids != _DROPPED
        per_text = np.add.reduceat(keep, starts, dtype=np.int64)
        return Corpus(ids[keep], per_text)


def _with_ends(ids: Int32, per_text: Int64, n: int, first: np.int32) -> Corpus:
    """Put -1 after every text, drop ids outside [first, n) but for -1, and count from ``first``."""
    keep = (ids < n) & ((ids >= first) | (ids < 0))
    if not keep.all():
        texts = np.repeat(np.arange(len(per_text)), per_text)
        per_text = np.bincount(texts[keep], minlength=len(per_text))
        ids = ids[keep]
    per_text = per_text + 1
    column = np.full(len(ids) + len(per_text), -1, np.int32)
    inside = np.ones(len(column), np.bool_)
    inside[np.cumsum(per_text) - 1] = False
    column[inside] = np.where(ids < 0, np.int32(-1), ids - first)
    return Corpus(column, per_text)


def _characters(texts: Sequence[str], spec: TextSpec) -> tuple[npt.NDArray[np.uint32], Int64]:
    """Return the code points of texts, a lone surrogate after each text and each padded word."""
    parts = [spaced(clean(text, spec), spec) for text in texts]
    if spec.analyzer == "char_wb":
        parts = [part.replace("  ", f" {_SEAM} ") for part in parts]
    joined = "".join([part + _SEAM for part in parts])
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    return points, np.fromiter(map(len, parts), np.int64, len(parts)) + 1


def learn(
    texts: Sequence[str], spec: TextSpec, min_count: float
) -> tuple[Corpus, list[str], Int64, Int64]:
    """Encode texts by the tokens that they hold.

    Parameters
    ----------
    texts : sequence of str
    spec : TextSpec
    min_count : float
        Least number of texts that hold a token; the others become -1.

    Returns
    -------
    corpus : Corpus
    tokens : list of str
        Sorted; a token's id is its position.
    df, tf : ndarray of int64, shape (n_tokens,)
        Number of texts that hold a token, and of its occurrences.
    """
    cuts = cut_blocks(texts)
    n_parts = min(thread_count(), len(cuts)) or 1
    parts = [
        cuts[len(cuts) * i // n_parts : len(cuts) * (i + 1) // n_parts] for i in range(n_parts)
    ]
    read = _read_words if spec.analyzer == "word" else _read_characters
    learned = list(parallel(lambda part: read([texts[cut] for cut in part], spec), parts))

    # Every part knows its own tokens by its own ids.
    names = list(dict.fromkeys(itertools.chain.from_iterable(known for _, known in learned)))
    id_of = dict(zip(names, range(len(names)), strict=True))
    numbers = [
        np.fromiter(map(id_of.__getitem__, known), np.int64, len(known)) for _, known in learned
    ]
    df, tf = np.zeros((2, len(names)), np.int64)
    for (corpora, known), number in zip(learned, numbers, strict=True):
        for part_df, part_tf in parallel(partial(_count, n_tokens=len(known)), corpora):
            df[number] += part_df
            tf[number] += part_tf
    frequent = np.flatnonzero(df >= min_count).tolist()
    frequent.sort(key=names.__getitem__)
    rank = np.full(len(names), -1, np.int32)
    rank[frequent] = np.arange(len(frequent), dtype=np.int32)
    ids = []
    for (corpora, _), number in zip(learned, numbers, strict=True):
        ranks = np.append(rank[number], np.int32(-1))
        ids += [ranks[corpus.ids] for corpus in corpora]
    per_text = [corpus.per_text for corpora, _ in learned for corpus in corpora]
    none = np.empty(0, np.int32)
    corpus = Corpus(
        np.concatenate([none, *ids]), np.concatenate([none.astype(np.int64), *per_text])
    )
    return corpus, [names[i] for i in frequent], df[frequent], tf[frequent]


def _read_words(blocks: Sequence[Sequence[str]], spec: TextSpec) -> tuple[list[Corpus], list[str]]:
    stop_words = sorted(set(spec.stop_words or ()))
    table = TokenTable(stop_words)
    corpora = []
    for texts in blocks:
        spans = scan(texts, spec)
        ids = table.find(spans, grow=True)
        corpora.append(_with_ends(ids, spans.per_text, table.n, np.int32(len(stop_words))))
    return corpora, table.tokens()[len(stop_words) :]


def _read_characters(
    blocks: Sequence[Sequence[str]], spec: TextSpec
) -> tuple[list[Corpus], list[str]]:
    read = [_characters(texts, spec) for texts in blocks]
    present = np.zeros(_CODE_POINTS, np.bool_)
    for points, _ in read:
        present[points] = True
    present[ord(_SEAM)] = False
    table = np.where(present, np.cumsum(present) - 1, -1).astype(np.int32)
    corpora = [Corpus(table[points], per_text) for points, per_text in read]
    return corpora, [chr(point) for point in np.flatnonzero(present).tolist()]


def _count(corpus: Corpus, n_tokens: int) -> tuple[Int64, Int64]:
    """Return the number of texts that hold each token, and of its occurrences."""
    ids = corpus.ids
    texts = corpus.texts().astype(np.int64)
    keys = (ids.astype(np.int64) << 32 | texts)[ids >= 0]
    keys.sort()
    new = np.ones(len(keys), np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    df = np.bincount(keys[new] >> 32, minlength=n_tokens)
    return df, np.bincount(ids[ids >= 0], minlength=n_tokens)

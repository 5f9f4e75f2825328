"""One view of a text: its n-grams as rows of the stored values, and what each row is worth.

A vectorizer becomes a view. Token ids are ``1 … n_tokens``, and ``n_tokens + 1`` stands for every
unknown token and for the gap between two texts; the keys of n-grams are those of `sentiment.text.ngrams`.
Where keys cannot be taken apart into token ids, these are stored beside them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sentiment.scorer.container import Tensors
from sentiment.text.hashing import hash_columns, hash_ngrams, hash_tokens
from sentiment.text.ngrams import join_digits, to_digits
from sentiment.text.spec import MANY_CHARACTERS, TextSpec, Tokenizer, clean, spaced
from sentiment.text.table import Table

if TYPE_CHECKING:
    from sentiment.text.corpus import Encoder

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ids = NDArray[np.uint64]

_HASH_CACHE = 200_000


@dataclass(frozen=True, slots=True)
class Found:
    """Features of some texts, sorted by text and row, each once.

    Attributes
    ----------
    texts : int64[n]
        Number of the text.
    rows : int64[n]
        Row of the stored values.
    counts : float64[n]
        How often it occurs (hashed features: the sum of its signs).
    """

    texts: Ints
    rows: Ints
    counts: Floats


class NgramView:
    """A fitted vocabulary of n-grams.

    Attributes
    ----------
    spec : TextSpec
    n_tokens : int
        Known single tokens.
    values : float32 or float16 [rows, columns]
        Rows: one unused, the tokens, the unknown token, the slots of the table. Columns: the
        factor inside the norm (only with a norm), then a weight per score.
    """

    kind: Literal["ngrams"] = "ngrams"

    def __init__(self, document: Mapping[str, Any], tensors: Tensors, prefix: str) -> None:
        self.spec = TextSpec.from_dict(document["text"])
        self.tf = str(document["tf"])
        self.norm = document["norm"]
        self.base = int(document["base"])
        self._base = np.uint64(self.base)
        self.orders: tuple[int, ...] = tuple(document["orders"])
        self._longer = tuple(order for order in self.orders if order > 1)
        self.values = tensors[f"{prefix}.values"]
        self.scale = _scale(document)
        self.document_frequency = tensors[f"{prefix}.document_frequency"]
        self.table = Table(
            tensors[f"{prefix}.keys"],
            tensors[f"{prefix}.displacements"],
            int(document["multiplier"]),
        )
        self.ngrams = tensors.get(f"{prefix}.ngrams")
        self._tokenizer = Tokenizer(self.spec)
        lengths = tensors[f"{prefix}.token_lengths"]
        self.n_tokens = len(lengths)
        self.unknown = self.n_tokens + 1
        self.tokens, by_frequency = _split(
            tensors[f"{prefix}.tokens"].tobytes().decode(),
            lengths,
            self.document_frequency,
        )
        self._of_character: Ids | None = None
        self._made_encoder: Encoder | None = None
        self._lock = threading.Lock()
        if self.spec.analyzer == "word":
            ids = (by_frequency + 1).tolist()
            self._ids = dict(zip([self.tokens[i - 1] for i in ids], ids, strict=True))
            # Split words that are no tokens get the id 0 and go.
            self._ids.update(dict.fromkeys(self._tokenizer.dropped, 0))
        else:
            codes = [ord(token) for token in self.tokens]
            self._of_character = np.full(max(codes, default=0) + 2, self.unknown, dtype=np.uint64)
            self._of_character[codes] = np.arange(1, self.n_tokens + 1)
        if self.values.shape[0] != self.first_slot + len(self.table.keys):
            raise ValueError("values and keys do not match")

    @property
    def first_slot(self) -> int:
        """Row of the table's first slot."""
        return self.n_tokens + 2

    def token_ids(self, text: str) -> Ids:
        """Return the ids of a text's tokens, in order."""
        if self._of_character is not None:
            characters = spaced(clean(text, self.spec), self.spec).encode("utf-32-le")
            return self._of_character.take(np.frombuffer(characters, "<u4"), mode="clip")
        words = self._tokenizer.split(text)
        found = map(self._ids.get, words, repeat(self.unknown))
        ids = np.fromiter(found, np.uint64, len(words))
        return ids[ids != 0] if self._tokenizer.dropped else ids

    def find(self, ids: Ids) -> tuple[Ints, Ints]:
        """Return position and row of every known n-gram of a sequence of token ids."""
        positions: list[Ints] = []
        rows: list[Ints] = []
        if 1 in self.orders:
            known = np.flatnonzero(ids != self.unknown)
            positions.append(known)
            rows.append(ids[known].view(np.int64))
        for keys in join_digits(ids, self._longer, self._base):
            slots, found = self.table.find(keys)
            known = np.flatnonzero(found)
            positions.append(known)
            rows.append(slots[known] + self.first_slot)
        if not rows:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return np.concatenate(positions), np.concatenate(rows)

    def find_rows(self, ids: Ids) -> Ints:
        """Return the rows of `find`, less its positions; unknown tokens may stand among them.

        This is the hot path of one text: every call into numpy costs about a microsecond.
        """
        parts = join_digits(ids, self._longer, self._base)
        singles = ids.view(np.int64) if 1 in self.orders else ids[:0].view(np.int64)
        if not parts:
            return singles.copy()
        slots, found = self.table.find(parts[0] if len(parts) == 1 else np.concatenate(parts))
        hits = slots.take(found.nonzero()[0])
        hits += self.first_slot
        return np.concatenate((singles, hits))

    def score_one(self, text: str) -> tuple[Floats, int, int]:
        """Return what one text adds to each score, its tokens, and how many are unknown."""
        ids = self.token_ids(text)
        rows = self.find_rows(ids)
        unknown = int(np.count_nonzero(ids == self.unknown))
        rows.sort()
        first = np.empty(len(rows), dtype=np.bool_)
        first[:1] = True
        np.not_equal(rows[1:], rows[:-1], out=first[1:])
        starts = first.nonzero()[0]
        values = self.values.take(rows.take(starts), axis=0).astype(np.float64)
        if self.scale is not None:
            values *= self.scale
        counts = np.empty(len(starts), dtype=np.int64)
        np.subtract(starts[1:], starts[:-1], out=counts[:-1])
        counts[-1:] = len(rows) - starts[-1:]
        return _add_up(values, counts, len(rows), self.tf, self.norm), len(ids), unknown

    def count(self, texts: Sequence[str]) -> tuple[Found, Ints, Ints]:
        """Return the features of many texts, the tokens of each text and how many are unknown."""
        ids, lengths = self._encode(texts)
        text_of = np.repeat(np.arange(len(texts)), lengths)
        positions, rows = self.find(ids)
        unknown = np.bincount(text_of, ids == self.unknown, len(texts))
        return _count(text_of[positions], rows), lengths - 1, unknown.astype(np.int64) - 1

    def _encode(self, texts: Sequence[str]) -> tuple[Ids, Ints]:
        """Return the ids of all texts with a gap after each, and their numbers with the gap."""
        if self._of_character is None and sum(map(len, texts)) >= MANY_CHARACTERS:
            corpus = self._encoder()(texts)
            return to_digits(corpus.ids, self.n_tokens), corpus.per_text
        gap = np.full(1, self.unknown, dtype=np.uint64)
        parts = [self.token_ids(text) for text in texts]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        ids = np.concatenate(list(chain.from_iterable((part, gap) for part in parts)) or [gap[:0]])
        return ids, lengths + 1

    def _encoder(self) -> Encoder:
        # Not imported by who scores a few texts.
        from sentiment.text.corpus import Encoder

        with self._lock:
            if self._made_encoder is None:
                self._made_encoder = Encoder(self.tokens, self.spec)
        return self._made_encoder

    def digits(self, row: int) -> list[int]:
        """Return the token ids of a row's n-gram; none for a row that has no n-gram."""
        if row < self.first_slot:
            return [row] if 0 < row <= self.n_tokens else []
        if self.ngrams is not None:
            stored: list[int] = self.ngrams[row - self.first_slot].tolist()
            return [digit for digit in stored if digit]
        key = int(self.table.keys[row - self.first_slot])
        digits: list[int] = []
        while key:
            key, digit = divmod(key, self.base)
            digits.append(digit)
        return digits[::-1]

    def order(self, row: int) -> int:
        """Return how many tokens a row's n-gram has."""
        return len(self.digits(row))

    def ngram(self, row: int) -> str:
        """Return the n-gram of a row, or an empty string for a row that has none."""
        separator = " " if self.spec.analyzer == "word" else ""
        return separator.join(self.tokens[digit - 1] for digit in self.digits(row))

    def weights(self, some: slice) -> Floats:
        """Return the weight of some rows towards every score, float64 [rows, scores]."""
        return values_at(self, some)[:, int(self.norm is not None) :]


def _split(text: str, lengths: NDArray[Any], frequency: NDArray[Any]) -> tuple[list[str], Ints]:
    """Return the tokens, and their numbers from the most frequent on.

    They are made in that order: those of every text then share pages of memory, and finding their ids
    takes two thirds of the time.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    if len(text) != (int(ends[-1]) if len(ends) else 0):
        raise ValueError("tokens and their lengths do not match")
    if len(frequency) != len(lengths):
        raise ValueError("tokens and their frequencies do not match")
    order = np.argsort(-frequency.astype(np.int64), kind="stable")
    begin, end = (ends - lengths)[order].tolist(), ends[order].tolist()
    tokens = [""] * len(begin)
    for number, first, last in zip(order.tolist(), begin, end, strict=True):
        tokens[number] = text[first:last]
    return tokens, order


class HashView:
    """N-grams hashed to a fixed number of columns; there is no vocabulary, so no unknown token."""

    kind: Literal["hashing"] = "hashing"

    def __init__(self, document: Mapping[str, Any], tensors: Tensors, prefix: str) -> None:
        self.spec = TextSpec.from_dict(document["text"])
        self.tf = str(document["tf"])
        self.norm = document["norm"]
        self.alternate_sign = bool(document["alternate_sign"])
        self.values = tensors[f"{prefix}.values"]
        self.scale = _scale(document)
        self._tokenizer = Tokenizer(self.spec)
        self._hashes: dict[str, int] = {}

    def token_hashes(self, tokens: list[str]) -> Ids:
        """Return the hash of each token, remembered for tokens seen before."""
        known = self._hashes
        new = [token for token in dict.fromkeys(tokens) if token not in known]
        if new:
            # A new dictionary, not a larger one: other threads may be reading the old.
            remembered = {} if len(known) + len(new) > _HASH_CACHE else known
            known = remembered | dict(zip(new, hash_tokens(new).tolist(), strict=True))
            self._hashes = known
        return np.fromiter(map(known.__getitem__, tokens), np.uint64, len(tokens))

    def tokens(self, text: str) -> list[str]:
        """Return a text's tokens, in order."""
        return self._tokenizer(text)

    def weights(self, some: slice) -> Floats:
        """Return the weight of some columns towards every score, float64 [columns, scores]."""
        return values_at(self, some)[:, int(self.norm is not None) :]

    def count(self, texts: Sequence[str]) -> tuple[Found, Ints, Ints]:
        """Return the features of many texts and the tokens of each text; none is unknown."""
        parts = [self._tokenizer(text) for text in texts]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        hashes = self.token_hashes(list(chain.from_iterable(parts)))
        text_of = np.repeat(np.arange(len(parts)), lengths)
        starts, ngrams = hash_ngrams(hashes, text_of.astype(np.int32), self.spec)
        rows, signs = hash_columns(ngrams, len(self.values))
        if not self.alternate_sign:
            signs = np.abs(signs)
        counted = _count(text_of[starts], rows.astype(np.int64), signs.astype(np.float64))
        return counted, lengths, np.zeros(len(parts), dtype=np.int64)

    def score_one(self, text: str) -> tuple[Floats, int, int]:
        """Return what one text adds to each score, and its tokens; none is unknown."""
        found, lengths, _ = self.count([text])
        added = contributions(self, found, 1)
        totals = [np.bincount(found.texts, column, 1)[0] for column in added.T]
        return np.array(totals), int(lengths[0]), 0

    def ngram(self, row: int) -> str:
        """Return a name for a column: what it stands for cannot be told."""
        return f"column {row}"


View = NgramView | HashView


def _count(texts: Ints, rows: Ints, signs: Floats | None = None) -> Found:
    """Sort features by text and row and count equal ones."""
    keys = texts << 32 | rows
    if signs is None:
        keys.sort()
    else:
        order = np.argsort(keys, kind="stable")
        keys, signs = keys[order], signs[order]
    first = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    if signs is None:
        counts = np.diff(starts, append=len(keys)).astype(np.float64)
    else:
        counts = np.add.reduceat(signs, starts) if len(starts) else np.empty(0)
    kept = keys[starts]
    return Found(kept >> 32, kept & 0xFFFFFFFF, counts)


_LOGARITHMS = 1.0 + np.log(np.maximum(np.arange(1024), 1))


def _add_up(values: Floats, counts: Ints, total: int, tf: str, norm: str | None) -> Floats:
    """Add up the contributions of one text's features, as `contributions` has them.

    ``total`` is the sum of the counts.
    """
    if tf == "binary":
        frequencies = np.ones(len(counts))
    elif tf == "sublinear":
        frequencies = _LOGARITHMS.take(counts, mode="clip")
        if total >= len(_LOGARITHMS) and counts.max() >= len(_LOGARITHMS):
            frequencies = 1.0 + np.log(counts)
    else:
        frequencies = counts.astype(np.float64)
    if norm is not None:
        inside = values[:, 0] * frequencies
        inside = np.abs(inside) if norm == "l1" else inside * inside
        length = _sum(inside)
        frequencies /= (math.sqrt(length) if norm == "l2" else length) or 1.0
        values = values[:, 1:]
    return np.array([_sum(column * frequencies) for column in values.T])


def _sum(numbers: Floats) -> float:
    """Add up in the order in which `numpy.bincount` does it for texts that are scored together.

    A text then has one score to the last bit, whoever else is scored with it.
    """
    return np.add.accumulate(numbers).item(-1) if len(numbers) else 0.0


def term_frequency(counts: Floats, tf: str) -> Floats:
    """Turn counts into term frequencies: as they are, ``1 + log`` of them, or 1."""
    if tf == "binary":
        return np.ones_like(counts)
    if tf == "sublinear":
        return np.log(counts) + 1.0
    return counts


def values_at(view: View, rows: Ints | slice) -> Floats:
    """Return the values of some rows as they are meant: narrow ones are stored scaled."""
    stored = view.values[rows] if isinstance(rows, slice) else view.values.take(rows, axis=0)
    values: Floats = stored.astype(np.float64)
    return values if view.scale is None else values * view.scale


def _scale(document: Mapping[str, Any]) -> Floats | None:
    scale = document.get("scale")
    return None if scale is None else np.array(scale, dtype=np.float64)


def contributions(view: View, found: Found, n_texts: int) -> Floats:
    """Return what each feature adds to each score, float64 [features, scores]."""
    values = values_at(view, found.rows)
    frequencies = term_frequency(found.counts, view.tf)
    if view.norm is None:
        return values * frequencies[:, None]
    inside = values[:, 0] * frequencies
    if view.norm == "l2":
        norms = np.sqrt(np.bincount(found.texts, inside * inside, n_texts))
    else:
        norms = np.bincount(found.texts, np.abs(inside), n_texts)
    norms[norms == 0] = 1.0
    scaled: Floats = values[:, 1:] * (frequencies / norms[found.texts])[:, None]
    return scaled

"""Texts that are copies of one another, small edits included: found by sketches of their n-grams.

A text is the set of its runs of three words. Two sets are alike by the share of what both hold in
what either holds (Jaccard). A sketch holds the least of the hashes of a set under many hash
functions, and two sketches agree in as large a share of places as the sets are alike (Broder, "On the
resemblance and containment of documents", 1997). Only texts whose sketches agree in three places in
a row are held against each other, by their sets (Leskovec, Rajaraman and Ullman, *Mining of Massive
Datasets*, chapter 3).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sentiment.errors import DataError
from sentiment.text.corpus import learn, parallel
from sentiment.text.hashing import hash_ngrams, hash_tokens
from sentiment.text.spec import TextSpec

if TYPE_CHECKING:
    from sentiment.data.split import Split

log = logging.getLogger(__name__)

ALIKE = 0.4
"""From this likeness on two texts are copies: about five of six words are the same and in place."""
FEWEST_WORDS = 5
"""Shorter texts are copies only where they are equal."""

_SHINGLE = 3
_BANDS, _WIDTH = 32, 3
_SPEC = TextSpec(token_pattern="letter", strip_html=True, ngram_range=(_SHINGLE, _SHINGLE))

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Copies:
    """Pairs of texts that are copies.

    Attributes
    ----------
    first, second : int64[pairs]
        Places of texts, the first before the second; by likeness, then by place.
    alike : float64[pairs]
        From `ALIKE` to 1; 1 for texts of the same words.
    family : int64[texts]
        The first text that each text is a copy of, by any chain of pairs; itself for the others.
    """

    first: Ints
    second: Ints
    alike: NDArray[np.float64]
    family: Ints

    def __len__(self) -> int:
        return len(self.first)


def find_copies(texts: Sequence[str]) -> Copies:
    """Find texts that are copies of one another.

    Parameters
    ----------
    texts : sequence of str
    """
    sets, bounds = _shingles(texts)
    sketches = _sketch(sets, bounds)
    first, second = _candidates(sketches)
    # Sketches say roughly how alike two texts are; most candidates of chance end here.
    rough = np.empty(len(first))
    for part in range(0, len(first), 1 << 16):
        cut = slice(part, part + (1 << 16))
        rough[cut] = (sketches[:, first[cut]] == sketches[:, second[cut]]).mean(axis=0)
    likely = rough >= ALIKE / 2
    first, second = first[likely], second[likely]
    alike = np.array(
        [
            _jaccard(sets[bounds[a] : bounds[a + 1]], sets[bounds[b] : bounds[b + 1]])
            for a, b in zip(first.tolist(), second.tolist(), strict=True)
        ],
        dtype=np.float64,
    )
    kept = alike >= ALIKE
    first, second, alike = first[kept], second[kept], alike[kept]
    order = np.lexsort((second, first, -alike))
    first, second, alike = first[order], second[order], alike[order]
    return Copies(first, second, alike, _families(first, second, len(texts)))


def _shingles(texts: Sequence[str]) -> tuple[Hashes, Ints]:
    """Return the sorted hashes of every text's runs of words, and where each text's begin."""
    corpus, tokens, _, _ = learn(texts, _SPEC, 1)
    known = hash_tokens(tokens)
    ends = np.cumsum(corpus.per_text)
    starts = ends - corpus.per_text
    cuts = [*range(0, len(texts), 2000), len(texts)]

    def read(cut: tuple[int, int]) -> tuple[Hashes, Ints]:
        a, b = cut
        ids = corpus.ids[starts[a] : ends[b - 1]]
        docs = np.repeat(np.arange(b - a, dtype=np.int32), corpus.per_text[a:b])
        words = ids >= 0
        ids, docs = ids[words], docs[words]
        hashes = known[ids]
        n_words = np.bincount(docs, minlength=b - a)
        at, found = hash_ngrams(hashes, docs, _SPEC)
        owner = docs[at].astype(np.int64)
        # A short text is one shingle, all of it.
        short = np.flatnonzero(n_words < FEWEST_WORDS)
        keep = n_words[owner] >= FEWEST_WORDS
        whole = hash_tokens([" ".join(texts[a + i].split()).lower() for i in short.tolist()])
        owner = np.concatenate([owner[keep], short])
        found = np.concatenate([found[keep], whole])
        order = np.lexsort((found, owner))
        owner, found = owner[order], found[order]
        new = np.ones(len(owner), np.bool_)
        new[1:] = (owner[1:] != owner[:-1]) | (found[1:] != found[:-1])
        return found[new], np.bincount(owner[new], minlength=b - a)

    parts = list(parallel(read, list(pairwise(cuts)))) if len(texts) else []
    sets = np.concatenate([np.empty(0, np.uint64), *(found for found, _ in parts)])
    sizes = np.concatenate([np.empty(0, np.int64), *(size for _, size in parts)])
    return sets, np.concatenate([[0], np.cumsum(sizes)])


def _sketch(sets: Hashes, bounds: Ints) -> NDArray[np.uint32]:
    """Return the least hash of each set under each function: uint32[functions, texts]."""
    rng = np.random.default_rng(0)
    odd = rng.integers(0, 2**63, _BANDS * _WIDTH, dtype=np.uint64) * 2 + 1
    shift = np.uint64(32)

    def least(factor: np.uint64) -> NDArray[np.uint32]:
        mixed = ((sets * factor) >> shift).astype(np.uint32)
        return np.minimum.reduceat(mixed, bounds[:-1])

    if not len(sets):
        return np.zeros((_BANDS * _WIDTH, len(bounds) - 1), np.uint32)
    return np.stack(list(parallel(least, list(odd))))


def _candidates(sketches: NDArray[np.uint32]) -> tuple[Ints, Ints]:
    """Return pairs whose sketches agree in all places of a band.

    Of a bucket each text is paired with the next and with the first: all copies of a text are
    found with as many pairs as there are texts.
    """
    n = sketches.shape[1]
    pairs = [np.empty(0, np.int64)]
    places = np.arange(n)
    for band in range(_BANDS):
        rows = sketches[band * _WIDTH : (band + 1) * _WIDTH].astype(np.uint64)
        key = rows[0]
        for row in rows[1:]:
            key = (key ^ (key >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + row
        order = np.lexsort((places, key))
        same = key[order][1:] == key[order][:-1]
        pairs.append(order[:-1][same] * n + order[1:][same])
        begins = np.maximum.accumulate(np.where(np.append(False, same), 0, np.arange(n)))
        pairs.append(order[begins[1:]][same] * n + order[1:][same])
    codes = np.unique(np.concatenate(pairs))
    return codes // max(n, 1), codes % max(n, 1)


def _jaccard(a: Hashes, b: Hashes) -> float:
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


def _families(first: Ints, second: Ints, n: int) -> Ints:
    parent = list(range(n))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        one, other = root(a), root(b)
        parent[max(one, other)] = min(one, other)
    return np.array([root(place) for place in range(n)], dtype=np.int64)


@dataclass(frozen=True)
class Copy:
    """A pair of copies, by split and place.

    Attributes
    ----------
    part, other_part : str
        ``train``, ``val`` or ``test``.
    place, other_place : int
        Of the row in its split.
    alike : float
    """

    part: str
    place: int
    other_part: str
    other_place: int
    alike: float


def copies_between(parts: Mapping[str, Split]) -> list[Copy]:
    """Find copies within and across splits, the most alike first.

    Parameters
    ----------
    parts : mapping of str to Split
    """
    texts = [text for split in parts.values() for text in split.texts]
    where = [(name, place) for name, split in parts.items() for place in range(len(split))]
    found = find_copies(texts)
    return [
        Copy(where[a][0], where[a][1], where[b][0], where[b][1], alike)
        for a, b, alike in zip(
            found.first.tolist(), found.second.tolist(), found.alike.tolist(), strict=True
        )
    ]


COPY_COLUMNS = (
    *("split", "row", "label", "other_split", "other_row", "other_label"),
    *("alike", "text", "other_text"),
)
"""Of a table of copies."""


def copy_rows(parts: Mapping[str, Split], copies: Sequence[Copy]) -> list[dict[str, Any]]:
    """Return copies as a table's rows, each with where its texts stand in the file.

    Parameters
    ----------
    parts : mapping of str to Split
        What `copies_between` was given.
    copies : sequence of Copy
    """
    found = []
    for copy in copies:
        one, other = parts[copy.part], parts[copy.other_part]
        found.append(
            {
                "split": copy.part,
                "row": copy.place if one.rows is None else one.rows[copy.place],
                "label": one.labels[copy.place],
                "other_split": copy.other_part,
                "other_row": copy.other_place
                if other.rows is None
                else other.rows[copy.other_place],
                "other_label": other.labels[copy.other_place],
                "alike": round(copy.alike, 4),
                "text": one.texts[copy.place],
                "other_text": other.texts[copy.other_place],
            }
        )
    return found


def without_leaks(
    train: Split, held_out: Mapping[str, Split], how: str, report: dict[str, int]
) -> Split:
    """Look for copies of held-out texts among the training texts.

    Parameters
    ----------
    train : Split
    held_out : mapping of str to Split
        ``val`` and ``test``.
    how : {'warn', 'drop', 'error'}
        Say it, leave those training rows out, or refuse.
    report : dict of str to int
        Gets ``near_copies_in_train``, ``near_copies_dropped``, and for each held-out split
        ``<part>_texts_copied_in_train``.

    Raises
    ------
    DataError
        There are copies, and they are refused, or nothing but copies is there to train on.
    """
    texts = [*train.texts]
    names: list[str] = []
    for name, split in held_out.items():
        texts += split.texts
        names += [name] * len(split)
    found = find_copies(texts)
    # By families, so that copies of copies leak too.
    of_train = set(found.family[: len(train)].tolist())
    leaked = {
        place: family
        for place, family in enumerate(found.family[len(train) :].tolist())
        if family in of_train
    }
    copied = Counter(names[place] for place in leaked)
    drop = np.isin(found.family[: len(train)], list(leaked.values()))
    n_rows = int(drop.sum())
    report["near_copies_in_train"] = n_rows
    for name in held_out:
        report[f"{name}_texts_copied_in_train"] = copied[name]
    if not n_rows:
        return train
    counts = " and ".join(f"{count:,} {name}" for name, count in copied.items())
    what = f"{n_rows:,} training texts are copies of {counts} texts (exact or with small edits)"
    if how == "error":
        place = int(np.flatnonzero(drop)[0])
        shown = " ".join(train.texts[place].split())[:80]
        raise DataError(
            f"{what}; the first: {shown!r}. data.on_leak=drop leaves them out of training"
        )
    if how == "warn":
        log.warning(
            "%s: held-out figures are too good by that; data.on_leak=drop leaves them out", what
        )
        return train
    kept = np.flatnonzero(~drop).tolist()
    if gone := sorted(set(train.labels) - {train.labels[place] for place in kept}):
        raise DataError(
            f"{what}: data.on_leak=drop leaves no training row of the label {gone[0]!r}"
        )
    log.warning("%s: left out of training", what)
    report["near_copies_dropped"] = n_rows
    return train.take(kept)

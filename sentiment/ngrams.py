"""N-grams as columns of integers: an n-gram is the pair (id of its prefix, id of its last token)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]


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
    """

    def __init__(self, tokens: list[str], levels: list[Level], separator: str) -> None:
        self.tokens = tokens
        self.levels = levels
        self.separator = separator

    @property
    def n_features(self) -> int:
        """Number of feature columns."""
        return sum(int((level.column >= 0).sum()) for level in self.levels)

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

    def find(self, ids: IntArray, docs: IntArray) -> list[tuple[IntArray, IntArray]]:
        """Return the (text, column) pairs of all n-grams of a corpus, order by order.

        Parameters
        ----------
        ids : ndarray of int32, shape (n_positions,)
            Token ids of all texts one after the other; -1 for a token that the index lacks.
        docs : ndarray of int32, shape (n_positions,)
            Number of the text at each position, ascending.
        """
        pairs = []
        at = np.flatnonzero(ids >= 0)
        entries = ids[at]
        for k, level in enumerate(self.levels):
            if k > 0:
                inside = at + k < len(ids)
                at, entries = at[inside], entries[inside]
                same = docs[at] == docs[at + k]
                at, entries = at[same], entries[same]
                keys = entries.astype(np.int64) << 32 | ids[at + k].astype(np.int64)
                table = level.prefix.astype(np.int64) << 32 | level.last
                if not len(table):
                    break
                found = np.searchsorted(table, keys)
                found[found == len(table)] = 0
                hit = (table[found] == keys) & (ids[at + k] >= 0)
                at, entries = at[hit], found[hit].astype(np.int32)
            columns = level.column[entries]
            kept = columns >= 0
            pairs.append((docs[at[kept]], columns[kept]))
        return pairs


def build_index(
    tokens: list[str],
    ids: IntArray,
    docs: IntArray,
    *,
    ngram_range: tuple[int, int],
    whole_words: bool,
    separator: str,
    min_count: float,
    max_count: float,
    max_features: int | None,
    count_dtype: npt.DTypeLike,
    binary: bool,
) -> NgramIndex:
    """Build the vocabulary of a corpus.

    Parameters
    ----------
    tokens : list of str
        Every token of the corpus, sorted.
    ids, docs : ndarray of int32, shape (n_positions,)
        Token id and text number of every position.
    whole_words : bool
        ``char_wb``: a padded word shorter than the shortest n-gram is a feature itself.
    min_count, max_count : float
        Bounds (included) of the number of texts that hold an n-gram.
    max_features : int or None
        Keep that many n-grams, the most frequent of the corpus.
    count_dtype : dtype
        Type in which scikit-learn adds an n-gram's counts up: it decides ties of `max_features`.
    binary : bool
        An n-gram counts once per text for `max_features`.
    """
    low, high = ngram_range
    levels: list[Level] = []
    totals: list[npt.NDArray[np.int64]] = []
    kept: list[BoolArray] = []
    at = np.arange(len(ids))
    entry = np.full(len(ids), -1, np.int32)  # entry of the k-gram that starts at a position
    space = tokens.index(" ") if whole_words and " " in tokens else -2
    for k in range(1, high + 1):
        if k > 1:
            at = at[(entry[at] >= 0) & (at + k <= len(ids))]
            at = at[entry[at + 1] >= 0]
            if k == 2:
                at = at[docs[at] == docs[at + 1]]
                if whole_words:
                    at = at[(ids[at] != space) | (ids[at + 1] != space)]
        prefix = entry[at]
        last = ids[at + k - 1]
        keys = prefix.astype(np.int64) << 32 | last
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.ones(len(keys), np.bool_)
        first[1:] = keys[1:] != keys[:-1]
        new = first.copy()
        new[1:] |= docs[at[order[1:]]] != docs[at[order[:-1]]]
        group = np.cumsum(first) - 1
        n = int(group[-1]) + 1 if len(group) else 0
        df = np.bincount(group[new], minlength=n)
        tf = np.bincount(group, minlength=n)
        enough = df >= min_count
        number = np.where(enough, np.cumsum(enough) - 1, -1).astype(np.int32)
        entry = np.full(len(ids), -1, np.int32)
        entry[at[order]] = number[group]
        begins = np.flatnonzero(first)[enough]
        sample = order[begins]
        level_prefix, level_last = prefix[sample], last[sample]
        df, tf = df[enough], tf[enough]
        keep = df <= max_count
        if k < low:
            keep &= whole_words and k > 1
            if whole_words and k > 1:
                start = at[sample]
                keep &= (ids[start] == space) & (ids[start + k - 1] == space)
        levels.append(
            Level(level_prefix, level_last, np.full(len(df), -1, np.int32), df.astype(np.int32))
        )
        totals.append(df if binary else tf)
        kept.append(keep)
    if whole_words:
        pass
    # Level 1 lost the tokens below min_count: its ids are renumbered.
    tokens = [tokens[i] for i in levels[0].last.tolist()]
    renumber = np.full(int(ids.max(initial=-1)) + 1, -1, np.int32)
    renumber[levels[0].last] = np.arange(len(tokens), dtype=np.int32)
    for level in levels:
        level.last[:] = renumber[level.last]

    if max_features is not None and sum(int(k.sum()) for k in kept) > max_features:
        columns = _lexicographic(levels, kept)
        n = sum(int(k.sum()) for k in kept)
        counts = np.zeros(n, count_dtype)
        for column, total in zip(columns, totals, strict=True):
            counts[column[column >= 0]] = total[column >= 0]
        chosen = np.zeros(n, np.bool_)
        chosen[(-counts).argsort()[:max_features]] = True
        kept = [(c >= 0) & chosen[c] for c in columns]
    levels, kept, tokens = _compact(levels, kept, tokens)
    columns = _lexicographic(levels, kept)
    for level, column in zip(levels, columns, strict=True):
        level.column[:] = column
    return NgramIndex(tokens, levels, separator)


def _lexicographic(levels: list[Level], kept: list[BoolArray]) -> list[IntArray]:
    """Give kept n-grams their columns in the order of their strings; -1 to the others.

    An n-gram comes right before its extensions: this is the pre-order of the prefix tree.
    """
    sizes = [keep.astype(np.int64) for keep in kept]
    for k in range(len(levels) - 1, 0, -1):
        children = np.bincount(levels[k].prefix, sizes[k], minlength=len(levels[k - 1]))
        sizes[k - 1] = sizes[k - 1] + children.astype(np.int64)
    columns = []
    starts = np.cumsum(sizes[0]) - sizes[0]
    for k, (level, keep) in enumerate(zip(levels, kept, strict=True)):
        if k > 0:
            before = np.cumsum(sizes[k]) - sizes[k]
            first = np.searchsorted(level.prefix, level.prefix)  # first sibling of each entry
            starts = (starts + kept[k - 1])[level.prefix] + before - before[first]
        columns.append(np.where(keep, starts, -1).astype(np.int32))
    return columns


def _compact(
    levels: list[Level], kept: list[BoolArray], tokens: list[str]
) -> tuple[list[Level], list[BoolArray], list[str]]:
    """Drop every entry that is neither a feature nor the prefix or a token of one."""
    needed = [keep.copy() for keep in kept]
    for k in range(len(levels) - 1, 0, -1):
        needed[k - 1][levels[k].prefix[needed[k]]] = True
    for k in range(1, len(levels)):
        needed[0][levels[k].last[needed[k]]] = True
    numbers = [(np.cumsum(need) - 1).astype(np.int32) for need in needed]
    compacted = []
    for k, (level, need) in enumerate(zip(levels, needed, strict=True)):
        prefix = level.prefix[need]
        compacted.append(
            Level(
                prefix if k == 0 else numbers[k - 1][prefix],
                numbers[0][level.last[need]],
                level.column[need],
                level.df[need],
            )
        )
    tokens = [tokens[i] for i in np.flatnonzero(needed[0]).tolist()]
    return compacted, [keep[need] for keep, need in zip(kept, needed, strict=True)], tokens


def count(
    pairs: list[tuple[IntArray, IntArray]], n_docs: int
) -> tuple[npt.NDArray[np.int64], IntArray, npt.NDArray[np.int64]]:
    """Count (text, column) pairs.

    Returns
    -------
    indptr : ndarray of int64, shape (n_docs + 1,)
    indices : ndarray of int32, shape (nnz,)
        Columns, ascending within each text.
    counts : ndarray of int64, shape (nnz,)
    """
    keys = np.concatenate([d.astype(np.int64) << 32 | c for d, c in pairs] or [np.empty(0, int)])
    keys.sort()
    first = np.ones(len(keys), np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    begins = np.flatnonzero(first)
    counts = np.diff(begins, append=len(keys))
    keys = keys[begins]
    indptr = np.searchsorted(keys, np.arange(n_docs + 1) << 32)
    return indptr, (keys & 0xFFFFFFFF).astype(np.int32), counts

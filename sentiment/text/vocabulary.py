"""The vocabulary of a corpus: its n-grams counted, chosen and numbered, as columns of integers.

A corpus is the ids of its tokens, all texts one after the other, with -1 after every text. No n-gram
holds a -1, so none crosses the end of a text. An order is built from the one below: the keys
(prefix, last token) of all positions are sorted together with the positions, runs of equal keys are
the n-grams, and those in too few texts are dropped at once, because nothing that extends them can be
in more. Ids are lexicographic ranks, so sorted keys are sorted strings and no string is ever made.

Memory grows with the corpus: four bytes for each position and order, a dozen for each value of the
matrix, and blocks of a fixed size beside them. Fitting 500,000 reviews (0.62 GiB of text, word
1-3-grams, 266 million values) peaked at 6.5 GiB, texts and matrix of 3.0 GiB included; processor
time grew linearly, 23 s for every 100,000 reviews (tests/benchmarks/bench_vectorize.py --scale).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment.text.corpus import Corpus, parallel
from sentiment.text.ngrams import IntArray, Level, LongArray, NgramIndex

BoolArray = npt.NDArray[np.bool_]

_CHUNK_POSITIONS = 1 << 18
_BLOCK_POSITIONS = 1 << 18


def count_ngrams(
    corpus: Corpus,
    tokens: list[str],
    df: LongArray,
    tf: LongArray,
    *,
    n_max: int,
    min_count: float,
) -> tuple[list[Level], list[LongArray], list[IntArray]]:
    """Count the n-grams of a corpus, order by order.

    Parameters
    ----------
    corpus : Corpus
    tokens : list of str
        The tokens that are in at least `min_count` texts, sorted; ids are their positions.
    df, tf : ndarray of int64, shape (n_tokens,)
        Number of texts that hold a token, and of its occurrences.
    n_max : int
        The longest.
    min_count : float
        Least number of texts that hold an n-gram.

    Returns
    -------
    levels : list of Level
        Without columns.
    totals : list of ndarray of int64
        Occurrences of each entry.
    entries : list of ndarray of int32, shape (n_positions,)
        For every order the entry of the n-gram that starts at a position, or -1.
    """
    levels, totals, entries = [first_level(df)], [tf], [corpus.ids]
    texts = corpus.texts() if n_max > 1 else np.empty(0, np.int32)
    for k in range(2, n_max + 1):
        level, total, entry = extend(
            corpus.ids, texts, entries[-1], totals[-1], k, len(tokens), min_count
        )
        levels.append(level)
        totals.append(total)
        entries.append(entry)
    return levels, totals, entries


def first_level(df: LongArray) -> Level:
    """Return the level of tokens, without columns, given how many texts hold each."""
    n = len(df)
    none = np.full(n, -1, np.int32)
    return Level(none, np.arange(n, dtype=np.int32), none, df.astype(np.int32))


def choose_features(
    levels: list[Level],
    totals: list[LongArray],
    tokens: list[str],
    *,
    ngram_range: tuple[int, int],
    whole_words: bool,
    separator: str,
    max_count: float,
    max_features: int | None,
    count_dtype: npt.DTypeLike,
    binary: bool,
) -> tuple[NgramIndex, list[IntArray]]:
    """Take the features among counted n-grams, and number them.

    Parameters
    ----------
    levels, totals, tokens
        As `count_ngrams` returns and takes them.
    ngram_range : (int, int)
        Shortest and longest n-gram that is a feature.
    whole_words : bool
        ``char_wb``: a padded word shorter than the shortest n-gram is a feature itself.
    separator : str
        What stands between the tokens of an n-gram.
    max_count : float
        Largest number of texts that hold an n-gram.
    max_features : int or None
        Keep that many n-grams, the most frequent of the corpus.
    count_dtype : dtype
        Type in which scikit-learn adds an n-gram's counts up: it decides ties of `max_features`.
    binary : bool
        An n-gram counts once per text for `max_features`; `totals` is not looked at.

    Returns
    -------
    index : NgramIndex
        May be without any feature.
    columns : list of ndarray of int32
        For every order the column of each entry, or -1; and -1 for entry -1, at the end.
    """
    low, high = ngram_range
    kept = [level.df <= max_count for level in levels]
    for k in range(1, low):
        if whole_words and k > 1:
            kept[k - 1] &= _begins_and_ends(levels, k, tokens.index(" ") if " " in tokens else -1)
        else:
            kept[k - 1][:] = False
    places = _places(tokens) if separator == " " and high > 1 else None
    columns = _lexicographic(levels, kept, places)
    n_kept = sum(int(keep.sum()) for keep in kept)
    if max_features is not None and n_kept > max_features:
        counts = np.zeros(n_kept, count_dtype)
        for level, column, keep, total in zip(levels, columns, kept, totals, strict=True):
            counts[column[keep]] = (level.df if binary else total)[keep]
        chosen = np.zeros(n_kept, np.bool_)
        chosen[(-counts).argsort()[:max_features]] = True  # scikit-learn's line, for its ties
        kept = [keep & chosen[column] for column, keep in zip(columns, kept, strict=True)]
        columns = _lexicographic(levels, kept, places)
    index = compact(levels, columns, tokens, separator)
    return index, [np.append(column, np.int32(-1)) for column in columns]


def _begins_and_ends(levels: list[Level], k: int, token: int) -> BoolArray:
    """Return which n-grams of order k begin and end with a token."""
    entries = np.arange(len(levels[k - 1]), dtype=np.int32)
    for level in levels[k - 1 : 0 : -1]:
        entries = level.prefix[entries]
    both: BoolArray = (entries == token) & (levels[k - 1].last == token)
    return both


def extend(
    ids: IntArray,
    texts: IntArray,
    entries: IntArray,
    totals: LongArray,
    k: int,
    n_tokens: int,
    min_count: float,
) -> tuple[Level, LongArray, IntArray]:
    """Build the order k from the entries of the order below.

    Parameters
    ----------
    ids, texts : ndarray of int32, shape (n_positions,)
        Token and text at every position; -1 ends a text.
    entries : ndarray of int32, shape (n_positions,)
        Of the order below.
    totals : ndarray of int64
        Occurrences of those.
    k : int
    n_tokens : int
    min_count : float

    Returns
    -------
    level : Level
        Without columns.
    totals : ndarray of int64
    entries : ndarray of int32, shape (n_positions,)

    Notes
    -----
    Prefixes are dealt out to blocks of about `_BLOCK_POSITIONS` positions, in order, so that memory
    is bounded, keys fit 64 bits, and blocks can be sorted at the same time.
    """
    token_bits = n_tokens.bit_length()
    target = min(_BLOCK_POSITIONS, 1 << (62 - token_bits) // 2)
    heavy = totals > target  # has a block of its own
    before = np.cumsum(totals) - totals
    new = np.zeros(len(totals), np.bool_)
    new[1:] = (np.diff(before // target) != 0) | heavy[1:] | heavy[:-1]
    block_of = np.cumsum(new).astype(np.uint16)
    n_blocks = int(block_of[-1]) + 1 if len(block_of) else 0
    block_of = np.append(block_of, np.uint16(n_blocks))  # for entry -1
    first_prefix = np.searchsorted(block_of, np.arange(n_blocks))

    def deal(begin: int) -> tuple[IntArray, LongArray]:
        part = entries[begin : begin + _CHUNK_POSITIONS]
        blocks = block_of[part]
        following = entries[begin + 1 : begin + 1 + len(part)]
        blocks[: len(following)][following < 0] = n_blocks
        blocks[len(following) :] = n_blocks
        order = np.argsort(blocks, kind="stable").astype(np.int32)
        sizes = np.bincount(blocks, minlength=n_blocks + 1)
        return order, np.cumsum(sizes) - sizes

    begins = range(0, len(ids), _CHUNK_POSITIONS)
    dealt = list(parallel(deal, begins))
    extended = np.full(len(ids), -1, np.int32)

    def build(block: int) -> tuple[LongArray, IntArray, tuple[LongArray, ...]]:
        at = np.concatenate(
            [
                order[cuts[block] : cuts[block + 1]] + np.int64(begin)
                for begin, (order, cuts) in zip(begins, dealt, strict=True)
            ]
        )
        base = int(first_prefix[block])
        pairs = (entries[at].astype(np.int64) - base) << token_bits | ids[at + (k - 1)]
        numbers, pair, df, tf = _count_pairs(pairs, texts[at], min_count)
        return at, numbers, ((pair >> token_bits) + base, pair & (1 << token_bits) - 1, df, tf)

    rows: list[tuple[LongArray, ...]] = []
    n = 0
    for at, numbers, row in parallel(build, range(n_blocks)):
        extended[at] = np.where(numbers >= 0, numbers + np.int32(n), np.int32(-1))
        rows.append(row)
        n += len(row[0])
    empty = np.empty(0, np.int64)
    prefix, last, df, tf = (
        np.concatenate(column) for column in zip(*rows, (empty,) * 4, strict=True)
    )
    level = Level(
        prefix.astype(np.int32),
        last.astype(np.int32),
        np.full(n, -1, np.int32),
        df.astype(np.int32),
    )
    return level, tf, extended


def _count_pairs(
    pairs: LongArray, texts: IntArray, min_count: float
) -> tuple[IntArray, LongArray, LongArray, LongArray]:
    """Give numbers to the distinct pairs that are in enough texts, in ascending order.

    Returns
    -------
    numbers : ndarray of int32
        The number of each given pair, or -1.
    pair, df, tf : ndarray of int64
        The numbered pairs, the texts that hold them and their occurrences.
    """
    m = len(pairs)
    bits = np.uint64(max(1, m - 1).bit_length())
    keys = pairs.view(np.uint64) << bits | np.arange(m, dtype=np.uint64)
    keys.sort()
    places = (keys & ((np.uint64(1) << bits) - np.uint64(1))).view(np.int64)
    keys >>= bits
    first = np.ones(m, np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    begins = np.flatnonzero(first)
    where = texts[places]
    new = first.copy()
    new[1:] |= where[1:] != where[:-1]
    seen = np.cumsum(new)
    df = np.diff(seen[begins] - 1, append=seen[-1] if m else 0)
    tf = np.diff(begins, append=m)
    enough = df >= min_count
    number = np.where(enough, np.cumsum(enough) - 1, -1).astype(np.int32)
    numbers = np.empty(m, np.int32)
    numbers[places] = np.repeat(number, tf)
    return numbers, keys[begins[enough]].view(np.int64), df[enough], tf[enough]


@dataclass(frozen=True)
class _Places:
    """Where tokens stand among all tokens and all tokens with a space behind.

    Attributes
    ----------
    alone, followed : ndarray of int32, shape (n_tokens,)
        Place of the token, and of the token with a space behind.
    parted : ndarray of bool, shape (n_tokens,)
        Whether something stands between the two: the token with a character below the space behind.
    """

    alone: IntArray
    followed: IntArray
    parted: BoolArray


def _places(tokens: list[str]) -> _Places | None:
    """Return the places of tokens, or None where no token is parted from its extensions."""
    if not any(min(token, default="!") < " " for token in tokens):
        return None
    n = len(tokens)
    both = [*tokens, *(f"{token} " for token in tokens)]
    place = np.empty(2 * n, np.int32)
    place[sorted(range(2 * n), key=both.__getitem__)] = np.arange(2 * n, dtype=np.int32)
    alone, followed = place[:n], place[n:]
    parted = followed != alone + 1
    return _Places(alone, followed, parted) if parted.any() else None


def _lexicographic(
    levels: list[Level], kept: list[BoolArray], places: _Places | None = None
) -> list[IntArray]:
    """Give kept n-grams their columns in the order of their strings; -1 to the others.

    An n-gram comes right before its extensions: this is the pre-order of the prefix tree. But where
    tokens are parted from their extensions, siblings stand between the two.
    """
    # With many millions of n-grams every array of this length counts: in place, and 32 bits.
    sizes = [keep.astype(np.int32) for keep in kept]
    # Siblings stand side by side.
    firsts = [np.flatnonzero(np.diff(level.prefix, prepend=np.int32(-2))) for level in levels]
    for k in range(len(levels) - 1, 0, -1):
        first = firsts[k]
        if len(first):
            sizes[k - 1][levels[k].prefix[first]] += np.add.reduceat(sizes[k], first)
    columns = []
    inside = np.empty(0, np.int32)  # where the extensions of each n-gram below begin
    for k, (level, keep) in enumerate(zip(levels, kept, strict=True)):
        starts = np.cumsum(sizes[k], dtype=np.int32)
        starts -= sizes[k]
        first = firsts[k]
        if k > 0:
            # The first sibling comes where the extensions of their prefix begin.
            shift = inside[level.prefix[first]] - starts[first]
            starts += np.repeat(shift, np.diff(first, append=len(starts)))
        inside = starts + keep
        if places is not None:
            _part(level, first, keep, sizes[k], starts, inside, places)
        sizes[k] = np.empty(0, np.int32)
        columns.append(np.where(keep, starts, np.int32(-1)))
    return columns


def _part(
    level: Level,
    first: LongArray,
    keep: BoolArray,
    sizes: IntArray,
    starts: IntArray,
    inside: IntArray,
    places: _Places,
) -> None:
    """Put siblings between parted ones and their extensions: `starts` and `inside` are changed.

    Parameters
    ----------
    level : Level
    first : ndarray of int64
        The first of each group of siblings.
    keep, sizes
        Of each n-gram: whether it has a column, and how many it has with its extensions.
    starts, inside : ndarray of int32
        Where it stands, and where its extensions begin.
    places : _Places
    """
    if not len(first):
        return
    group = np.searchsorted(first, np.flatnonzero(places.parted[level.last]), side="right") - 1
    ends = np.append(first[1:], len(level))
    groups = np.unique(group)
    lengths = ends[groups] - first[groups]
    begins = np.repeat(first[groups], lengths)
    entries = begins + np.arange(len(begins)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    tokens = level.last[entries]
    # Each is there twice: as itself, and with all its extensions.
    place = np.concatenate([places.alone[tokens], places.followed[tokens]]).astype(np.int64)
    order = np.argsort(np.tile(begins, 2) << 32 | place, kind="stable")
    alone = keep[entries].astype(np.int64)
    length = np.concatenate([alone, sizes[entries] - alone])[order]
    at = np.empty_like(length)
    at[order] = np.cumsum(length) - length
    # Counted from the first group on; each begins where it began.
    base = starts[begins] - np.repeat(np.cumsum(_sums(sizes[entries], lengths)), lengths)
    base += np.repeat(_sums(sizes[entries], lengths), lengths)
    starts[entries], inside[entries] = base + at[: len(base)], base + at[len(base) :]


def _sums(values: IntArray, lengths: LongArray) -> LongArray:
    ends = np.cumsum(lengths)
    total = np.append(0, np.cumsum(values, dtype=np.int64))
    found: LongArray = total[ends] - total[ends - lengths]
    return found


def compact(
    levels: list[Level], columns: list[IntArray], tokens: list[str], separator: str
) -> NgramIndex:
    """Keep the entries that are a feature, or the prefix or a token of one."""
    needed = [column >= 0 for column in columns]
    for k in range(len(levels) - 1, 0, -1):
        needed[k - 1][levels[k].prefix[needed[k]]] = True
        needed[0][levels[k].last[needed[k]]] = True
    if all(need.all() for need in needed):  # as usual: a copy would be many megabytes
        whole = [
            Level(level.prefix, level.last, column, level.df)
            for level, column in zip(levels, columns, strict=True)
        ]
        return NgramIndex(tokens, whole, separator)
    numbers = [np.cumsum(need, dtype=np.int32) - np.int32(1) for need in needed]
    compacted = []
    for k, (level, column, need) in enumerate(zip(levels, columns, needed, strict=True)):
        prefix = level.prefix[need]
        compacted.append(
            Level(
                numbers[k - 1][prefix] if k > 0 else prefix,
                numbers[0][level.last[need]],
                column[need],
                level.df[need],
            )
        )
    return NgramIndex([tokens[i] for i in np.flatnonzero(needed[0]).tolist()], compacted, separator)

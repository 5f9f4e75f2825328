"""The same features as `fit_transform` makes, for a corpus that memory does not hold.

Texts come in blocks of a fixed number of characters. Each block is encoded and its n-grams are
counted by itself, with the functions that count a corpus in memory; its counts go to disk, sorted.
Ranges of n-grams are then merged over all blocks, so that `min_df`, `max_df` and `max_features` see the
exact counts of the whole corpus, and what is infrequent is dropped before the next order is counted.
At last each block's rows are written as a block of the matrix.

In memory are the vocabulary and a few blocks. Every step of a block ends with one file that takes its
name when it is whole, so that a step can be done again, elsewhere, or left out when it is done.
"""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment.text.corpus import learn, thread_count
from sentiment.text.engine import Engine, give_back
from sentiment.text.ngrams import Level
from sentiment.text.spec import TextSpec
from sentiment.text.vocabulary import extend, first_level
from sentiment.vectorizers.base import TextError
from sentiment.vectorizers.block_matrix import (
    BlockMatrix,
    load,
    mapped,
    save,
    save_array,
    save_rows,
    sort_block,
    transpose,
)
from sentiment.vectorizers.hashing import HashingVectorizer
from sentiment.vectorizers.ngram import CountVectorizer, chunks_of_texts
from sentiment.vectorizers.rows import stack

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Progress = Callable[[str, int, int], None]
"""Told a step, and how many of its parts are done, of how many (0: not known)."""

_SAMPLED = 2048  # one key of so many tells where ranges may be cut
# What a task takes: measured, with a margin, by tests/benchmarks/bench_scale.py.
_BYTES_PER_CHARACTER = 14
_BYTES_PER_NGRAM = 44


@dataclass(frozen=True)
class Sizes:
    """How much a task takes at a time.

    Attributes
    ----------
    characters : int
        Of a block; the matrix is cut where blocks are.
    ngrams : int
        N-grams of all blocks that are merged at a time, and values that are transposed.
    """

    characters: int = 16 << 20
    ngrams: int = 8 << 20

    @classmethod
    def within(cls, memory: int) -> Sizes:
        """Return the sizes that keep all threads together within so many bytes."""
        each = memory // (thread_count() + 1)  # one more waits for its turn

        def share(unit: int, most: int) -> int:
            return max(1 << 20, min(most, each // unit))

        return cls(share(_BYTES_PER_CHARACTER, cls.characters), share(_BYTES_PER_NGRAM, cls.ngrams))


LARGEST = Sizes()


class _Learned(NamedTuple):
    """What a block of texts holds: its tokens, in how many texts and how often."""

    tokens: list[str]
    df: Int64
    tf: Int64
    n_texts: int


@dataclass(frozen=True)
class _Block:
    """Texts of one block, and its number."""

    number: int
    texts: list[str]


def fit_blocks(
    vectorizer: Any,
    texts: Iterable[list[str]],
    folder: Path,
    engine: Engine,
    progress: Progress,
    *,
    dtype: npt.DTypeLike,
    by_columns: bool = True,
    sizes: Sizes = LARGEST,
    n_texts: int = 0,
) -> BlockMatrix:
    """Fit a vectorizer on texts that come in pieces, and write their features in blocks.

    Parameters
    ----------
    vectorizer : CountVectorizer, TfidfVectorizer or HashingVectorizer
        Fitted in place.
    texts : iterable of list of str
    folder : Path
        What is there already is taken, so it belongs to these texts and this vectorizer alone.
    engine : Engine
    progress : callable
    dtype : dtype
        Of the values on disk.
    by_columns : bool
        Whether the matrix is written in blocks of columns too.
    sizes : Sizes
    n_texts : int
        How many there are, for the progress; 0 is not known.

    Returns
    -------
    BlockMatrix
        In the folder ``matrix``; what was needed on the way is removed.

    Raises
    ------
    TextError
        As `fit_transform` does, or it was given a vocabulary or functions.
    """
    if vectorizer.functions() or getattr(vectorizer, "vocabulary", None) is not None:
        raise TextError(
            "a vectorizer with functions or a given vocabulary has all texts in memory: "
            "data.memory must allow that"
        )
    matrix, work = folder / "matrix", folder / "work"
    matrix.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    blocks = _blocks(texts, sizes.characters)
    if isinstance(vectorizer, HashingVectorizer):
        lengths, n_columns = [], vectorizer.n_features
        filled = np.ones(n_columns, np.int32)
        for rows in engine.map(
            _hash_block, blocks, folder=matrix, vectorizer=vectorizer, dtype=dtype
        ):
            lengths.append(rows)
            progress("features", len(lengths), _expected(lengths, n_texts))
    else:
        vectorizer._validate_params()
        spec = vectorizer._make_spec()
        lengths, n_orders = _count(
            vectorizer, spec, blocks, work, engine, progress, sizes.ngrams, n_texts
        )
        n_columns = vectorizer.index_.n_features
        filled = vectorizer.index_.document_frequency()
        give_back()
        weigher = copy.copy(vectorizer)  # the weights without the vocabulary
        weigher.__dict__.pop("index_")
        for done, _ in enumerate(
            engine.map(
                _assemble_block, range(len(lengths)), folder=work, target=matrix, weigher=weigher,
                n_columns=n_columns, n_orders=n_orders, dtype=dtype,
            ),
            start=1,
        ):  # fmt: skip
            progress("features", done, len(lengths))
    widths = []
    if by_columns:
        cuts = _cut_columns(filled, sizes.ngrams)
        widths = np.diff(cuts).tolist()
        steps = len(lengths) + len(widths)
        done = 0
        for function, items in (
            (sort_block, range(len(lengths))),
            (transpose, range(len(widths))),
        ):
            for _ in engine.map(
                function, items, folder=work, target=matrix, starts=[0, *itertools.accumulate(lengths)],
                cuts=cuts,
            ):  # fmt: skip
                done += 1
                progress("transpose", done, steps)
    shutil.rmtree(work)
    return BlockMatrix(matrix, lengths, widths, n_columns, engine)


def _cut_columns(filled: Int32, size: int) -> list[int]:
    """Cut columns into ranges that hold about so many values."""
    ends = np.cumsum(filled, dtype=np.int64)
    n_ranges = max(1, -(-int(ends[-1]) // size))
    marks = int(ends[-1]) * np.arange(1, n_ranges) // n_ranges
    cuts = np.concatenate([[0], np.searchsorted(ends, marks), [len(filled)]])
    return [int(cut) for cut in np.unique(cuts)]


def _expected(lengths: list[int], n_texts: int) -> int:
    """Return how many blocks there are likely to be, or 0."""
    return max(len(lengths), round(len(lengths) * n_texts / sum(lengths))) if n_texts else 0


def _blocks(texts: Iterable[list[str]], characters_each: int) -> Iterator[_Block]:
    """Deal texts into blocks of so many characters or more; they end where the texts say."""
    held: list[str] = []
    characters = number = 0
    for piece in texts:
        for text in piece:
            held.append(text)
            characters += len(text)
            if characters >= characters_each:
                yield _Block(number, held)
                held, characters, number = [], 0, number + 1
    if held:
        yield _Block(number, held)


def _count(
    vectorizer: CountVectorizer,
    spec: TextSpec,
    blocks: Iterable[_Block],
    work: Path,
    engine: Engine,
    progress: Progress,
    merged_at_a_time: int,
    n_texts: int,
) -> tuple[list[int], int]:
    """Count n-grams and let the vectorizer choose; return the rows of each block and the orders."""
    number_of: dict[str, int] = {}
    df, tf = np.zeros((2, 0), np.int64)
    lengths: list[int] = []
    for learned in engine.map(_learn_block, blocks, folder=work, spec=spec):
        numbers = np.fromiter(
            (number_of.setdefault(token, len(number_of)) for token in learned.tokens),
            np.int64,
            len(learned.tokens),
        )
        grown = np.zeros((2, len(number_of)), np.int64)
        grown[0, : len(df)], grown[1, : len(tf)] = df, tf
        df, tf = grown
        df[numbers] += learned.df
        tf[numbers] += learned.tf
        save(work, len(lengths), "numbers", numbers)
        lengths.append(learned.n_texts)
        progress("tokens", len(lengths), _expected(lengths, n_texts))
    n_docs = sum(lengths)
    min_count, _ = vectorizer.bounds(n_docs)
    names = list(number_of)
    number_of.clear()
    frequent = np.flatnonzero(df >= min_count).tolist()
    frequent.sort(key=names.__getitem__)
    tokens = [names[i] for i in frequent]
    vectorizer.check_tokens(tokens, spec, empty=not names and (min_count <= 1 or not n_docs))
    rank = np.full(len(names), -1, np.int32)
    rank[frequent] = np.arange(len(frequent), dtype=np.int32)
    del names
    levels, totals = [first_level(df[frequent])], [tf[frequent]]
    del df, tf
    # How often they occur decides only which of too many are kept: else a column less in memory.
    with_tf = vectorizer.max_features is not None and not vectorizer.binary
    bits = len(tokens).bit_length()
    for k in range(2, spec.ngram_range[1] + 1):
        step = f"{k}-grams"
        samples = []
        for sample in engine.map(
            _extend_block, range(len(lengths)), folder=work, k=k, bits=bits,
            rank=rank if k == 2 else None, with_tf=with_tf,
        ):  # fmt: skip
            samples.append(sample)
            progress(step, len(samples), 2 * len(lengths))
        ranges = _ranges(samples, merged_at_a_time)
        parts, k_totals = [], [np.empty(0, np.int64)]
        for done, (keys, k_df, k_tf) in enumerate(
            engine.map(
                _merge, ranges, folder=work, k=k, n=len(lengths), min_count=min_count,
                with_tf=with_tf,
            ),
            start=1,
        ):  # fmt: skip
            parts.append(
                Level(
                    (keys >> bits).astype(np.int32),
                    (keys & ((1 << bits) - 1)).astype(np.int32),
                    np.full(len(keys), -1, np.int32),
                    k_df,
                )
            )
            k_totals.append(k_tf)
            progress(step, len(ranges) + done, 2 * len(ranges))
        levels.append(_joined(parts))
        totals.append(np.concatenate(k_totals))
        keys = levels[-1].prefix.astype(np.int64)
        keys <<= bits
        keys |= levels[-1].last
        save_array(work / f"level{k}.npy", keys)
        del parts, k_totals, keys, k_df, k_tf
        give_back()
    columns = vectorizer.choose(levels, totals, tokens, n_docs)
    # For a corpus of tokens alone, nothing above has written which are frequent.
    save_array(work / "rank.npy", rank)
    for k, column in enumerate(columns, start=1):
        save_array(work / f"columns{k}.npy", column)
    return lengths, len(columns)


def _joined(parts: list[Level]) -> Level:
    """Join levels, one column after the other, so that one is twice in memory and no more."""
    columns = {}
    for name in ("prefix", "last", "column", "df"):
        columns[name] = np.concatenate([getattr(part, name) for part in parts])
        for i, part in enumerate(parts):
            parts[i] = replace(part, **{name: columns[name][:0]})
    return Level(**columns)


def _learn_block(block: _Block, *, folder: Path, spec: TextSpec) -> _Learned:
    """Encode a block by its own tokens."""
    number = block.number
    about = folder / f"{number:06}-tokens.json"
    if about.exists():
        tokens = json.loads(about.read_text(encoding="utf-8"))
        counts = load(folder, number, "counts")
        return _Learned(tokens, counts[0], counts[1], len(load(folder, number, "ends")))
    corpus, tokens, df, tf = learn(block.texts, spec, 0)
    save(folder, number, "ids", corpus.ids)
    save(folder, number, "ends", np.cumsum(corpus.per_text))
    save(folder, number, "counts", np.stack([df, tf]))
    beside = about.with_suffix(".writing")
    beside.write_text(json.dumps(tokens), encoding="utf-8")
    beside.replace(about)
    return _Learned(tokens, df, tf, len(block.texts))


def _extend_block(
    number: int, *, folder: Path, k: int, bits: int, rank: Int32 | None, with_tf: bool
) -> tuple[Int64, int]:
    """Count a block's n-grams of k tokens; return a sample of them, and how many there are."""
    done = folder / f"{number:06}-keys{k}.npy"
    if not done.exists():
        if rank is not None:
            save(folder, number, "global1", rank[load(folder, number, "numbers")])
        token_of = load(folder, number, "global1")
        below = _located(folder, number, k - 1)
        ids, entries = load(folder, number, "ids"), load(folder, number, _entries(k - 1))
        ends = load(folder, number, "ends")
        # What is too rare in the whole corpus begins nothing that is frequent.
        entries = np.where(np.append(below, np.int32(-1))[entries] >= 0, entries, np.int32(-1))
        texts = np.repeat(np.arange(len(ends), dtype=np.int32), np.diff(ends, prepend=0))
        occurring = np.bincount(entries[entries >= 0], minlength=len(below))
        level, tf, extended = extend(ids, texts, entries, occurring, k, len(token_of), 1)
        # Ranks rise with a block's own numbers: the keys are sorted as the block's n-grams are.
        keys = below[level.prefix].astype(np.int64) << bits | token_of[level.last]
        save(folder, number, _entries(k), extended)
        save(folder, number, f"df{k}", level.df)
        if with_tf:
            save(folder, number, f"tf{k}", tf.astype(np.int32))
        save(folder, number, f"keys{k}", keys)
    keys = load(folder, number, f"keys{k}")
    return np.array(keys[::_SAMPLED]), len(keys)


def _entries(k: int) -> str:
    return "ids" if k == 1 else f"entries{k}"


def _located(folder: Path, number: int, k: int) -> Int32:
    """Return the place in the whole corpus of a block's n-grams of k tokens, or -1."""
    if k == 1:
        found: Int32 = load(folder, number, "global1")
        return found
    level, keys = (
        mapped(folder / f"level{k}.npy"),
        load(folder, number, f"keys{k}"),
    )
    if not len(level):
        return np.full(len(keys), -1, np.int32)
    at = np.searchsorted(level, keys)
    at[at == len(level)] = 0
    return np.where(level[at] == keys, at, -1).astype(np.int32)


def _ranges(samples: list[tuple[Int64, int]], size: int) -> list[tuple[int, int]]:
    """Cut the n-grams into ranges that hold about that many of all blocks'."""
    total = sum(n for _, n in samples)
    keys = np.sort(np.concatenate([sample for sample, _ in samples]))
    n_ranges = -(-total // size)
    cuts: Any = keys[np.arange(1, n_ranges) * len(keys) // max(n_ranges, 1)] if len(keys) else []
    bounds = [0, *np.unique(np.asarray(cuts, np.int64)).tolist(), np.iinfo(np.int64).max]
    return list(itertools.pairwise(bounds))


def _merge(
    bounds: tuple[int, int], *, folder: Path, k: int, n: int, min_count: float, with_tf: bool
) -> tuple[Int64, Int32, Int64]:
    """Add up the counts of a range of n-grams over all blocks; keep those in enough texts."""
    names = ("df", "tf") if with_tf else ("df",)
    parts = []
    for number in range(n):
        keys = mapped(folder / f"{number:06}-keys{k}.npy")
        cut = slice(*np.searchsorted(keys, bounds).tolist())
        counts = [mapped(folder / f"{number:06}-{name}{k}.npy")[cut] for name in names]
        parts.append((keys[cut], *counts))
    keys, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    begins = np.flatnonzero(np.diff(keys, prepend=-1))
    nothing = np.empty(0, np.int64)
    if not len(begins):
        return keys, nothing.astype(np.int32), nothing
    df, *tf = (np.add.reduceat(column[order], begins, dtype=np.int64) for column in columns)
    enough = df >= min_count
    return keys[begins[enough]], df[enough].astype(np.int32), tf[0][enough] if tf else nothing


def _assemble_block(
    number: int,
    *,
    folder: Path,
    target: Path,
    weigher: CountVectorizer,
    n_columns: int,
    n_orders: int,
    dtype: npt.DTypeLike,
) -> None:
    """Write a block's rows of the matrix, and remove what they were made from."""
    if (target / f"{number:06}-rows-indptr.npy").exists():
        return
    if n_orders == 1:
        rank = mapped(folder / "rank.npy")
        save(folder, number, "global1", rank[load(folder, number, "numbers")])
    ends = load(folder, number, "ends")
    entries, columns = [], []
    for k in range(1, n_orders + 1):
        column = mapped(folder / f"columns{k}.npy")
        located = _located(folder, number, k)
        columns.append(np.append(column[located], np.int32(-1)))
        entries.append(load(folder, number, _entries(k)))
    rows = [
        weigher.assemble(ends, entries, columns, cut)
        for cut in chunks_of_texts(np.diff(ends, prepend=0))
    ]
    X = stack(rows, len(ends), n_columns, weigher.dtype)
    save_rows(target, number, X, dtype)
    for file in folder.glob(f"{number:06}-*"):
        file.unlink()


def _hash_block(
    block: _Block, *, folder: Path, vectorizer: HashingVectorizer, dtype: npt.DTypeLike
) -> int:
    if not (folder / f"{block.number:06}-rows-indptr.npy").exists():
        save_rows(folder, block.number, vectorizer.transform(block.texts), dtype)
    return len(block.texts)

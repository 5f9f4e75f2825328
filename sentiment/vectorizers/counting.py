"""N-grams of a corpus in blocks: each block is counted by itself, and ranges of all are merged."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment.text.corpus import learn
from sentiment.text.engine import give_back
from sentiment.text.ngrams import Level
from sentiment.text.spec import TextSpec
from sentiment.text.vocabulary import extend, first_level
from sentiment.vectorizers.block_matrix import (
    has_rows,
    load,
    mapped,
    save,
    save_array,
    save_csr,
    save_text,
)
from sentiment.vectorizers.making import Block, Making
from sentiment.vectorizers.ngram import CountVectorizer, chunks_of_texts
from sentiment.vectorizers.rows import stack

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_SAMPLED = 2048  # one key of so many tells where ranges may be cut


class _Learned(NamedTuple):
    """What a block of texts holds: its tokens, in how many texts and how often."""

    tokens: list[str]
    df: Int64
    tf: Int64
    n_texts: int


def count(
    vectorizer: CountVectorizer, spec: TextSpec, making: Making, work: Path
) -> tuple[list[int], int]:
    """Count n-grams and let the vectorizer choose; return the rows of each block and the orders."""
    engine, progress = making.engine, making.progress
    number_of: dict[str, int] = {}
    df, tf = np.zeros((2, 0), np.int64)
    lengths: list[int] = []
    for learned in engine.map(_learn_block, making.blocks(), folder=work, spec=spec):
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
        progress("tokens", len(lengths), making.expected(lengths))
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
        ranges = _ranges(samples, making.sizes.ngrams)
        parts = []
        for done, part in enumerate(
            engine.map(
                _merge, ranges, folder=work, k=k, n=len(lengths), min_count=min_count,
                with_tf=with_tf,
            ),
            start=1,
        ):  # fmt: skip
            parts.append(part)
            progress(step, len(ranges) + done, 2 * len(ranges))
        level, total = _kept(work, k, bits, parts)
        levels.append(level)
        totals.append(total)
        del parts, part
        give_back()
    columns = vectorizer.choose(levels, totals, tokens, n_docs)
    # For a corpus of tokens alone, nothing above has written which are frequent.
    save_array(work / "rank.npy", rank)
    for k, column in enumerate(columns, start=1):
        save_array(work / f"columns{k}.npy", column)
    return lengths, len(columns)


def _kept(
    work: Path, k: int, bits: int, parts: list[tuple[Int64, Int32, Int64]]
) -> tuple[Level, Int64]:
    """Write the n-grams of k tokens that are kept, and return them, mapped, with their occurrences."""
    keys, df, total = (np.concatenate(column) for column in zip(*parts, strict=True))
    parts.clear()
    save_array(work / f"level{k}.npy", keys)

    def kept(name: str, array: npt.NDArray[Any]) -> Any:
        save_array(work / f"counted{k}-{name}.npy", array)
        return mapped(work / f"counted{k}-{name}.npy")

    total, df = kept("total", total), kept("df", df)
    last = kept("last", (keys & ((1 << bits) - 1)).astype(np.int32))
    keys >>= bits
    prefix = kept("prefix", keys.astype(np.int32))
    return Level(prefix, last, np.broadcast_to(np.int32(-1), len(df)), df), total


def _learn_block(block: Block, *, folder: Path, spec: TextSpec) -> _Learned:
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
    save_text(about, json.dumps(tokens))
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


def assemble_block(
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
    if has_rows(target, number):
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
    save_csr(target, number, "rows", X, dtype)
    for file in folder.glob(f"{number:06}-*"):
        file.unlink()

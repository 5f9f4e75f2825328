"""The n-gram index against counting every n-gram in plain Python."""

from __future__ import annotations

import itertools
import pickle
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentiment.text import corpus as corpora
from sentiment.text import table, vocabulary
from sentiment.text.corpus import Encoder, cut_blocks, learn
from sentiment.text.ngrams import NgramIndex, count_keys
from sentiment.text.spec import TextSpec, Tokenizer
from sentiment.text.vocabulary import choose_features, count_ngrams

# Few words, so that n-grams repeat; "b" begins "ba".
TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "ba", "é", "zz"]), max_size=12).map(" ".join),
    min_size=1,
    max_size=10,
)


def spec_of(ngram_range, **fields):
    return TextSpec(token_pattern="letter", ngram_range=ngram_range, **fields)


def build(texts, ngram_range, *, min_df=1, max_df=None, max_features=None, binary=False):
    corpus, tokens, df, tf = learn(texts, spec_of(ngram_range), min_df)
    levels, totals, entries = count_ngrams(
        corpus, tokens, df, tf, n_max=ngram_range[1], min_count=min_df
    )
    index, columns = choose_features(
        levels,
        totals,
        tokens,
        ngram_range=ngram_range,
        whole_words=False,
        separator=" ",
        max_count=len(texts) if max_df is None else max_df,
        max_features=max_features,
        count_dtype=np.int64,
        binary=binary,
    )
    return corpus, index, entries, columns


def ngrams_of(text, ngram_range):
    """Every n-gram of a text, as tuples of tokens."""
    tokens = Tokenizer(spec_of(ngram_range))(text)
    return [
        tuple(tokens[i : i + k])
        for k in range(ngram_range[0], ngram_range[1] + 1)
        for i in range(len(tokens) - k + 1)
    ]


def count_all(texts, ngram_range):
    """The texts that hold each n-gram, and its occurrences."""
    lists = [ngrams_of(text, ngram_range) for text in texts]
    df = Counter(itertools.chain.from_iterable(map(set, lists)))
    return df, Counter(itertools.chain.from_iterable(lists))


def columns_found(index, texts, ngram_range):
    """Per text, how often each n-gram of the index was found."""
    corpus = Encoder(index.tokens, spec_of(ngram_range))(texts)
    names = index.ngrams()
    found = [Counter() for _ in texts]
    for key in index.keyed.find(corpus.ids, corpus.texts().astype(np.int64) << 32).tolist():
        found[key >> 32][names[key & 0xFFFFFFFF]] += 1
    return found


@pytest.mark.parametrize("ngram_range", [(1, 1), (1, 3), (2, 2), (3, 5)])
@settings(max_examples=60, deadline=None)
@given(texts=TEXTS, others=TEXTS, min_df=st.integers(1, 4), max_df=st.sampled_from([None, 2, 5]))
@example(texts=["", "a"], others=["b a"], min_df=1, max_df=None)
@example(texts=["a a a a", "a a"], others=["a a a a a"], min_df=2, max_df=None)
def test_index_is_what_counting_gives(ngram_range, texts, others, min_df, max_df):
    corpus, index, entries, columns = build(texts, ngram_range, min_df=min_df, max_df=max_df)
    df, _ = count_all(texts, ngram_range)
    most = len(texts) if max_df is None else max_df
    expected = {" ".join(n): c for n, c in df.items() if min_df <= c <= most}
    assert index.ngrams() == sorted(expected)
    assert index.n_features == len(expected)
    assert index.document_frequency().tolist() == [expected[name] for name in sorted(expected)]

    # What fitting says of every position is what a look-up finds there ...
    learned = Counter()
    for entry, column in zip(entries, columns, strict=True):
        at = column[entry]
        learned.update(zip(corpus.texts()[at >= 0].tolist(), at[at >= 0].tolist(), strict=True))
    names = index.ngrams()
    found = columns_found(index, texts, ngram_range)
    assert {(t, names[c]): n for (t, c), n in learned.items()} == {
        (t, name): n for t, counts in enumerate(found) for name, n in counts.items()
    }
    # ... and texts never seen have the n-grams that they have.
    for text, counts in zip(others, columns_found(index, others, ngram_range), strict=True):
        every = Counter(map(" ".join, ngrams_of(text, ngram_range)))
        assert counts == {name: n for name, n in every.items() if name in expected}


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS, max_features=st.integers(1, 12), binary=st.booleans())
def test_the_most_frequent_features_stay(texts, max_features, binary):
    ngram_range = (1, 3)
    _, index, _, _ = build(texts, ngram_range, max_features=max_features, binary=binary)
    df, tf = count_all(texts, ngram_range)
    counts = {" ".join(n): c for n, c in (df if binary else tf).items()}
    names = index.ngrams()
    assert names == sorted(names)
    assert len(names) == min(max_features, len(counts))
    dropped = [count for name, count in counts.items() if name not in set(names)]
    assert min((counts[name] for name in names), default=0) >= max(dropped, default=0)


def test_ties_are_broken_as_scikit_learn_does():
    from sklearn.feature_extraction.text import CountVectorizer

    texts = [" ".join(f"w{i * j % 61}" for j in range(9)) for i in range(50)]
    for max_features in (1, 17, 40, 100, 333):
        _, index, _, _ = build(texts, (1, 2), max_features=max_features)
        theirs = CountVectorizer(ngram_range=(1, 2), max_features=max_features).fit(texts)
        assert index.ngrams() == theirs.get_feature_names_out().tolist()


def test_bounds_count_texts_not_occurrences():
    texts = ["a a a", "b", "b a", "c"]
    assert build(texts, (1, 1), min_df=2)[1].ngrams() == ["a", "b"]
    assert build(texts, (1, 1), max_df=1)[1].ngrams() == ["c"]
    assert build(["a", "b"], (1, 2), min_df=2)[1].ngrams() == []


def test_only_needed_entries_and_tokens_are_kept():
    """A prefix stays without a column while an extension needs it, and no longer."""
    texts = ["x good film", "y good film", "good plot", "x bad", "y bad"]
    _, index, _, _ = build(texts, (1, 2), min_df=2, max_df=2)
    # "good" is in three texts, so no feature, but it begins "good film".
    assert index.ngrams() == ["bad", "film", "good film", "x", "y"]
    assert index.tokens == ["bad", "film", "good", "x", "y"]
    first, second = index.levels
    assert first.column.tolist() == [0, 1, -1, 3, 4]
    assert first.prefix.tolist() == [-1] * 5
    assert (second.prefix.tolist(), second.last.tolist()) == ([2], [1])
    # Nothing else needs "good" when its extension goes too.
    assert build(texts, (1, 2), min_df=2, max_df=2, max_features=2)[1].tokens != index.tokens
    assert build(texts, (2, 2), min_df=2)[1].tokens == ["film", "good"]
    for level in build(texts * 2, (2, 3), min_df=2)[1].levels:
        assert level.prefix.dtype == level.last.dtype == level.column.dtype == np.int32


def test_ngrams_do_not_cross_texts_or_unknown_tokens():
    texts = ["a b", "c d", "a b", "c d"]
    _, index, _, _ = build(texts, (2, 2))
    assert index.ngrams() == ["a b", "c d"]
    assert columns_found(index, ["b c", "a x b", "a", "x", ""], (2, 2)) == [{}] * 5


def test_a_table_takes_little_more_than_itself_while_it_is_built(monkeypatch):
    """With tens of millions of n-grams each array as long as the table is hundreds of megabytes."""
    monkeypatch.setattr(table, "_PART", 20_000)
    keys = np.unique(np.random.default_rng(0).integers(1, 2**63, 300_000, dtype=np.uint64))
    table.build_table(keys[:1000])
    tracemalloc.start()
    built, slots = table.build_table(keys)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(built.keys[slots], keys)
    assert kept < 16 * len(keys)
    assert peak < 36 * len(keys)  # 42 where all were sorted together


def test_columns_have_the_order_of_strings():
    """A token that begins another, and characters that sort before the space between tokens."""
    texts = ["a b", "a\x01 b", "ab a", "a b c", "ab", "a\x01 b a"] * 2
    corpus, tokens, df, tf = learn(texts, TextSpec(token_pattern=r"[^ ]+"), 1)
    levels, totals, _ = count_ngrams(corpus, tokens, df, tf, n_max=3, min_count=1)
    index, _ = choose_features(
        levels,
        totals,
        tokens,
        ngram_range=(1, 3),
        whole_words=False,
        separator=" ",
        max_count=99,
        max_features=None,
        count_dtype=np.int64,
        binary=False,
    )
    names = index.ngrams()
    assert names == sorted(names)
    assert len(set(names)) == len(names) == 12


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("threads", [1, 3])
def test_no_boundary_and_no_thread_changes_anything(size, threads, monkeypatch):
    """Blocks of texts, chunks and blocks of positions, all cut at every odd place."""
    texts = [" ".join(f"w{i * j % 13}" for j in range(i % 9)) for i in range(60)]
    _, expected, _, _ = build(texts, (1, 4), min_df=2)
    monkeypatch.setattr(corpora, "_BLOCK_CHARACTERS", 10 * size)
    monkeypatch.setattr(corpora, "thread_count", lambda: threads)
    monkeypatch.setattr(vocabulary, "_CHUNK_POSITIONS", size)
    monkeypatch.setattr(vocabulary, "_BLOCK_POSITIONS", size)
    _, index, _, _ = build(texts, (1, 4), min_df=2)
    assert index.tokens == expected.tokens
    for level, other in zip(index.levels, expected.levels, strict=True):
        for part in ("prefix", "last", "column", "df"):
            assert getattr(level, part).tobytes() == getattr(other, part).tobytes()


@given(st.lists(st.integers(0, 40)), st.integers(1, 100))
def test_blocks_hold_every_text_once(lengths, size):
    texts = ["x" * length for length in lengths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpora, "_BLOCK_CHARACTERS", size)
        cuts = cut_blocks(texts)
    assert [text for cut in cuts for text in texts[cut]] == texts
    assert all(cut.stop > cut.start for cut in cuts)
    # No block holds a text more than the one that fills it.
    assert all(sum(lengths[cut][:-1]) <= size for cut in cuts)


def test_a_pickled_index_finds_the_same():
    texts = ["a b c", "b c", "a b"]
    _, index, _, _ = build(texts, (1, 3))
    before = columns_found(index, texts, (1, 3))
    copy = pickle.loads(pickle.dumps(index))  # noqa: S301
    assert isinstance(copy, NgramIndex)
    assert columns_found(copy, texts, (1, 3)) == before


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**31 - 1) | st.integers(0, 3))))
def test_count_keys(pairs):
    keys = np.array([text << 32 | column for text, column in pairs], np.int64)
    rows, columns, counts = (part.tolist() for part in count_keys(keys))
    expected = sorted(Counter(pairs).items())
    assert list(zip(zip(rows, columns, strict=True), counts, strict=True)) == expected

"""A vocabulary that is given and not learned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from sentiment.text.corpus import learn
from sentiment.text.ngrams import NgramIndex
from sentiment.text.spec import TextSpec
from sentiment.text.vocabulary import choose_features, compact, count_ngrams
from sentiment.vectorizers.base import GIVEN, TextError


def vocabulary_columns(vocabulary: Mapping[str, int] | Iterable[str] | None) -> dict[str, int]:
    """Return the column of each n-gram, as scikit-learn understands a vocabulary.

    Parameters
    ----------
    vocabulary : mapping of str to int, or iterable of str
        A set is sorted; any other order is that of the columns.

    Raises
    ------
    TextError
        It is empty, repeats an n-gram or a column, or leaves one out.
    """
    if isinstance(vocabulary, Mapping):
        columns = {str(name): int(column) for name, column in vocabulary.items()}
        if sorted(columns.values()) != list(range(len(columns))):
            raise TextError(f"vocabulary: columns must be 0 to {len(columns) - 1}, each once")
    else:
        names = sorted(vocabulary) if isinstance(vocabulary, set | frozenset) else vocabulary
        columns = {}
        for name in names or ():
            if name in columns:
                raise TextError(f"vocabulary: {name!r} stands there twice")
            columns[name] = len(columns)
    if not columns:
        raise TextError("empty vocabulary: give at least one n-gram")
    return columns


def index_of(columns: Mapping[str, int], spec: TextSpec) -> NgramIndex:
    """Return the index of given n-grams: that of a corpus of which each is a text.

    Parameters
    ----------
    columns : mapping of str to int
        From `vocabulary_columns`.
    spec : TextSpec

    Raises
    ------
    TextError
        No text can hold one of them: it is not lowercase, or has too many words.
    """
    given = spec.token_pattern == GIVEN
    texts = [name.replace(" ", "\0") if given else name for name in columns]
    corpus, tokens, df, tf = learn(texts, spec, 1)
    levels, totals, _ = count_ngrams(corpus, tokens, df, tf, n_max=spec.ngram_range[1], min_count=1)
    separator = " " if spec.analyzer == "word" else ""
    index, found = choose_features(
        levels,
        totals,
        tokens,
        ngram_range=spec.ngram_range,
        whole_words=spec.analyzer == "char_wb",
        separator=separator,
        max_count=len(texts),
        max_features=None,
        count_dtype=np.int64,
        binary=True,
    )
    names = index.ngrams()
    known = set(names)
    lost = next((name for name in columns if name not in known), None)
    if lost is not None:
        raise TextError(
            f"vocabulary: no text can hold {lost!r} with these parameters (lowercase, "
            f"token_pattern, stop_words, ngram_range={list(spec.ngram_range)})"
        )
    # Entry -1 stands for none, and its column is -1.
    place = np.array([columns.get(name, -1) for name in names] + [-1], np.int32)
    return compact(levels, [place[one[:-1]] for one in found], tokens, separator)

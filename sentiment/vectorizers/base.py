"""What the vectorizers share: the parameters that turn a text into tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.utils._param_validation import Interval, StrOptions

from sentiment.errors import DataError
from sentiment.text.spec import TextSpec, compile_pattern


class TextError(DataError, ValueError):
    """Texts or parameters that no features can be made of: scikit-learn's ValueError, in one line."""


class TextVectorizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What the three vectorizers share: the parameters that turn a text into tokens."""

    def __init_subclass__(cls, **options: Any) -> None:
        # As in scikit-learn a sparse matrix comes out; looking for another wish costs every text.
        super().__init_subclass__(auto_wrap_output_keys=None, **options)

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "analyzer": [StrOptions({"word", "char", "char_wb"})],
        "lowercase": ["boolean"],
        "strip_accents": [StrOptions({"ascii", "unicode"}), None],
        "strip_html": ["boolean"],
        "normalize": [StrOptions({"nfc", "nfkc"}), None],
        "max_repeats": [Interval(Integral, 1, None, closed="left"), None],
        "token_pattern": [str],
        "stop_words": [StrOptions({"english"}), "array-like", None],
        "ngram_range": ["array-like"],
        "binary": ["boolean"],
        "dtype": "no_validation",
    }

    def _validate_params(self) -> None:
        super()._validate_params()
        self._make_spec()

    def _make_spec(self) -> TextSpec:
        ngram_range = tuple(self.ngram_range)
        if len(ngram_range) != 2 or not all(isinstance(n, Integral) for n in ngram_range):
            raise TextError(
                f"ngram_range={self.ngram_range!r} must be two whole numbers, e.g. [1, 2]"
            )
        low, high = map(int, ngram_range)
        if not 1 <= low <= high:
            raise TextError(
                f"Invalid value for ngram_range=({low}, {high}) lower boundary larger than the "
                "upper boundary, or below 1"
            )
        try:
            compile_pattern(self.token_pattern)
        except ValueError as error:
            raise TextError(str(error)) from None
        stop_words: Iterable[str] | None = self.stop_words
        if isinstance(stop_words, str):
            stop_words = ENGLISH_STOP_WORDS
        if stop_words is not None and not all(isinstance(word, str) for word in stop_words):
            raise TextError(f"stop_words={self.stop_words!r} must be strings")
        try:
            np.dtype(self.dtype)
        except TypeError:
            raise TextError(f"dtype={self.dtype!r} is not a numpy type, e.g. float32") from None
        return TextSpec(
            analyzer=self.analyzer,
            lowercase=bool(self.lowercase),
            strip_accents=self.strip_accents,
            strip_html=bool(self.strip_html),
            normalize=self.normalize,
            max_repeats=None if self.max_repeats is None else int(self.max_repeats),
            token_pattern=self.token_pattern,
            stop_words=None if stop_words is None else tuple(sorted(stop_words)),
            ngram_range=(low, high),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def check_texts(raw_documents: Iterable[str]) -> Sequence[str]:
    if isinstance(raw_documents, str) or not isinstance(raw_documents, Iterable):
        kind = "string" if isinstance(raw_documents, str) else type(raw_documents).__name__
        raise TextError(f"Iterable over raw text documents expected, {kind} object received.")
    texts = list(raw_documents)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextError(
                f"row {row} is not a text but {type(text).__name__} ({text!r:.40}): "
                "remove it or make it a string"
            )
    return texts

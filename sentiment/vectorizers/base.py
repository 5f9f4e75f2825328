"""What the vectorizers share: the parameters that turn a text into tokens."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.utils._param_validation import Interval, StrOptions

from sentiment.errors import DataError
from sentiment.text.spec import TextSpec, Tokenizer, clean, compile_pattern

GIVEN = r"[^\0]+"  # tokens that a function has made stand with a NUL between them


class TextError(DataError, ValueError):
    """Texts or parameters that no features can be made of: scikit-learn's ValueError, in one line."""


class TextVectorizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What the three vectorizers share: the parameters that turn a text into tokens."""

    def __init_subclass__(cls, **options: Any) -> None:
        # As in scikit-learn a sparse matrix comes out; looking for another wish costs every text.
        super().__init_subclass__(auto_wrap_output_keys=None, **options)

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "input": [StrOptions({"content", "filename", "file"})],
        "encoding": [str],
        "decode_error": [StrOptions({"strict", "ignore", "replace"})],
        "preprocessor": [callable, None],
        "tokenizer": [callable, None],
        "analyzer": [StrOptions({"word", "char", "char_wb"}), callable],
        "lowercase": ["boolean"],
        "strip_accents": [StrOptions({"ascii", "unicode"}), None],
        "strip_html": ["boolean"],
        "normalize": [StrOptions({"nfc", "nfkc"}), None],
        "max_repeats": [Interval(Integral, 1, None, closed="left"), None],
        "token_pattern": [str, re.Pattern, None],
        "stop_words": [StrOptions({"english"}), "array-like", None],
        "ngram_range": ["array-like"],
        "binary": ["boolean"],
        "dtype": "no_validation",
    }

    def _validate_params(self) -> None:
        super()._validate_params()
        spec = self._make_spec()
        if spec.analyzer == "word" and spec.stop_words and not isinstance(self.stop_words, str):
            split = Tokenizer(replace(spec, stop_words=None))
            lost = {token for word in spec.stop_words for token in split(word)} - {*spec.stop_words}
            if lost:
                warnings.warn(
                    f"stop_words: with these parameters they make tokens that are none of them: "
                    f"{', '.join(sorted(lost)[:10])}",
                    UserWarning,
                    stacklevel=3,
                )

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
        given: Any = self.token_pattern
        if given is None and "tokenizer" in self.functions():
            given = "word"  # as scikit-learn's users write it
        pattern: str = given.pattern if isinstance(given, re.Pattern) else given
        try:
            compile_pattern(pattern)
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
        stopped = None if stop_words is None else tuple(sorted(stop_words))
        functions = self.functions()
        if "analyzer" in functions:
            return TextSpec(lowercase=False, token_pattern=GIVEN)
        if functions:  # they and `_texts` have cleaned
            split = self.analyzer == "word" and functions != ["preprocessor"]
            return TextSpec(
                analyzer=self.analyzer,
                lowercase=False,
                token_pattern=GIVEN if split else pattern,
                stop_words=stopped,
                ngram_range=(low, high),
            )
        return TextSpec(
            analyzer=self.analyzer,
            token_pattern=pattern,
            stop_words=stopped,
            ngram_range=(low, high),
            **self._cleaning(),
        )

    def _cleaning(self) -> dict[str, Any]:
        return {
            "lowercase": bool(self.lowercase),
            "strip_accents": self.strip_accents,
            "strip_html": bool(self.strip_html),
            "normalize": self.normalize,
            "max_repeats": None if self.max_repeats is None else int(self.max_repeats),
        }

    def functions(self) -> list[str]:
        """Return which parameters are functions of Python, or a pattern with flags of its own.

        Texts go through them before the engine; a scorer cannot hold them.
        """
        names = ("preprocessor", "tokenizer", "analyzer")
        found = [name for name in names if callable(getattr(self, name))]
        pattern = self.token_pattern
        if isinstance(pattern, re.Pattern) and pattern.flags != re.compile("").flags:
            found.append("token_pattern")
        return found

    def _texts(self, raw_documents: Iterable[Any]) -> Sequence[str]:
        """Return what the engine reads: files read, bytes decoded, functions applied."""
        functions = self.functions()
        if self.input == "content" and not functions:
            return check_texts(raw_documents, self._decoded)
        check_iterable(raw_documents)
        if self.input != "content":
            raw_documents = [_read(document, self.input) for document in raw_documents]
        texts = check_texts(raw_documents, self._decoded)
        if callable(self.analyzer):
            return [_joined(self.analyzer(text)) for text in texts]
        if not functions:
            return texts
        if self.preprocessor is not None:
            texts = [self.preprocessor(text) for text in texts]
        else:
            cleaning = TextSpec(**self._cleaning())
            texts = [clean(text, cleaning) for text in texts]
        if self.analyzer != "word" or functions == ["preprocessor"]:
            return texts
        split = self.tokenizer or re.compile(self.token_pattern).findall
        return [_joined(split(text)) for text in texts]

    def _decoded(self, document: bytes) -> str:
        return document.decode(self.encoding, self.decode_error)

    def build_analyzer(self) -> Callable[[Any], list[str]]:
        """Return the function that gives one document's n-grams, as in scikit-learn."""
        self._make_spec()
        return partial(_analyze, self)

    def build_preprocessor(self) -> Callable[[str], str]:
        """Return the function that cleans a text before it is cut into tokens."""
        if self.preprocessor is not None:
            given: Callable[[str], str] = self.preprocessor
            return given
        return partial(clean, spec=TextSpec(**self._cleaning()))

    def build_tokenizer(self) -> Callable[[str], list[str]]:
        """Return the function that cuts a cleaned text into tokens."""
        if self.tokenizer is not None:
            given: Callable[[str], list[str]] = self.tokenizer
            return given
        if isinstance(self.token_pattern, re.Pattern):
            return self.token_pattern.findall
        return Tokenizer(TextSpec(lowercase=False, token_pattern=self.token_pattern))

    def get_stop_words(self) -> frozenset[str] | None:
        """Return the words that are no tokens."""
        found = self._make_spec().stop_words
        return None if found is None else frozenset(found)

    def decode(self, doc: Any) -> str:
        """Return a document as text: bytes decoded, a file read."""
        if self.input != "content":
            doc = _read(doc, self.input)
        (text,) = check_texts([doc], self._decoded)
        return text

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def check_iterable(raw_documents: Any) -> None:
    """Refuse one text where many are expected.

    Raises
    ------
    TextError
        It is one.
    """
    if isinstance(raw_documents, str | bytes) or not isinstance(raw_documents, Iterable):
        kind = "string" if isinstance(raw_documents, str) else type(raw_documents).__name__
        raise TextError(f"Iterable over raw text documents expected, {kind} object received.")


def check_texts(
    raw_documents: Iterable[Any], decode: Callable[[bytes], str] | None = None
) -> Sequence[str]:
    """Return documents as a list of texts.

    Parameters
    ----------
    raw_documents : iterable of str
    decode : callable, optional
        Makes a text of bytes.

    Raises
    ------
    TextError
        One is no text, and which.
    """
    check_iterable(raw_documents)
    texts = list(raw_documents)
    for row, text in enumerate(texts):
        if isinstance(text, str):
            continue
        if not isinstance(text, bytes) or decode is None:
            raise TextError(
                f"row {row} is not a text but {type(text).__name__} ({text!r:.40}): "
                "remove it or make it a string"
            )
        try:
            texts[row] = decode(text)
        except (UnicodeDecodeError, LookupError) as error:
            raise TextError(f"row {row}: {error}") from None
    return texts


def _read(document: Any, how: str) -> Any:
    return Path(document).read_bytes() if how == "filename" else document.read()


def _joined(tokens: Iterable[Any]) -> str:
    tokens = list(tokens)
    wrong = next((token for token in tokens if not isinstance(token, str) or "\0" in token), None)
    if wrong is not None:
        raise TextError(f"a token must be a string without NUL, and is {wrong!r:.40}")
    return "\0".join(tokens)


def _analyze(vectorizer: TextVectorizer, document: Any) -> list[str]:
    spec = vectorizer._make_spec()
    return _ngrams(Tokenizer(spec)(vectorizer._texts([document])[0]), spec)


def _ngrams(tokens: list[str], spec: TextSpec) -> list[str]:
    low, high = spec.ngram_range
    between = " " if spec.analyzer == "word" else ""
    runs = [tokens]
    if spec.analyzer == "char_wb":
        runs = [list(f" {word} ") for word in "".join(tokens).split()]
    found = [
        between.join(run[i : i + n])
        for run in runs
        for n in range(low, high + 1)
        for i in range(len(run) - n + 1)
    ]
    # A padded word shorter than the shortest is one itself.
    short = [f"{''.join(run)}" for run in runs if spec.analyzer == "char_wb" and len(run) < low]
    return [*found, *short]

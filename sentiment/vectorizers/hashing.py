"""A scikit-learn compatible vectorizer without a vocabulary: n-grams are hashed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.utils._param_validation import Interval, StrOptions

from sentiment.text.corpus import cut_blocks, learn, parallel
from sentiment.text.hashing import hash_columns, hash_ngrams, hash_tokens
from sentiment.text.spec import TextSpec
from sentiment.vectorizers.base import TextVectorizer, check_iterable
from sentiment.vectorizers.rows import Rows, divide_by_norm, stack


class HashingVectorizer(TextVectorizer):
    """Map n-grams to a fixed number of columns by a 64-bit hash; nothing is fitted.

    scikit-learn's interface, but the hash of `sentiment.text.hashing`, so not scikit-learn's columns: the
    column is ``(hash >> 32) * n_features >> 32``, the sign (``alternate_sign``) minus when the
    hash is odd.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TextVectorizer._parameter_constraints,
        "n_features": [Interval(Integral, 1, np.iinfo(np.int32).max, closed="left")],
        "norm": [StrOptions({"l1", "l2"}), None],
        "alternate_sign": ["boolean"],
    }

    def __init__(
        self,
        *,
        input: Literal["content", "filename", "file"] = "content",  # noqa: A002 - scikit-learn's name
        encoding: str = "utf-8",
        decode_error: Literal["strict", "ignore", "replace"] = "strict",
        preprocessor: Callable[[str], str] | None = None,
        tokenizer: Callable[[str], Iterable[str]] | None = None,
        analyzer: Literal["word", "char", "char_wb"] | Callable[[str], Iterable[str]] = "word",
        ngram_range: Sequence[int] = (1, 1),
        token_pattern: str | re.Pattern[str] = "word",
        lowercase: bool = True,
        strip_accents: Literal["unicode", "ascii"] | None = None,
        strip_html: bool = False,
        normalize: Literal["nfc", "nfkc"] | None = None,
        max_repeats: int | None = None,
        stop_words: Literal["english"] | Sequence[str] | None = None,
        n_features: int = 2**20,
        binary: bool = False,
        norm: Literal["l1", "l2"] | None = "l2",
        alternate_sign: bool = True,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.input = input
        self.encoding = encoding
        self.decode_error = decode_error
        self.preprocessor = preprocessor
        self.tokenizer = tokenizer
        self.analyzer = analyzer
        self.ngram_range = ngram_range
        self.token_pattern = token_pattern
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.strip_html = strip_html
        self.normalize = normalize
        self.max_repeats = max_repeats
        self.stop_words = stop_words
        self.n_features = n_features
        self.binary = binary
        self.norm = norm
        self.alternate_sign = alternate_sign
        self.dtype = dtype

    @property
    def spec_(self) -> TextSpec:
        """How texts become tokens."""
        return self._make_spec()

    @property
    def tf_(self) -> str:
        """What an n-gram's count becomes: ``count`` or ``binary``."""
        return "binary" if self.binary else "count"

    def fit(self, raw_documents: Any, y: Any = None) -> HashingVectorizer:
        self._validate_params()
        check_iterable(raw_documents)
        return self

    partial_fit = fit

    def fit_transform(self, raw_documents: Iterable[str], y: Any = None) -> sp.csr_matrix:
        return self.fit(raw_documents, y).transform(raw_documents)

    def transform(self, raw_documents: Iterable[str]) -> sp.csr_matrix:
        self._validate_params()
        texts = self._texts(raw_documents)
        spec = self._make_spec()

        def transform(cut: slice) -> Rows:
            return self._hash(texts[cut], spec)

        return stack(
            parallel(transform, cut_blocks(texts)), len(texts), self.n_features, self.dtype
        )

    def _hash(self, texts: Sequence[str], spec: TextSpec) -> Rows:
        corpus, tokens, _, _ = learn(texts, spec, 0)
        inside = corpus.ids >= 0
        numbers = corpus.texts()
        starts, hashes = hash_ngrams(hash_tokens(tokens)[corpus.ids[inside]], numbers[inside], spec)
        columns, signs = hash_columns(hashes, self.n_features)
        keys = numbers[inside][starts].astype(np.int64) << 32 | columns
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.diff(keys, prepend=-1))
        if self.binary:
            data = np.ones(len(begins))
        elif self.alternate_sign:
            data = np.add.reduceat(signs[order], begins, dtype=np.float64)
        else:
            data = np.diff(begins, append=len(keys)).astype(np.float64)
        rows, columns = keys[begins] >> 32, (keys[begins] & 0xFFFFFFFF).astype(np.int32)
        data = divide_by_norm(rows, data, self.norm, len(texts))
        return Rows(np.bincount(rows, minlength=len(texts)), columns, data.astype(self.dtype))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

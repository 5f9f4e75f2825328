"""scikit-learn compatible vectorizers with a vocabulary, on the columnar n-gram engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted

from sentiment.text.corpus import Encoder, cut_blocks, learn, parallel
from sentiment.text.ngrams import Level, NgramIndex, count_keys
from sentiment.text.spec import TextSpec
from sentiment.text.vocabulary import choose_features, count_ngrams
from sentiment.vectorizers.base import TextError, TextVectorizer
from sentiment.vectorizers.fixed import index_of, vocabulary_columns
from sentiment.vectorizers.rows import Rows, divide_by_norm, stack

Int64 = npt.NDArray[np.int64]

Int32 = npt.NDArray[np.int32]

_CHUNK_POSITIONS = 1 << 16


def chunks_of_texts(per_text: Int64) -> list[tuple[int, int]]:
    """Cut texts, given their positions, into runs whose arrays fit the processor's cache."""
    ends = np.cumsum(per_text)
    marks = np.arange(_CHUNK_POSITIONS, ends[-1], _CHUNK_POSITIONS)
    cuts = np.unique(np.concatenate([[0], np.searchsorted(ends, marks) + 1, [len(per_text)]]))
    return list(pairwise(cuts.tolist()))


class CountVectorizer(TextVectorizer):
    """Count n-grams; scikit-learn's ``CountVectorizer`` on the columnar engine."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TextVectorizer._parameter_constraints,
        "max_df": [
            Interval(RealNotInt, 0, 1, closed="both"),
            Interval(Integral, 1, None, closed="left"),
        ],
        "min_df": [
            Interval(RealNotInt, 0, 1, closed="both"),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_features": [Interval(Integral, 1, None, closed="left"), None],
        "vocabulary": [Mapping, Iterable, None],
    }

    spec_: TextSpec
    index_: NgramIndex
    n_documents_: int
    idf_: npt.NDArray[np.floating[Any]] | None
    norm: Literal["l1", "l2"] | None = None

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
        min_df: float = 1,
        max_df: float = 1.0,
        max_features: int | None = None,
        vocabulary: Mapping[str, int] | Iterable[str] | None = None,
        binary: bool = False,
        dtype: npt.DTypeLike = np.int64,
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
        self.min_df = min_df
        self.max_df = max_df
        self.max_features = max_features
        self.vocabulary = vocabulary
        self.binary = binary
        self.dtype = dtype

    @property
    def tf_(self) -> str:
        """What an n-gram's count becomes: ``count``, ``sublinear`` or ``binary``."""
        return "binary" if self.binary else "count"

    def fit(self, raw_documents: Iterable[str], y: Any = None) -> CountVectorizer:
        self.fit_transform(raw_documents, y)
        return self

    def fit_transform(self, raw_documents: Iterable[str], y: Any = None) -> sp.csr_matrix:
        self._validate_params()
        texts = self._texts(raw_documents)
        if self.vocabulary is not None:
            return self._fit_fixed(texts)
        spec = self._make_spec()
        n_docs = len(texts)
        min_count, _ = self.bounds(n_docs)
        corpus, tokens, df, tf = learn(texts, spec, min_count)
        empty = not len(corpus.ids) or (min_count <= 1 and corpus.ids.max() < 0)
        self.check_tokens(tokens, spec, empty=empty)
        levels, totals, entries = count_ngrams(
            corpus, tokens, df, tf, n_max=spec.ngram_range[1], min_count=min_count
        )
        columns = self.choose(levels, totals, tokens, n_docs)
        # Chunks of texts whose arrays fit the processor's cache.
        ends = np.cumsum(corpus.per_text)
        rows = parallel(
            lambda cut: self.assemble(ends, entries, columns, cut),
            chunks_of_texts(corpus.per_text),
        )
        most = sum(int(np.count_nonzero(entry >= 0)) for entry in entries)
        return stack(rows, n_docs, self.index_.n_features, self.dtype, most)

    def _fit_fixed(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Become fitted to the given vocabulary; texts say how many of them hold each n-gram."""
        self._take_vocabulary()
        self.n_documents_ = len(texts)
        X = self._transform(texts)
        df = np.bincount(X.indices, minlength=X.shape[1])
        for level in self.index_.levels:
            held = level.column >= 0
            level.df[held] = df[level.column[held]]
        self._fit_weights()
        return X if self.idf_ is None else self._transform(texts)

    def _take_vocabulary(self) -> None:
        """Become fitted to the given vocabulary, with nothing known of any text."""
        spec = self._make_spec()
        columns = vocabulary_columns(self.vocabulary)
        self.index_ = index_of(columns, spec)
        self.spec_, self.n_documents_, self.idf_ = spec, 0, None
        self.__dict__.pop("vocabulary_", None)
        self.__dict__.pop("_encoder", None)

    def bounds(self, n_docs: int) -> tuple[float, float]:
        """Return the least and the largest number of texts that may hold an n-gram.

        Parameters
        ----------
        n_docs : int
            Of the corpus.
        """
        max_count = self.max_df if isinstance(self.max_df, Integral) else self.max_df * n_docs
        min_count = self.min_df if isinstance(self.min_df, Integral) else self.min_df * n_docs
        if max_count < min_count:
            raise TextError(
                f"max_df={self.max_df} corresponds to < documents than min_df={self.min_df}"
            )
        return min_count, max_count

    def check_tokens(self, tokens: Sequence[str], spec: TextSpec, *, empty: bool) -> None:
        """Refuse a corpus without tokens, and tokens that make n-grams ambiguous.

        Parameters
        ----------
        tokens : sequence of str
            The frequent ones.
        spec : TextSpec
        empty : bool
            Whether no text holds one at all.
        """
        if empty:
            raise TextError("empty vocabulary; perhaps the documents only contain stop words")
        if spec.analyzer == "word" and spec.ngram_range[1] > 1:
            ambiguous = next((token for token in tokens if " " in token), None)
            if ambiguous is not None:
                raise TextError(
                    f"token_pattern={self.token_pattern!r} matches a space ({ambiguous!r:.40}), so "
                    "that n-grams would be ambiguous: exclude it or use ngram_range=[1, 1]"
                )

    def choose(
        self, levels: list[Level], totals: list[Int64], tokens: list[str], n_docs: int
    ) -> list[Int32]:
        """Become fitted: take the features among counted n-grams.

        Parameters
        ----------
        levels, totals, tokens
            As `sentiment.text.vocabulary.count_ngrams` returns them.
        n_docs : int
            Number of texts.

        Returns
        -------
        list of ndarray of int32
            For every order the column of each entry, or -1; and -1 for entry -1, at the end.
        """
        spec = self._make_spec()
        index, columns = choose_features(
            levels,
            totals,
            tokens,
            ngram_range=spec.ngram_range,
            whole_words=spec.analyzer == "char_wb",
            separator=" " if spec.analyzer == "word" else "",
            max_count=self.bounds(n_docs)[1],
            max_features=self.max_features,
            count_dtype=sp.csr_array((1, 1), dtype=self.dtype).sum(axis=0).dtype,
            binary=self.binary,
        )
        if not index.n_features:
            raise TextError(
                f"After pruning, no terms remain. Try a lower min_df ({self.min_df}) or a higher "
                f"max_df ({self.max_df}), or check ngram_range={spec.ngram_range}."
            )
        self.spec_, self.index_, self.n_documents_ = spec, index, n_docs
        self.__dict__.pop("vocabulary_", None)
        self.__dict__.pop("_encoder", None)
        self._fit_weights()
        return columns

    def assemble(
        self,
        ends: Int64,
        entries: list[Int32],
        columns: list[Int32],
        cut: tuple[int, int],
    ) -> Rows:
        """Return the rows of some texts of a counted corpus.

        Parameters
        ----------
        ends : ndarray of int64, shape (n_texts,)
            Position behind each text.
        entries, columns : list of ndarray of int32
            For every order: the entry at each position, the column of each entry.
        cut : (int, int)
            First text, and the one after the last.
        """
        begin, end = cut
        first = int(ends[begin - 1]) if begin else 0
        positions = slice(first, int(ends[end - 1]))
        per_text = np.diff(ends[begin:end], prepend=first)
        rows = np.repeat(np.arange(end - begin) << 32, per_text)
        keys = []
        for column, entry in zip(columns, entries, strict=True):
            found = column.take(entry[positions])
            keys.append((rows | found)[found >= 0])
        return self._weigh(np.concatenate(keys), end - begin)

    def _fit_weights(self) -> None:
        self.idf_ = None

    def transform(self, raw_documents: Iterable[str]) -> sp.csr_matrix:
        if not hasattr(self, "index_"):
            if self.vocabulary is None or getattr(self, "use_idf", False):
                check_is_fitted(self, "index_")  # raises; asking it first would cost every text
            self._take_vocabulary()
        return self._transform(self._texts(raw_documents))

    def _transform(self, texts: Sequence[str]) -> sp.csr_matrix:
        keyed = self.index_.keyed
        encode = self._encoder

        def transform(cut: slice) -> Rows:
            corpus = encode(texts[cut])
            n_texts = len(corpus.per_text)
            rows = np.repeat(np.arange(n_texts) << 32, corpus.per_text) if n_texts > 1 else None
            return self._weigh(keyed.find(corpus.ids, rows), n_texts)

        rows = parallel(transform, cut_blocks(texts))
        return stack(rows, len(texts), self.index_.n_features, self.dtype)

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self.index_.tokens, self.spec_)

    def _weigh(self, keys: Int64, n_rows: int) -> Rows:
        """Return rows of the matrix, given the text and the column of every n-gram."""
        rows, indices, counts = count_keys(keys)
        data = np.ones(len(counts)) if self.binary else counts.astype(np.float64)
        return Rows(
            np.bincount(rows, minlength=n_rows),
            indices.astype(np.int32),
            self._weights(rows, indices, data, n_rows).astype(self.dtype, copy=False),
        )

    def _weights(
        self, rows: Int64, indices: Int64, data: npt.NDArray[np.float64], n_rows: int
    ) -> npt.NDArray[np.float64]:
        return data

    @cached_property
    def vocabulary_(self) -> Mapping[str, int]:
        """N-gram to column; made when first asked for."""
        check_is_fitted(self, "index_")
        return {name: column for column, name in enumerate(self.index_.ngrams())}

    @property
    def fixed_vocabulary_(self) -> bool:
        """Whether the vocabulary was given."""
        return self.vocabulary is not None

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        if self.vocabulary is not None and not hasattr(self, "index_"):
            self._take_vocabulary()
        check_is_fitted(self, "index_")
        return np.asarray(self.index_.ngrams(), dtype=object)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        for made_when_needed in ("vocabulary_", "_encoder"):
            state.pop(made_when_needed, None)
        return state

    def inverse_transform(self, X: Any) -> list[npt.NDArray[np.object_]]:
        names = self.get_feature_names_out()
        X = sp.csr_matrix(X)
        return [names[X.indices[a:b]] for a, b in zip(X.indptr, X.indptr[1:], strict=False)]


class TfidfVectorizer(CountVectorizer):
    """Weight n-grams by tf-idf; scikit-learn's ``TfidfVectorizer`` on the columnar engine."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CountVectorizer._parameter_constraints,
        "norm": [StrOptions({"l1", "l2"}), None],
        "use_idf": ["boolean"],
        "smooth_idf": ["boolean"],
        "sublinear_tf": ["boolean"],
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
        min_df: float = 1,
        max_df: float = 1.0,
        max_features: int | None = None,
        vocabulary: Mapping[str, int] | Iterable[str] | None = None,
        binary: bool = False,
        dtype: npt.DTypeLike = np.float64,
        norm: Literal["l1", "l2"] | None = "l2",
        use_idf: bool = True,
        smooth_idf: bool = True,
        sublinear_tf: bool = False,
    ) -> None:
        super().__init__(
            input=input,
            encoding=encoding,
            decode_error=decode_error,
            preprocessor=preprocessor,
            tokenizer=tokenizer,
            analyzer=analyzer,
            ngram_range=ngram_range,
            token_pattern=token_pattern,
            lowercase=lowercase,
            strip_accents=strip_accents,
            strip_html=strip_html,
            normalize=normalize,
            max_repeats=max_repeats,
            stop_words=stop_words,
            min_df=min_df,
            max_df=max_df,
            max_features=max_features,
            vocabulary=vocabulary,
            binary=binary,
            dtype=dtype,
        )
        self.norm = norm
        self.use_idf = use_idf
        self.smooth_idf = smooth_idf
        self.sublinear_tf = sublinear_tf

    @property
    def tf_(self) -> str:
        """What an n-gram's count becomes: ``count``, ``sublinear`` or ``binary``."""
        if self.binary:
            return "binary"
        return "sublinear" if self.sublinear_tf else "count"

    def _make_spec(self) -> TextSpec:
        spec = super()._make_spec()
        if np.dtype(self.dtype) not in (np.float32, np.float64):
            raise TextError(f"dtype={self.dtype!r} cannot hold weights: use float64 or float32")
        return spec

    def _fit_weights(self) -> None:
        self.idf_ = None
        if self.use_idf:
            smooth = int(self.smooth_idf)
            # In place: with tens of millions of n-grams each array is hundreds of megabytes.
            idf = self.index_.document_frequency().astype(np.float64)
            idf += smooth
            np.divide(self.n_documents_ + smooth, idf, out=idf)
            np.log(idf, out=idf)
            idf += 1.0
            self.idf_ = idf.astype(self.dtype)

    def _weights(
        self, rows: Int64, indices: Int64, data: npt.NDArray[np.float64], n_rows: int
    ) -> npt.NDArray[np.float64]:
        if self.tf_ == "sublinear":
            data = np.log(data) + 1.0
        if self.idf_ is not None:
            data *= self.idf_.take(indices)
        return divide_by_norm(rows, data, self.norm, n_rows)


def __getattr__(name: str) -> Any:
    """Give what models that were stored earlier look for here."""
    if name == "HashingVectorizer":
        from sentiment.vectorizers.hashing import HashingVectorizer

        return HashingVectorizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

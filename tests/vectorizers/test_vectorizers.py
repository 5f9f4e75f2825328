"""The vectorizers against scikit-learn's own, value by value."""

import contextlib
import os
import pickle
import re
import subprocess
import sys

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.feature_extraction import text as sklearn_text
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion
from sklearn.utils import estimator_checks
from support.grids import combined
from support.reviews import embedded

from sentiment import vectorizers
from sentiment.compiler.compile import compile_scorer
from sentiment.compiler.linear import NotCompilableError
from sentiment.errors import UsageError
from sentiment.text.spec import TextSpec, clean
from sentiment.vectorizers import CountVectorizer, HashingVectorizer, TfidfVectorizer

SETTINGS = [
    {},
    {"ngram_range": (1, 3), "min_df": 2},
    {"ngram_range": (2, 3), "max_df": 0.3, "min_df": 3},
    {"ngram_range": (1, 2), "max_features": 7},
    {"ngram_range": (1, 2), "max_features": 777, "binary": True},
    {"ngram_range": (4, 6), "min_df": 2, "norm": "l1", "sublinear_tf": True},
    {"ngram_range": (1, 2), "max_df": 20, "min_df": 0.002, "use_idf": False, "norm": None},
    {"strip_accents": "ascii", "lowercase": False, "smooth_idf": False},
    {"strip_accents": "unicode", "stop_words": "english", "ngram_range": (1, 2)},
    {"stop_words": ["the", "movie", "zzz"], "ngram_range": (2, 2), "binary": True},
    {"token_pattern": r"(?u)\b\w+\b", "ngram_range": (1, 2), "max_features": 99},
    {"token_pattern": r"[^\s.]+", "ngram_range": (1, 2)},
    {"ngram_range": (1, 2), "max_features": 99, "dtype": np.float32},
]
ALPHABET = "aab bcZé_0'. \n\t\x00\u00a0\u0301\u200d中文👍🏽İıΣσςß²\u0378"
TEXTS = st.lists(
    st.one_of(
        st.text(ALPHABET, max_size=60),
        st.text(max_size=20),
        st.text("ab ", max_size=300),
        st.sampled_from(["", "  ", "\n", "good film", "good good film", "x" * 2000, "中文 " * 50]),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="session")
def reviews():
    return [text for text, _ in embedded()]


def assert_equal_to_sklearn(ours, theirs, fit_texts, other_texts):
    """Same vocabulary and values, or the same refusal."""
    try:
        expected = theirs.fit_transform(fit_texts)
    except ValueError:
        with pytest.raises(ValueError):
            ours.fit_transform(fit_texts)
        return
    X = ours.fit_transform(fit_texts)
    assert dict(ours.vocabulary_) == theirs.vocabulary_
    assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
    for got, want in (
        (X, expected),
        (ours.transform(fit_texts), expected),
        (ours.transform(other_texts), theirs.transform(other_texts)),
        (ours.transform(other_texts[:1]), theirs.transform(other_texts[:1])),
    ):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        assert got.indices.dtype == np.int32
        assert sp.csr_matrix((got.data, got.indices, got.indptr), got.shape).has_canonical_format
        assert abs(got - want).max() <= 1e-6
    if getattr(theirs, "use_idf", False):
        np.testing.assert_allclose(ours.idf_, theirs.idf_, rtol=1e-6)
        assert ours.idf_.dtype == theirs.idf_.dtype
    else:
        assert ours.idf_ is None


@pytest.mark.filterwarnings("ignore:The parameter")
@pytest.mark.parametrize(
    ("analyzer", "parameters"), combined(["word", "char", "char_wb"], SETTINGS), ids=str
)
def test_tfidf_on_reviews(analyzer, parameters, reviews):
    parameters = {"analyzer": analyzer, **parameters}
    assert_equal_to_sklearn(
        TfidfVectorizer(**parameters),
        sklearn_text.TfidfVectorizer(**parameters),
        reviews[::250],
        [*reviews[1::500], "", "zzzz"],
    )


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [{"ngram_range": (1, 2), "min_df": 2}], ids=str)
def test_tfidf_on_the_whole_corpus(parameters, reviews):
    ours = TfidfVectorizer(**parameters).fit(reviews)
    theirs = sklearn_text.TfidfVectorizer(**parameters)
    expected = theirs.fit_transform(reviews)
    assert ours.vocabulary_ == theirs.vocabulary_
    assert abs(ours.transform(reviews) - expected).max() <= 1e-6


@pytest.mark.parametrize("analyzer", ["word", "char", "char_wb"])
@settings(max_examples=30, deadline=None)
@given(
    texts=TEXTS,
    others=TEXTS,
    low=st.integers(1, 4),
    more=st.integers(0, 3),
    min_df=st.sampled_from([1, 2, 0.3]),
    max_df=st.sampled_from([1.0, 3, 0.6]),
    max_features=st.sampled_from([None, 1, 5, 40]),
    binary=st.booleans(),
    accents=st.sampled_from([None, "unicode", "ascii"]),
)
@example(["a  b"], ["b"], 3, 2, 1, 1.0, None, False, None)
def test_tfidf_on_any_text(
    analyzer, texts, others, low, more, min_df, max_df, max_features, binary, accents
):
    parameters = {
        "analyzer": analyzer,
        "ngram_range": (low, low + more),
        "min_df": min_df,
        "max_df": max_df,
        "max_features": max_features,
        "binary": binary,
        "strip_accents": accents,
    }
    texts, others = (
        [clean(text, TextSpec(lowercase=False)) for text in t] for t in (texts, others)
    )
    assert_equal_to_sklearn(
        TfidfVectorizer(**parameters), sklearn_text.TfidfVectorizer(**parameters), texts, others
    )


@pytest.mark.parametrize("parameters", [{}, {"binary": True, "dtype": np.float64, "min_df": 2}])
def test_counts(parameters, reviews):
    assert_equal_to_sklearn(
        CountVectorizer(ngram_range=(1, 2), **parameters),
        sklearn_text.CountVectorizer(ngram_range=(1, 2), **parameters),
        reviews[::200],
        reviews[1::300],
    )


@settings(max_examples=25, deadline=None)
@example(texts=["a b a\x01 b", "a\x01 b\x02 a", "a b"], min_df=1, max_features=None)
@given(
    texts=st.lists(
        st.lists(
            st.sampled_from(["a", "a\x01", "a\x01\x01", "a\x01b", "ab", "b", "b\x02", "\x03"]),
            min_size=1,
            max_size=12,
        ).map(" ".join),
        min_size=3,
        max_size=9,
    ),
    min_df=st.sampled_from([1, 2]),
    max_features=st.sampled_from([None, 5]),
)
def test_tokens_with_control_characters_keep_the_order_of_strings(texts, min_df, max_features):
    """They sort before the space between tokens: siblings stand between a token and its extensions."""
    parameters = {
        "token_pattern": "[^ ]+", "ngram_range": (1, 4), "min_df": min_df, "max_features": max_features,
    }  # fmt: skip
    theirs = sklearn_text.CountVectorizer(**parameters)
    try:
        theirs.fit(texts)
    except ValueError:
        return
    assert_equal_to_sklearn(CountVectorizer(**parameters), theirs, texts, texts)


def test_tokens_with_spaces_only_alone():
    with pytest.raises(ValueError, match="token_pattern"):
        CountVectorizer(token_pattern="[a-z ]+", ngram_range=(1, 2)).fit(["a b, c"])
    assert CountVectorizer(token_pattern="[a-z ]+").fit(["a b, c"]).vocabulary_ == {
        " c": 0,
        "a b": 1,
    }


def test_lone_surrogates_become_replacement_characters():
    found = CountVectorizer(analyzer="char").fit(["x\ud83d", "\udfffy"]).vocabulary_
    assert found == {"x": 0, "y": 1, "\ufffd": 2}


def test_html_is_stripped():
    texts = ["good<br /><br />film <3"]
    assert CountVectorizer(strip_html=True).fit(texts).vocabulary_ == {"film": 0, "good": 1}
    assert "br" in CountVectorizer().fit(texts).vocabulary_


@pytest.mark.parametrize("analyzer", ["word", "char_wb"])
def test_hashing_counts_what_counting_counts(analyzer, reviews):
    texts = [*reviews[::500], ""]
    parameters = {"analyzer": analyzer, "ngram_range": [2, 3]}
    counts = CountVectorizer(**parameters).fit_transform(texts)
    hashed = HashingVectorizer(
        **parameters, n_features=2**31 - 2, alternate_sign=False, norm=None
    ).transform(texts)
    assert hashed.has_canonical_format
    for a, b in zip(counts, hashed, strict=True):
        assert sorted(a.data.tolist()) == sorted(b.data.tolist())
    signed = HashingVectorizer(**parameters, n_features=2**31 - 2, norm=None).transform(texts)
    assert (abs(signed) != hashed).nnz == 0
    assert abs(signed.data.sum()) < 0.1 * hashed.data.sum()
    unit = HashingVectorizer(**parameters, binary=True).transform(texts)
    np.testing.assert_allclose(np.sqrt(unit.multiply(unit).sum(axis=1)).A1[:-1], 1.0)


def test_hashing_is_stateless(reviews):
    texts = reviews[:300]
    whole = HashingVectorizer(ngram_range=(1, 2)).transform(texts)
    parts = [
        HashingVectorizer(ngram_range=(1, 2)).transform(texts[i : i + 7]) for i in range(0, 300, 7)
    ]
    assert (whole != sp.vstack(parts)).nnz == 0


def test_hashing_columns_are_pinned():
    """A model trained by an older release must find its columns."""
    X = HashingVectorizer(ngram_range=(1, 2), norm=None).transform(["not good"])
    assert dict(zip(X.indices.tolist(), X.data.tolist(), strict=True)) == {
        46621: -1.0,
        623520: 1.0,
        1030381: -1.0,
    }


@pytest.mark.parametrize("kind", [CountVectorizer, TfidfVectorizer, HashingVectorizer])
class TestEstimator:
    @pytest.mark.parametrize(
        "check",
        [
            "check_parameters_default_constructible",
            "check_get_params_invariance",
            "check_set_params",
            "check_no_attributes_set_in_init",
            "check_estimator_repr",
            "check_valid_tag_types",
            "check_estimator_tags_renamed",
            "check_estimator_cloneable",
        ],
    )
    def test_scikit_learns_checks(self, kind, check):
        function = getattr(estimator_checks, check, None)
        if function is None:
            pytest.skip(f"this scikit-learn has no {check}")
        argument = kind if check == "check_parameters_default_constructible" else kind()
        function(kind.__name__, kind() if isinstance(argument, type) else argument)

    @pytest.mark.filterwarnings("ignore:Can't test estimator")
    def test_check_estimator(self, kind):
        estimator_checks.check_estimator(kind())

    def test_clone_pickle_joblib(self, kind, reviews, tmp_path):
        texts = reviews[:200]
        vectorizer = clone(kind(ngram_range=[1, 2], strip_html=True))
        before = vectorizer.get_params()
        X = vectorizer.fit_transform(texts)
        assert vectorizer.get_params() == before
        joblib.dump(vectorizer, tmp_path / "v")
        for copy in (pickle.loads(pickle.dumps(vectorizer)), joblib.load(tmp_path / "v")):  # noqa: S301
            assert (copy.transform(texts) != X).nnz == 0

    def test_parallel_processes(self, kind, reviews):
        texts = reviews[:100]
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(kind().fit_transform)(texts) for _ in "ab")
        expected = kind().fit_transform(texts)
        assert all((expected != X).nnz == 0 for X in found)

    def test_union(self, kind, reviews):
        texts = reviews[:50]
        union = FeatureUnion([("a", kind()), ("b", kind(analyzer="char"))]).fit(texts)
        X = union.transform(texts)
        assert X.shape[1] == sum(v.transform(texts[:1]).shape[1] for _, v in union.transformer_list)

    @pytest.mark.parametrize("texts", [["x y", None], ["x y", float("nan")], ["x y", 3]])
    def test_entries_that_are_no_texts_name_the_row(self, kind, texts):
        with pytest.raises(ValueError, match="row 1 is not a text") as raised:
            kind().fit_transform(texts)
        assert isinstance(raised.value, UsageError)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("texts", ["a text", None, 3])
    def test_not_a_list(self, kind, texts):
        with pytest.raises(ValueError, match="Iterable over raw text documents expected"):
            kind().fit_transform(texts)

    @pytest.mark.parametrize(
        ("parameter", "value"),
        [
            ("ngram_range", (3, 1)),
            ("ngram_range", (0, 1)),
            ("ngram_range", (1, 2, 3)),
            ("ngram_range", ["a", 2]),
            ("ngram_range", 2),
            ("token_pattern", "("),
            ("token_pattern", "(a)(b)"),
            ("stop_words", "german"),
            ("stop_words", ["a", 3]),
            ("analyzer", "words"),
            ("strip_accents", "all"),
            ("dtype", "float23"),
            ("binary", "yes"),
        ],
    )
    def test_bad_parameters_are_named_before_any_work(self, kind, parameter, value):
        vectorizer = kind(**{parameter: value})
        with pytest.raises(ValueError, match=parameter):
            vectorizer._validate_params()
        with pytest.raises(ValueError, match=parameter):
            vectorizer.fit(["good film"])

    def test_no_texts(self, kind, reviews):
        vectorizer = kind().fit(reviews[:3])
        assert vectorizer.transform([]).shape[0] == 0
        assert vectorizer.transform([""]).nnz == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"min_df": 3, "max_df": 1}, "max_df=1 corresponds to < documents than min_df=3"),
        ({"min_df": 2, "max_df": 1.0}, "After pruning, no terms remain"),
        ({"stop_words": ["good", "film", "bad", "plot"]}, "empty vocabulary"),
        ({"norm": "l3"}, "norm"),
        ({"min_df": -1}, "min_df"),
        ({"max_df": 1.5}, "max_df"),
        ({"max_features": 0}, "max_features"),
        ({"dtype": np.int64}, "dtype"),
    ],
)
def test_impossible_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        TfidfVectorizer(**parameters).fit(["good film", "bad plot"])


def test_transform_before_fit():
    with pytest.raises(ValueError, match="not fitted"):
        TfidfVectorizer().transform(["a"])


@pytest.mark.slow
def test_same_bytes_with_any_number_of_threads():
    """Many small blocks on one or more threads, each time in a process of its own."""
    program = """
import hashlib, sys
from sentiment.text import corpus, vocabulary
from sentiment.vectorizers import ngram as vectorizers
corpus._BLOCK_CHARACTERS = 500
corpus.thread_count = lambda: int(sys.argv[1])
vocabulary._BLOCK_POSITIONS = vocabulary._CHUNK_POSITIONS = vectorizers._CHUNK_POSITIONS = 999
texts = [" ".join(f"w{(i * j) % 97} é{j % 7}" for j in range(i % 40)) for i in range(400)]
v = vectorizers.TfidfVectorizer(ngram_range=(1, 3), min_df=2, max_features=900)
digest = hashlib.sha256()
for X in (v.fit_transform(texts), v.transform(texts),
          vectorizers.HashingVectorizer(ngram_range=(1, 2)).transform(texts)):
    for part in (X.data, X.indices, X.indptr):
        digest.update(part.tobytes())
digest.update(repr(v.get_feature_names_out().tolist()).encode())
print(X.shape, digest.hexdigest())
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", program, threads],
            env={**os.environ, "PYTHONHASHSEED": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "3")
    }
    assert len(printed) == 1
    assert printed.pop().startswith("(400, 1048576)")


@pytest.mark.parametrize("ngram_range", [(1, 1), (1, 2)])
def test_a_pattern_that_matches_nothing_gives_empty_tokens_as_in_scikit_learn(ngram_range):
    from sklearn.feature_extraction.text import CountVectorizer as Theirs

    texts = ["a b c", "b", "  c d"]
    ours = CountVectorizer(token_pattern=r"\w*", ngram_range=ngram_range).fit(texts)
    theirs = Theirs(token_pattern=r"\w*", ngram_range=ngram_range).fit(texts)
    assert ours.vocabulary_ == theirs.vocabulary_
    for few in (["a b"], ["a b", "c", ""]):
        assert (ours.transform(few) != theirs.transform(few)).nnz == 0


DOCUMENTS = ["A good film, good!", "a bad film", "Good good day", " the café is bad"]


def backwards(text):
    return text[::-1]


@pytest.mark.filterwarnings("ignore:The parameter 'token_pattern' will not be used")
@pytest.mark.parametrize("kind", ["CountVectorizer", "TfidfVectorizer"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"vocabulary": {"good": 1, "bad": 0, "film": 2}},
        {"vocabulary": ["good", "bad", "nothing"]},
        {"vocabulary": {"good", "bad"}},
        {"vocabulary": ["good film", "bad", "bad film"], "ngram_range": (1, 2)},
        {"vocabulary": ["ab", "b", "go"], "analyzer": "char", "ngram_range": (1, 2)},
        {"tokenizer": str.split},
        {"tokenizer": str.split, "token_pattern": None, "strip_accents": "unicode"},
        {"tokenizer": str.split, "ngram_range": (1, 2), "stop_words": ["a"]},
        {"preprocessor": str.upper, "ngram_range": (1, 2)},
        {"preprocessor": backwards, "analyzer": "char", "ngram_range": (1, 2)},
        {"analyzer": str.split, "ngram_range": (1, 1)},
    ],
)
def test_what_scikit_learns_users_pass(kind, parameters):
    ours = getattr(vectorizers, kind)(**parameters)
    theirs = getattr(sklearn_text, kind)(**parameters)
    assert_equal_to_sklearn(ours, theirs, DOCUMENTS, DOCUMENTS[:2])
    assert sorted(ours.build_analyzer()(DOCUMENTS[0])) == sorted(
        theirs.build_analyzer()(DOCUMENTS[0])
    )
    copy = pickle.loads(pickle.dumps(ours))  # noqa: S301 - made here
    assert abs(copy.transform(DOCUMENTS) - ours.transform(DOCUMENTS)).max() == 0


def test_bytes_files_and_compiled_patterns(tmp_path):
    def count(documents, **parameters):
        return CountVectorizer(**parameters).fit_transform(documents).toarray()

    expected = count(DOCUMENTS)
    latin = [text.encode("latin1") for text in DOCUMENTS]
    np.testing.assert_array_equal(count(latin, encoding="latin1"), expected)
    with pytest.raises(ValueError, match="row 3: 'utf-8' codec"):
        count(latin)
    assert count(latin, decode_error="ignore").shape == (4, 7)
    paths = [tmp_path / str(number) for number in range(len(DOCUMENTS))]
    for path, text in zip(paths, DOCUMENTS, strict=True):
        path.write_text(text)
    np.testing.assert_array_equal(count(paths, input="filename"), expected)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open()) for path in paths]
        np.testing.assert_array_equal(count(files, input="file"), expected)
    np.testing.assert_array_equal(count(DOCUMENTS, token_pattern=re.compile(r"\w\w+")), expected)
    flagged = re.compile("[a-z]+", re.IGNORECASE)
    assert count(["Ab aB"], token_pattern=flagged, lowercase=False).shape == (1, 2)
    assert CountVectorizer(vocabulary=["good"]).transform(DOCUMENTS).sum() == 4  # without any fit
    hashed = HashingVectorizer(tokenizer=str.split, n_features=64).transform(DOCUMENTS)
    assert hashed.shape == (4, 64)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"vocabulary": ["a", "a"]}, "stands there twice"),
        ({"vocabulary": {}}, "empty vocabulary"),
        ({"vocabulary": {"a": 1}}, "columns must be 0 to 0"),
        ({"vocabulary": ["Good"]}, "no text can hold 'Good'"),
        ({"vocabulary": ["good film"]}, "no text can hold 'good film'"),
        ({"tokenizer": list, "analyzer": lambda _: [1, 2]}, "a token must be a string"),
    ],
)
def test_vocabularies_and_functions_that_cannot_be(parameters, said):
    with pytest.raises(ValueError, match=said):
        CountVectorizer(**parameters).fit(DOCUMENTS)


def test_stop_words_that_no_token_is_are_told():
    with pytest.warns(UserWarning, match="stop_words: .* don"):
        CountVectorizer(stop_words=["don't"]).fit(DOCUMENTS)


def test_a_given_vocabulary_compiles_and_functions_do_not():
    labels = ["p", "n", "p", "n"]
    for parameters, fails in (
        ({"vocabulary": ["good", "bad"]}, False),
        ({"tokenizer": str.split}, True),
    ):
        vectorizer = TfidfVectorizer(**parameters)
        classifier = LogisticRegression().fit(vectorizer.fit_transform(DOCUMENTS), labels)
        if fails:
            with pytest.raises(NotCompilableError, match="tokenizer is a function of Python"):
                compile_scorer(vectorizer, classifier, reference_texts=DOCUMENTS)
            continue
        scorer = compile_scorer(vectorizer, classifier, reference_texts=DOCUMENTS).scorer
        np.testing.assert_allclose(
            scorer.predict_proba(DOCUMENTS),
            classifier.predict_proba(vectorizer.transform(DOCUMENTS)),
            atol=1e-6,
        )

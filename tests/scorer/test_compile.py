"""Every shipped vectorizer and classifier compiles, and answers as the pipeline does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion
from sklearn.svm import LinearSVC
from support.grids import combined

from sentiment.compiler.compile import NotCompilableError, compile_scorer
from sentiment.models import NBSVM
from sentiment.scorer import Scorer
from sentiment.vectorizers import CountVectorizer, HashingVectorizer, TfidfVectorizer

WORDS = [
    "good",
    "bad",
    "fine",
    "awful",
    "film",
    "plot",
    "the",
    "a",
    "it",
    "was",
    "not",
    "very",
    "don't",
    "café",
    "İz",
    "東京",
    "x",
    "of",
    "and",
]


def corpus(n: int, classes: int, seed: int) -> tuple[list[str], list[str]]:
    chance = random.Random(seed)
    names = ["negative", "positive", "neutral", "mixed"][:classes]
    texts, labels = [], []
    for number in range(n):
        label = number % classes
        words = [
            WORDS[label] if chance.random() < 0.3 else chance.choice(WORDS)
            for _ in range(chance.randint(1, 25))
        ]
        texts.append(" ".join(words))
        labels.append(names[label])
    return texts, labels


VECTORIZERS = {
    "tfidf": TfidfVectorizer(ngram_range=(1, 2)),
    "sublinear-l1": TfidfVectorizer(ngram_range=(1, 3), sublinear_tf=True, norm="l1"),
    "no-norm": TfidfVectorizer(norm=None, smooth_idf=False),
    "no-idf": TfidfVectorizer(use_idf=False, min_df=2),
    "count": CountVectorizer(ngram_range=(1, 3)),
    "bigrams-only": CountVectorizer(ngram_range=(2, 3), max_features=60),
    "binary": CountVectorizer(binary=True, stop_words=["the", "was"]),
    "binary-l2": TfidfVectorizer(binary=True, ngram_range=(1, 2), token_pattern="letter"),
    "apostrophe": TfidfVectorizer(token_pattern="apostrophe", lowercase=False),
    "accents": TfidfVectorizer(token_pattern="punctuation", strip_accents="unicode"),
    "long": CountVectorizer(ngram_range=(1, 15)),  # passes 64 bits: keys are hashes
    "char": TfidfVectorizer(analyzer="char", ngram_range=(1, 4)),
    "char_wb": TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 6), sublinear_tf=True),
    "hashing": HashingVectorizer(n_features=512, ngram_range=(1, 2)),
    "hashing-unsigned": HashingVectorizer(n_features=64, alternate_sign=False, norm="l1"),
    "hashing-binary": HashingVectorizer(n_features=128, binary=True, norm=None),
    "union": FeatureUnion(
        [
            ("word", TfidfVectorizer(ngram_range=(1, 2))),
            ("char", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3))),
            ("hash", HashingVectorizer(n_features=32)),
        ],
        transformer_weights={"char": 0.5},
    ),
}
CLASSIFIERS = {
    "logreg": LogisticRegression(C=5),
    "linear_svc": CalibratedClassifierCV(LinearSVC(), method="sigmoid", ensemble=False),
    "naive_bayes": MultinomialNB(),
    "complement": ComplementNB(),
    "sgd": SGDClassifier(loss="log_loss", random_state=0),
    "nbsvm": NBSVM(),
}


def check(vectorizer: Any, classifier: Any, classes: int, tmp_path: Path) -> Scorer:
    train, labels = corpus(120, classes, 0)
    test, _ = corpus(60, classes, 1)
    test += ["", "nothing known here", "good " * 1500, "a\ud800b", "GOOD\x00bad\x1fplot\u2028it"]
    classifier.fit(vectorizer.fit_transform(train), labels)
    compiled = compile_scorer(vectorizer, classifier, reference_texts=test[:40])
    digest = compiled.save(tmp_path / "scorer")
    scorer = Scorer.load(tmp_path / "scorer", digest=digest)
    features = vectorizer.transform(test)
    found = scorer.predict(test)
    np.testing.assert_allclose(
        found.probabilities, classifier.predict_proba(features), rtol=0, atol=1e-6
    )
    assert found.labels == [str(label) for label in classifier.predict(features)]
    for number, text in enumerate(test):
        one = scorer.predict_one(text)
        np.testing.assert_allclose(one.probabilities, found.probabilities[number], atol=1e-9)
        assert one.label == found.labels[number]
        assert (one.n_tokens, one.n_unknown) == (found.n_tokens[number], found.n_unknown[number])
        parts = scorer.explain(text)
        total = np.sum([item.scores for item in parts.contributions], axis=0) + parts.intercept
        np.testing.assert_allclose(total, found.scores[number], rtol=0, atol=1e-9)
    for part, text in zip(scorer.strongest(test, 5), test, strict=True):
        each = scorer.explain(text, 5).contributions
        assert {one.ngram for one in part[:3]} <= {
            item.ngram for item in scorer.explain(text).contributions
        }
        np.testing.assert_allclose(
            np.abs([one.scores for one in part]).max(axis=-1, initial=0),
            np.abs([item.scores for item in each]).max(axis=-1, initial=0), atol=1e-9,
        )  # fmt: skip
    return scorer


@pytest.mark.parametrize(
    ("features", "name", "classes"),
    combined(["tfidf", "count", "hashing-unsigned", "union"], CLASSIFIERS, [2, 4]),
)
def test_compiled_classifiers_answer_as_their_pipelines(
    features: str, name: str, classes: int, tmp_path: Path
) -> None:
    if features == "union" and name in ("naive_bayes", "complement"):
        pytest.skip("naive Bayes takes no negative features, which a signed hash gives")
    check(VECTORIZERS[features], CLASSIFIERS[name], classes, tmp_path)


def test_large_weights_that_cancel_compile_too(tmp_path: Path) -> None:
    """Scores of thousands have few digits left for what is near zero, in any arithmetic."""
    texts, labels = corpus(60, 2, 0)
    vectorizer = CountVectorizer()
    classifier = LogisticRegression().fit(
        vectorizer.fit_transform([*texts, "yes no"]), [*labels, labels[0]]
    )
    columns = vectorizer.vocabulary_
    classifier.coef_[0, columns["yes"]] = 3000.1
    classifier.coef_[0, columns["no"]] = -3000.2
    compiled = compile_scorer(vectorizer, classifier, reference_texts=[*texts, "yes no", "yes yes"])
    expected = classifier.predict_proba(vectorizer.transform(["yes no"]))
    found = compiled.scorer.predict(["yes no"]).probabilities
    assert np.abs(found - expected).max() < 3e-4


@pytest.mark.parametrize("name", VECTORIZERS)
def test_compiled_vectorizers_answer_as_their_pipelines(name: str, tmp_path: Path) -> None:
    check(VECTORIZERS[name], LogisticRegression(), 3, tmp_path)


def test_long_ngrams_can_still_be_named(tmp_path: Path) -> None:
    scorer = check(VECTORIZERS["long"], LogisticRegression(), 2, tmp_path)
    longest = max(
        (item.ngram for item in scorer.explain("the plot was not very good").contributions),
        key=len,
    )
    assert longest in "the plot was not very good"
    assert all(item.ngram for items in scorer.top_features(50).values() for item in items)


def test_a_users_classifier_compiles_by_its_attributes(tmp_path: Path) -> None:
    class Mine(LogisticRegression):
        pass

    check(VECTORIZERS["tfidf"], Mine(), 3, tmp_path)


@pytest.mark.parametrize(
    ("classifier", "said"),
    [
        (KNeighborsClassifier(), "neither coef_"),
        (BernoulliNB(), "none of"),
        (SGDClassifier(loss="modified_huber", random_state=0), "none of"),
        (CalibratedClassifierCV(LinearSVC()), "ensemble=False"),
        (OneVsRestClassifier(LogisticRegression()), "neither coef_"),
    ],
)
def test_what_cannot_be_compiled_is_named(classifier: Any, said: str) -> None:
    train, labels = corpus(60, 2, 0)
    vectorizer = CountVectorizer()
    classifier.fit(vectorizer.fit_transform(train), labels)
    with pytest.raises(NotCompilableError, match=said) as refused:
        compile_scorer(vectorizer, classifier, reference_texts=train)
    assert type(classifier).__name__ in str(refused.value)


def test_a_foreign_vectorizer_is_named() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer as Foreign

    train, labels = corpus(60, 2, 0)
    vectorizer = Foreign()
    classifier = LogisticRegression().fit(vectorizer.fit_transform(train), labels)
    with pytest.raises(NotCompilableError, match="TfidfVectorizer"):
        compile_scorer(vectorizer, classifier)


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    train, labels = corpus(80, 2, 0)
    for name in ("a", "b"):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2))
        classifier = LogisticRegression().fit(vectorizer.fit_transform(train), labels)
        compile_scorer(vectorizer, classifier, reference_texts=train).save(tmp_path / name)
    for file in ("scorer.json", "weights.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_safetensors_package_reads_the_weights_too(compiled: Any, tmp_path: Path) -> None:
    compiled.save(tmp_path / "scorer")
    theirs = load_file(tmp_path / "scorer" / "weights.safetensors")
    assert set(theirs) == set(compiled.tensors)
    for name, array in compiled.tensors.items():
        np.testing.assert_array_equal(theirs[name], array)


def test_no_text_is_stored(compiled: Any) -> None:
    train = corpus(60, 2, 0)[0]
    golden = {case["text"] for case in compiled.document["golden"]}
    assert not golden & {text for text in train if text}


def test_pruning_and_narrow_numbers_shrink_and_report(tmp_path: Path) -> None:
    train, labels = corpus(400, 3, 0)
    test, truth = corpus(300, 3, 1)
    vectorizer = TfidfVectorizer(ngram_range=(1, 3))
    classifier = LogisticRegression(C=10).fit(vectorizer.fit_transform(train), labels)
    options: dict[str, Any] = {"reference_texts": test, "reference_labels": truth}
    full = compile_scorer(vectorizer, classifier, **options)
    assert full.report == {}
    small = compile_scorer(vectorizer, classifier, dtype="float16", prune=0.01, **options)
    report = small.report
    assert report["n_texts"] == 300
    assert report["labels_changed"] <= 0.02
    assert report["after"]["n_features"] < report["before"]["n_features"] == full.scorer.n_features
    assert report["after"]["size_bytes"] < report["before"]["size_bytes"]
    assert abs(report["after"]["accuracy"] - report["before"]["accuracy"]) <= 0.02
    digest = small.save(tmp_path / "scorer")
    scorer = Scorer.load(tmp_path / "scorer", digest=digest)
    for text in test[:50]:
        one = scorer.predict_one(text)
        np.testing.assert_allclose(
            one.probabilities, scorer.predict([text]).probabilities[0], atol=1e-9
        )
        parts = scorer.explain(text)
        total = np.sum([item.scores for item in parts.contributions], axis=0) + parts.intercept
        np.testing.assert_allclose(total, parts.scores, rtol=0, atol=1e-9)


def test_float16_alone_keeps_the_labels() -> None:
    train, labels = corpus(200, 2, 0)
    test, _ = corpus(200, 2, 1)
    vectorizer = HashingVectorizer(n_features=256)
    classifier = LogisticRegression().fit(vectorizer.fit_transform(train), labels)
    compiled = compile_scorer(vectorizer, classifier, dtype="float16", reference_texts=test)
    assert compiled.report["largest_change"] < 1e-2
    assert compiled.tensors["view0.values"].dtype == np.float16


def test_reference_statistics_count_every_text(compiled: Any) -> None:
    reference = compiled.document["reference"]
    assert reference["n"] == 120
    assert sum(reference["labels"].values()) == pytest.approx(1)
    for name in ("score", "confidence", "length", "unknown_share"):
        assert sum(reference[name]["counts"]) == 120
        assert len(reference[name]["counts"]) == len(reference[name]["edges"]) + 1

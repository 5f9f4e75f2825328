"""Models that do not compile: behind the same doors, from the project's own list of types only."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from sentiment import store
from sentiment.compiler.fallback import KeptPipeline, keep_pipeline
from sentiment.errors import ModelError
from sentiment.scorer import Scorer
from sentiment.scorer.pipeline import PipelineScorer, trust
from sentiment.vectorizers import CountVectorizer, TfidfVectorizer


class Stranger(KNeighborsClassifier):
    """A type that the list does not hold."""


TEXTS = ["good film", "bad film", "a good plot", "a bad plot"] * 5
LABELS = ["positive", "negative"] * 10


def kept(classifier, vectorizer=None, labels=LABELS) -> KeptPipeline:
    vectorizer = (vectorizer or TfidfVectorizer()).fit(TEXTS)
    return keep_pipeline(
        vectorizer,
        classifier.fit(vectorizer.transform(TEXTS), labels),
        positive_label=None,
        reference_texts=TEXTS,
        reference_labels=labels,
    )


CLASSIFIERS = [
    ExtraTreesClassifier(5, random_state=0),
    make_pipeline(TruncatedSVD(2, random_state=0), HistGradientBoostingClassifier(max_iter=3)),
    make_pipeline(TruncatedSVD(2, random_state=0), KNeighborsClassifier(3)),
    MLPClassifier((4,), max_iter=5, random_state=0),
    SVC(probability=True, random_state=0),
    VotingClassifier(
        [("a", ExtraTreesClassifier(3, random_state=0)), ("b", LogisticRegression())],
        voting="soft",
    ),
]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda c: type(c).__name__)
def test_usual_estimators_come_back_with_their_answers(classifier, tmp_path: Path) -> None:
    made = kept(classifier)
    made.save(tmp_path / "scorer")
    again = Scorer.load(tmp_path / "scorer", digest=made.digest)
    assert isinstance(again, PipelineScorer)
    assert not again.compiled
    pipeline = made.scorer.pipeline
    answers = again.predict_proba(TEXTS)
    np.testing.assert_allclose(answers, pipeline.predict_proba(TEXTS), rtol=0, atol=1e-12)
    one = again.predict_one("a good film")
    many = again.predict(["a good film", "bad", "good film plot"])
    np.testing.assert_allclose(one.probabilities, many.probabilities[0], rtol=0, atol=1e-12)
    assert one.label == many.labels[0]
    assert pickle.loads(pickle.dumps(again)).predict(TEXTS).labels == again.predict(TEXTS).labels  # noqa: S301


def test_three_classes_and_no_text_at_all() -> None:
    labels = (["good", "bad", "fair"] * 7)[: len(TEXTS)]
    scorer = kept(ExtraTreesClassifier(5, random_state=0), labels=labels).scorer
    found = scorer.predict(TEXTS)
    assert found.scores.shape == (len(TEXTS), 3)
    assert found.labels == [
        scorer.labels[number] for number in found.probabilities.argmax(axis=1).tolist()
    ]
    assert scorer.predict([]).probabilities.shape == (0, 3)
    unknown = scorer.predict(["zzz qqq", ""])
    assert unknown.n_unknown.tolist() == unknown.n_tokens.tolist() == [2, 0]


def test_the_same_fit_has_the_same_digest_in_another_process() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_fallback as t;"
        "print(t.kept(t.ExtraTreesClassifier(5, random_state=0)).digest)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "1"},
    ).stdout  # fmt: skip
    assert told.strip() == kept(ExtraTreesClassifier(5, random_state=0)).digest


def test_an_explanation_tells_what_each_word_changes() -> None:
    scorer = kept(ExtraTreesClassifier(25, random_state=0), CountVectorizer()).scorer
    found = scorer.explain("A bad, bad film")
    strongest = found.contributions[0]
    assert (strongest.ngram, strongest.count, strongest.spans) == ("bad", 2, ((2, 5), (7, 10)))
    assert strongest.scores[0] < 0
    for top in (None, 1):
        found = scorer.explain("A bad, bad film", top)
        total = sum(item.scores[0] for item in found.contributions)
        assert total + found.rest[0] + found.intercept[0] == pytest.approx(found.scores[0])
    assert scorer.top_features() == {}


def test_types_off_the_list_are_refused_by_name_until_the_user_names_them(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("SENTIMENT_TRUSTED_TYPES", "")
    made = kept(Stranger(3))
    made.save(tmp_path / "scorer")
    name = f"{Stranger.__module__}.Stranger"
    with pytest.raises(ModelError, match=f"SENTIMENT_TRUSTED_TYPES={name}"):
        Scorer.load(tmp_path / "scorer")
    trust([name])
    assert Scorer.load(tmp_path / "scorer").predict(["good"]).labels


@pytest.mark.parametrize("name", ["scorer.json", "pipeline.skops"])
def test_altered_files_are_refused(name: str, tmp_path: Path) -> None:
    tmp_path /= "scorer"
    kept(KNeighborsClassifier(3)).save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content.replace(b"n_features", b"n_featureS", 1)[:-1] + b" ")
    with pytest.raises(ModelError):
        Scorer.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        Scorer.load(tmp_path)


def test_a_store_takes_it_from_elsewhere(tmp_path: Path) -> None:
    made = kept(KNeighborsClassifier(3))
    made.save(tmp_path / "elsewhere")
    stored = store.import_model(tmp_path / "elsewhere", {}, tmp_path / "out", made.digest)
    assert Scorer.load(stored.path, digest=made.digest).labels == ("negative", "positive")


def test_without_scikit_learn_the_reason_is_one_line(tmp_path: Path) -> None:
    kept(KNeighborsClassifier(3)).save(tmp_path / "scorer")
    code = (
        "import sys; sys.modules['skops'] = None\n"
        "from sentiment.scorer import Scorer; from sentiment.errors import ModelError\n"
        "try: Scorer.load(sys.argv[1])\nexcept ModelError as error: print(error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "scorer")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "training image" in told
    assert told.count("\n") == 1

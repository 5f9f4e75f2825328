"""NB-SVM against the paper's formula, scikit-learn's solver, its own checks and held-out texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import scipy.special
import yaml
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from sentiment.compiler.compile import compile_scorer
from sentiment.config import CONFIG_DIR, compose
from sentiment.data.splits import load_splits
from sentiment.evaluation.metrics import evaluate
from sentiment.models import NBSVM, linear_svc
from sentiment.training.pipeline import build_pipeline

# "custom" names no class: the user does.
SHIPPED = sorted({path.stem for path in (Path(CONFIG_DIR) / "model").glob("*.yaml")} - {"custom"})


@pytest.fixture(scope="module")
def reviews():
    """2,000 texts of two classes in random order, as (train texts, labels, test texts, labels)."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(600)])
    lean = rng.normal(0, 0.5, 600)
    labels = rng.choice(["bad", "good"], 3000)
    texts = []
    for label in labels:
        share = np.exp(lean if label == "good" else -lean) / np.arange(3, 603)
        texts.append(" ".join(rng.choice(words, 25, p=share / share.sum())))
    return texts[:2000], labels[:2000], texts[2000:], labels[2000:]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_estimator_checks():
    expected = {
        f"check_sample_weight_equivalence_on_{kind}_data": "calibration folds are dealt by text, "
        "and the solver's float32 is coarser than the check's 1e-7"
        for kind in ("dense", "sparse")
    }
    results = check_estimator(NBSVM(n_jobs=1), on_fail=None, expected_failed_checks=expected)
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed


def test_the_ratio_is_wang_and_mannings():
    # Texts: "good film", "good", "bad film". With alpha 1, presence counts of (bad, film, good):
    # good texts 0, 1, 2 -> 1, 2, 3 of 6; bad texts 1, 1, 0 -> 2, 2, 1 of 5.
    X = scipy.sparse.csr_array(np.array([[0, 1, 1], [0, 0, 1], [1, 1, 0]], dtype=float))
    y = ["good", "good", "bad"]
    ratio = np.log(np.array([1 / 6 / (2 / 5), 2 / 6 / (2 / 5), 3 / 6 / (1 / 5)]))
    fitted = NBSVM(calibration=None, beta=1.0, fit_intercept=False, tol=1e-6).fit(X, y)
    plain = LinearSVC(fit_intercept=False, tol=1e-8, dual=False)
    plain.fit(X.toarray() * np.abs(ratio), y)
    np.testing.assert_allclose(fitted.coef_[0], plain.coef_[0] * np.abs(ratio), atol=1e-5)


@pytest.mark.parametrize("loss", ["squared_hinge", "log_loss"])
def test_beta_zero_is_scikit_learns_linear_model(reviews, loss):
    train, labels, test, _ = reviews
    vectorizer = TfidfVectorizer()
    X, Z = vectorizer.fit_transform(train), vectorizer.transform(test)
    ours = NBSVM(beta=0, loss=loss, calibration=None, tol=1e-6).fit(X, labels)
    if loss == "squared_hinge":
        theirs = LinearSVC(tol=1e-8, max_iter=100_000).fit(X, labels)
    else:
        from sklearn.linear_model import LogisticRegression

        # liblinear is the solver that, like ours, treats the intercept as a constant feature.
        theirs = LogisticRegression(solver="liblinear", tol=1e-8).fit(X, labels)
    np.testing.assert_allclose(
        ours.decision_function(Z), theirs.decision_function(Z), atol=2e-3, rtol=0
    )


def test_probabilities_of_held_out_texts_are_honest(reviews):
    train, labels, test, truth = reviews
    model = make_pipeline(TfidfVectorizer(), NBSVM(random_state=0)).fit(train, labels)
    raw = make_pipeline(TfidfVectorizer(), NBSVM(calibration=None)).fit(train, labels)
    classes = list(model.classes_)
    ece, raw_ece = (
        evaluate(truth, m.predict_proba(test), classes, positive_label="good")["ece"]
        for m in (model, raw)
    )
    # 1,000 test texts: even perfect probabilities show an error of about 0.02.
    assert ece < 0.04
    assert ece < raw_ece


def test_the_four_attributes_are_the_whole_model(reviews):
    train, labels, test, _ = reviews
    vectorizer = TfidfVectorizer(ngram_range=(1, 2))
    model = NBSVM(random_state=0).fit(vectorizer.fit_transform(train), labels)
    Z = vectorizer.transform(test)
    assert model.link_ == "sigmoid"
    assert model.coef_.shape == (1, Z.shape[1])
    assert model.coef_.dtype == np.float64
    score = Z @ model.coef_[0] + model.intercept_[0]
    np.testing.assert_allclose(model.predict_proba(Z)[:, 1], scipy.special.expit(score))
    assert (model.predict(Z) == model.classes_[(score > 0).astype(int)]).all()


@pytest.mark.parametrize(
    ("calibration", "link"), [("affine", "softmax"), (None, "ovr_sigmoid_normalized")]
)
def test_more_than_two_classes(calibration, link):
    X, y = make_blobs(1200, n_features=6, centers=4, cluster_std=3.0, random_state=1)
    X = np.maximum(X, 0)
    names = np.array(["anger", "fear", "joy", "love"])[y]
    model = NBSVM(calibration=calibration, C=0.01, random_state=0).fit(X[:800], names[:800])
    assert model.link_ == link
    assert model.coef_.shape == (4, 6)
    probabilities = model.predict_proba(X[800:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(X[800:])).all()
    assert model.score(X[800:], names[800:]) > 0.7


def test_same_seed_same_bytes_with_any_number_of_threads(reviews):
    train, labels, _, _ = reviews
    X = TfidfVectorizer().fit_transform(train)
    fits = [NBSVM(random_state=3, n_jobs=n).fit(X, labels) for n in (1, 2, 5, None)]
    for fitted in fits[1:]:
        assert fitted.coef_.tobytes() == fits[0].coef_.tobytes()
        assert fitted.intercept_.tobytes() == fits[0].intercept_.tobytes()


def test_a_class_with_one_text_is_fitted_without_calibration():
    X = np.eye(4)
    with pytest.warns(UserWarning, match="not calibrated"):
        model = NBSVM().fit(X, ["a", "a", "a", "b"])
    assert model.predict(X).tolist() == ["a", "a", "a", "b"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"C": 0}, "'C'"),
        ({"alpha": -1}, "'alpha'"),
        ({"beta": 1.5}, "'beta'"),
        ({"loss": "hinge"}, "'loss'"),
        ({"calibration": "isotonic"}, "'calibration'"),
        ({"calibration_folds": 1}, "'calibration_folds'"),
        ({"max_iter": 0}, "'max_iter'"),
    ],
)
def test_a_wrong_parameter_is_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        NBSVM(**wrong).fit(np.eye(4), [0, 1, 0, 1])


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="one class only"):
        NBSVM().fit(np.eye(3), ["a", "a", "a"])


def test_sample_weight_zero_means_absent(reviews):
    train, labels, _, _ = reviews
    X = TfidfVectorizer().fit_transform(train)
    keep = np.arange(len(train)) % 3 > 0
    model = NBSVM(calibration=None, tol=1e-5)
    weighted = clone(model).fit(X, labels, sample_weight=keep.astype(float))
    absent = clone(model).fit(X[keep], labels[keep])
    np.testing.assert_allclose(weighted.coef_, absent.coef_, atol=2e-3)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_model_config_lists_real_parameters_and_trains(name, reviews):
    train, labels, test, truth = reviews
    config = yaml.safe_load((Path(CONFIG_DIR) / "model" / f"{name}.yaml").read_text())
    assert config.get("random_state", "${seed}") == "${seed}"
    classifier = build_pipeline(compose([f"model={name}"]))[-1]
    model = make_pipeline(TfidfVectorizer(), classifier).fit(train, labels)
    assert model.score(test, truth) > 0.8
    assert model.predict_proba(test).shape == (len(test), 2)


@pytest.mark.parametrize("name", ["best", "sentences"])
def test_experiments_with_several_views_train_and_compile(name, reviews):
    train, labels, test, truth = reviews
    pipeline = build_pipeline(compose([f"experiment={name}"])).fit(train, labels)
    assert pipeline.score(test, truth) > 0.8
    compiled = compile_scorer(*pipeline.named_steps.values(), reference_texts=test[:64])
    np.testing.assert_allclose(
        compiled.scorer.predict(test).probabilities, pipeline.predict_proba(test), atol=1e-6
    )


def test_views_leave_out_words_and_endings():
    views = dict(build_pipeline(compose(["experiment=best"]))[0].transformer_list)
    texts = ["It's a waste of your time, because it was boring!"] * 2
    content = views["content"].fit(texts).get_feature_names_out()
    assert set(content[:5]) == {"boring", "time", "time boring", "waste", "waste time"}
    assert content[5:].tolist() == ["waste time boring"]
    stems = views["stems"].fit(["Boringly bored, I'm not"] * 2).get_feature_names_out()
    assert sorted(stems) == ["bored", "bored not", "borin", "borin bored", "borin bored not", "not"]


@pytest.mark.parametrize("name", ["logreg", "linear_svc", "nbsvm"])
def test_c_is_a_plain_key(name):
    config = yaml.safe_load((Path(CONFIG_DIR) / "model" / f"{name}.yaml").read_text())
    assert isinstance(config["C"], float)


def test_linear_svc_is_one_linear_score_per_class(reviews):
    train, labels, _, _ = reviews
    model = linear_svc(C=0.1).fit(TfidfVectorizer().fit_transform(train), labels)
    assert len(model.calibrated_classifiers_) == 1
    assert model.calibrated_classifiers_[0].estimator.C == 0.1


def test_calibration_knows_that_new_texts_have_unknown_ngrams():
    """Held-out texts helped to make the vocabulary; probabilities must fit texts that did not."""
    splits = load_splits(
        source="embedded", name="reviews", subset="rotten_tomatoes", val_size=0, test_size=0.3
    )
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 3), token_pattern=r"\w+|[^\w\s]", binary=True),
        NBSVM(C=0.3, beta=1.0, random_state=0),
    )
    pipeline.fit(splits.train.texts, splits.train.labels)
    scores = pipeline.decision_function(splits.test.texts)
    fitted = LogisticRegression(C=1e6).fit(scores[:, None], splits.test.labels)
    assert 0.9 < fitted.coef_[0, 0] < 1.1, "the slope that would make them honest"

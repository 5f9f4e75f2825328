"""A teacher's probabilities and weights of rows are learned from as what they are, and refused where not."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from support.grids import combined
from support.reviews import shuffled

from sentiment import config, load
from sentiment.data.loading import load as load_data
from sentiment.data.split import Split
from sentiment.errors import SentimentError
from sentiment.models import NBSVM, linear_svc
from sentiment.training.folds import pooled
from sentiment.training.run import train
from sentiment.training.teaching import learn
from sentiment.vectorizers import TfidfVectorizer


@pytest.fixture(scope="module")
def taught():
    """Features of 300 rows, probabilities of three classes, weights."""
    rng = np.random.default_rng(0)
    X = sp.random(300, 60, 0.2, format="csr", random_state=0, dtype=np.float64)
    logits = X @ rng.normal(size=(60, 3)) * 3 + rng.normal(size=(300, 3)) / 2
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return X, shares, rng.uniform(0, 2, 300)


@pytest.mark.parametrize(
    ("classes", "class_weight", "loss"),
    combined([2, 3], [None, "balanced"], ["log_loss", "squared_hinge"]),
)
def test_a_probability_counts_as_so_much_of_a_row(taught, classes, class_weight, loss):
    X, shares, weights = taught
    shares = shares[:, :classes] / shares[:, :classes].sum(axis=1, keepdims=True)
    names = np.array(["a", "b", "c"][:classes], dtype=object)
    options = {"calibration": None, "tol": 1e-7, "max_iter": 100, "loss": loss}
    soft = NBSVM(**options, class_weight=class_weight).fit(X, shares, weights, classes=names)
    # The same as a row for each class, which is what scikit-learn's models are given.
    cost = shares * weights[:, None]
    if class_weight:
        cost *= shares.sum() / (classes * shares.sum(axis=0))
    rows, codes = np.nonzero(cost)
    apart = NBSVM(**options).fit(X[rows], names[codes], cost[rows, codes])
    np.testing.assert_allclose(soft.coef_, apart.coef_, atol=1e-4)
    np.testing.assert_allclose(soft.intercept_, apart.intercept_, atol=1e-4)


def test_probabilities_of_0_and_1_are_labels(taught):
    X, shares, weights = taught
    names = np.array(["a", "b", "c"], dtype=object)
    labels = names[shares.argmax(axis=1)]
    sure = (labels[:, None] == names).astype(float)
    for given in (None, weights):
        soft = NBSVM(random_state=1).fit(X, sure, given, classes=names)
        hard = NBSVM(random_state=1).fit(X, labels, given)
        np.testing.assert_array_equal(soft.coef_, hard.coef_)
        np.testing.assert_array_equal(soft.intercept_, hard.intercept_)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_other_models_learn_expected_counts(taught, class_weight):
    X, shares, weights = taught
    labels = [["a", "b", "c"][code] for code in shares.argmax(axis=1)]
    rows = Split(["x"] * 300, labels, soft=shares, weights=weights)
    model = learn(
        LogisticRegression(C=10, max_iter=1000, tol=1e-8, class_weight=class_weight),
        X,
        rows,
        list("abc"),
    )
    assert model.class_weight == class_weight
    # At the optimum of an unpenalised intercept, what is expected is what is said.
    cost = shares * weights[:, None]
    if class_weight:
        cost = cost * (300 / (3 * shares.sum(axis=0)))
    said = model.predict_proba(X) * cost.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(said.sum(axis=0), cost.sum(axis=0), rtol=1e-4)
    if class_weight is None:
        bayes = learn(MultinomialNB(), X, rows, list("abc"))
        np.testing.assert_allclose(bayes.class_count_, cost.sum(axis=0))
        np.testing.assert_allclose(bayes.feature_count_, cost.T @ X, atol=1e-9)


@pytest.mark.slow
def test_a_teacher_of_many_texts_makes_a_better_model_than_few_labels(tmp_path):
    """The recipe of the documentation, with a stand-in for the large model."""
    rows = shuffled(7)
    learned, pool, few, test = rows[:2000], rows[2000:3200], rows[3200:3260], rows[3300:3900]
    teacher = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10, max_iter=500))
    teacher.fit(*zip(*learned, strict=True))
    said = teacher.predict_proba([text for text, _ in pool])
    names = [f"probability_{label}" for label in teacher.classes_]
    write(tmp_path / "taught.csv", ["text", *names], [
        [text, *row] for (text, _), row in zip(pool, said, strict=True)
    ])  # fmt: skip
    for name, part in (("few", few), ("test", test)):
        write(tmp_path / f"{name}.csv", ["text", "label"], part)
    words = [
        "data=files", f"data.test={tmp_path}/test.csv", "data.val_size=0",
        "vectorizer.ngram_range=[1,1]", f"output_dir={tmp_path}/out",
    ]  # fmt: skip
    taught = train(
        config.compose(
            [*words, f"data.train={tmp_path}/taught.csv", "data.soft_labels=probability_*"]
        ),
        draw=False,
    )
    alone = train(config.compose([*words, f"data.train={tmp_path}/few.csv"]), draw=False)
    assert taught.data["rows_soft"] == len(pool)
    assert taught.metrics["test_accuracy"] > alone.metrics["test_accuracy"] + 0.05
    # It has its teacher's doubts, in an artifact like any other.
    texts = [text for text, _ in test]
    own = load(taught.model).predict_proba(texts)[:, 1]
    assert np.corrcoef(own, teacher.predict_proba(texts)[:, 1])[0, 1] > 0.8


def write(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def splits(path, **settings):
    given = {"source": "files", "name": "x", "train": str(path), "soft_labels": "p_*"}
    return load_data({**given, **settings}, 1).splits


def half_labelled(tmp_path):
    """Return 200 rows, of which every second has a label of its own, which the teacher does not share."""
    rows = [
        [f"film {i} {'good' if i % 4 < 2 else 'bad'}", "up" if i % 4 < 2 else "down"]
        for i in range(200)
    ]
    table = [
        [
            text,
            label if i % 2 else "",
            0.75 if label == "down" else 0.25,
            0.25 if label == "down" else 0.75,
        ]
        for i, (text, label) in enumerate(rows)
    ]
    return write(tmp_path / "a.csv", ["text", "label", "p_down", "p_up"], table)


def test_labels_judge_and_probabilities_teach(tmp_path):
    file = half_labelled(tmp_path)
    found = splits(file)
    assert found.classes == ("down", "up")
    assert found.report["held_out_without_label"] > 0
    assert all(int(text.split()[1]) % 2 for text in [*found.test.texts, *found.val.texts])
    assert found.report["rows_soft"] == len(found.train)
    shares = found.train.shares(found.classes)
    assert set(shares.ravel()) == {0.25, 0.75}
    assert found.fingerprint() != splits(file, soft_labels=None).fingerprint()

    # Who has looked knows better than the teacher, also where they agree.
    text, label = found.train.texts[0], found.train.labels[0]
    (tmp_path / "looked.jsonl").write_text(json.dumps({"text": text, "label": label}) + "\n")
    for key in ("corrections", "also"):
        looked = splits(file, **{key: str(tmp_path / "looked.jsonl")})
        place = looked.train.texts.index(text)
        assert looked.train.shares(looked.classes)[place].max() == 1
        assert looked.report["rows_soft"] == len(looked.train) - (key == "corrections")

    # Folds deal the probabilities with their rows.
    data = pooled(
        load_data({"source": "files", "name": "x", "train": str(file), "soft_labels": "p_*"}, 1)
    )
    every = data.splits.train
    assert every.soft is not None
    np.testing.assert_array_equal(
        every.take([5, 2]).shares(("down", "up")), every.shares(("down", "up"))[[5, 2]]
    )


def test_a_file_without_any_label_is_judged_by_its_teacher_and_says_so(tmp_path, caplog):
    table = [[f"film {i}", i % 3 / 2, 1 - i % 3 / 2, 1 + i % 2] for i in range(90)]
    file = write(tmp_path / "a.csv", ["text", "n", "p", "w"], table)
    found = splits(
        file,
        soft_labels={"no": "n", "yes": "p"},
        weight_column="w",
        label_names={"no": "down", "yes": "up"},
    )
    assert found.classes == ("down", "up")
    assert set(found.train.weights) == {1.0, 2.0}
    assert found.report["held_out_judged_by_teacher"] == len(found.test) + len(found.val)
    assert "agrees with data.soft_labels" in caplog.text


@pytest.mark.parametrize(
    ("row", "more", "reason"),
    [
        ([0.9, 0.3, 1], {}, "row 3 of train has down 0.9, up 0.3: .* sum to one"),
        ([-0.1, 1.1, 1], {}, "row 3 of train has down -0.1"),
        (["", 1, 1], {}, "row 3 of train has down nothing"),
        (["half", 0.5, 1], {}, "row 3 has 'half', which is no number"),
        ([0.5, 0.5, -2], {}, "weight_column=w: row 3 of train weighs -2"),
        ([0.5, 0.5, "nan"], {}, "row 3 of train weighs nan"),
        ([0.5, 0.5, ""], {}, "row 3 of train weighs nothing"),
        ([0.5, 0.5, 1], {"soft_labels": {"up": "p_up", "dwn": "p_down"}}, "label 'down', .*'dwn'"),
        ([0.5, 0.5, 1], {"soft_labels": {"up": "p_upp", "down": "p_down"}}, "no column 'p_upp'.*'p_up'"),
        ([0.5, 0.5, 1], {"soft_labels": "p_up*"}, "fits 1 column"),
        ([0.5, 0.5, 1], {"soft_labels": ["p_up"]}, "give columns such as probability_"),
        ([0.5, 0.5, 1], {"unlabelled": "pool.csv"}, "data.unlabelled=pool.csv"),
        ([0.5, 0.5, 1], {"streaming": True, "sample_size": None}, "needs the rows in memory"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_row(tmp_path, row, more, reason):
    rows = [[f"film {i}", ["down", "up"][i % 2], 0.5, 0.5, 1] for i in range(40)]
    rows[2][2:] = row
    file = write(tmp_path / "a.csv", ["text", "label", "p_down", "p_up", "w"], rows)
    with pytest.raises(SentimentError, match=reason):
        splits(file, **{"weight_column": "w", **more})


def test_a_model_that_cannot_learn_so_is_named(taught):
    X, shares, weights = taught
    labels = [["a", "b", "c"][code] for code in shares.argmax(axis=1)]
    soft = Split(["x"] * 300, labels, soft=shares)
    with pytest.raises(SentimentError, match="CalibratedClassifierCV knows no prob.*soft_labels"):
        learn(linear_svc(), X, soft, list("abc"))
    weighted = Split(["x"] * 300, labels, weights=weights)
    learn(linear_svc(), X, weighted, list("abc"))
    with pytest.raises(
        SentimentError, match="KNeighborsClassifier knows no weights.*weight_column"
    ):
        learn(KNeighborsClassifier(), X, weighted, list("abc"))

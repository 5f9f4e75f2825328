"""The package as a notebook uses it."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer as Stock
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import estimator_checks
from support.reviews import balanced

import sentiment
from sentiment import TextClassifier, api, config, estimator
from sentiment.data.loading import load
from sentiment.data.splits import load_splits
from sentiment.data.table import keep_table
from sentiment.errors import DataError, ModelNotFoundError, SentimentError, UsageError
from sentiment.progress import bars, follow

SETTINGS = {"source": "files", "name": "films", "split": "hash"}


@pytest.fixture(scope="module")
def data():
    texts, labels = balanced(300)
    return pd.DataFrame({"Review": texts, "stars": labels})


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    here = tmp_path_factory.mktemp("api")
    words = {
        "data.text_column": "Review",
        "data.label_column": "stars",
        "model.C": 1,
        "run_name": "a (1)",
    }
    return sentiment.train(words, data, output_dir=here), here


def test_importing_it_imports_nothing_heavy():
    heavy = {"numpy", "mlflow", "sklearn", "hydra", "polars"}
    program = f"import sentiment, sys; print(sorted(set(sys.modules) & {heavy}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    for name in ("load", "train", "sweep", "evaluate", "compose", "TextClassifier", "Scorer"):
        assert name in dir(sentiment)
        assert callable(getattr(sentiment, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sentiment.nothing  # noqa: B018


def test_a_table_trains_a_model_that_loads(trained, data):
    result, here = trained
    assert result.metrics["test_accuracy"] > 0.6
    assert "<table>" in result._repr_html_()
    scorer = sentiment.load("latest", output_dir=here)
    assert scorer.digest == result.digest
    texts = data["Review"][:5]
    expected = scorer.predict(list(texts))
    for given in (
        texts,
        pl.Series(list(texts)),
        np.array(list(texts)),
        (t for t in texts),
        tuple(texts),
    ):
        found = scorer.predict(given)
        assert found.labels == expected.labels
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(scorer.predict_proba(texts), expected.probabilities)
    with pytest.raises(TypeError, match="a list of texts"):
        scorer.predict("one text")
    figures = sentiment.evaluate(scorer, data["Review"], data["stars"])
    assert 0.7 < figures["accuracy"] <= 1
    with pytest.raises(DataError, match="none of the model's"):
        sentiment.evaluate(scorer, ["a"], ["b"])


def test_the_same_table_is_the_same_model(trained, data, capsys):
    result, here = trained
    words = ["data.text_column=Review", "data.label_column=stars", "model.C=1"]
    again = sentiment.train(words, pl.DataFrame(data), output_dir=here, progress=True)
    assert again.digest == result.digest
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.err.splitlines() if "━" in line][-1] == "log"
    assert not shown.out
    assert len(list((here / "data").iterdir())) == 1


def test_an_explanation_shows_itself(trained):
    scorer = sentiment.load("latest", output_dir=trained[1])
    text = "A wonderful <b>film</b> & a boring, awful plot"
    page = scorer.explain(text)._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>film" not in page
    assert page.count("<span") > 3


def films(n=240):
    texts, labels = balanced(n)
    return pd.DataFrame(
        {
            "text": [f"{text} {place}" for place, text in enumerate(texts)],
            "label": labels,
            "film": [f"film {place % 40}" for place in range(n)],
            "weight": np.where(np.arange(n) % 2, 1.0, 0.5),
            "day": pd.date_range("2024-01-01", periods=n),
            "part": ["train", "train", "val", "test"] * (n // 4),
            "source": pd.array(["a", None, "b"] * (n // 3), dtype="string"),
            "probability_negative": [0.9 if label == "negative" else 0.2 for label in labels],
            "probability_positive": [0.1 if label == "negative" else 0.8 for label in labels],
            "what": [object()] * n,
        }
    )


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["data.group_column=film"], set()),
        (["data.weight_column=weight"], {"weight"}),
        (["data.time_column=day"], {"day"}),
        (["data.split_column=part"], {"part"}),
        (["data.slice_columns=[source]"], {"source"}),
        (["data.soft_labels=probability_*"], {"probability_negative", "probability_positive"}),
    ],
)
@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_what_the_config_names_of_a_table_is_read(tmp_path, words, named, kind):
    table = films()
    if kind is pl.DataFrame:
        table = pl.from_pandas(table.drop(columns="what"))
    elif words[0].startswith("data.soft"):
        table = table.drop(columns="label")
    cfg = config.to_dict(config.compose(words))["data"]
    file = keep_table(table, cfg, tmp_path)
    # what looks like a group is read unasked, to tell what train and test share
    kept = set(json.loads(file.read_text().splitlines()[0])) - {"label"}
    assert kept == {"text", "film", *named}
    asked = {key: cfg[key] for word in words for key in [word.split("=")[0].removeprefix("data.")]}
    splits = load_splits(**SETTINGS, train=str(file), **asked)
    assert sum(map(len, splits.parts().values())) == 240


def test_a_table_and_a_file_say_a_missing_column_alike(tmp_path):
    table = films().drop(columns="what")
    table.to_csv(tmp_path / "films.csv", index=False)
    cfg = config.to_dict(config.compose(["data.group_column=flim"]))["data"]
    with pytest.raises(DataError) as of_table:
        keep_table(table, cfg, tmp_path)
    with pytest.raises(DataError) as of_file:
        load({**cfg, "source": "files", "train": str(tmp_path / "films.csv")}, 42)
    said = str(of_table.value).removeprefix("the table: ")
    assert said.startswith("no column 'flim'; did you mean 'film'? (there are: text, label, film")
    assert said.endswith("; give data.group_column=…)")
    assert str(of_file.value) == f"{tmp_path}/films.csv: {said}"


def test_groups_of_a_table_stay_on_one_side(tmp_path):
    table = films()
    result = sentiment.train(
        {"model": "logreg", "data.group_column": "film"}, table, output_dir=tmp_path
    )
    rows = pl.read_parquet(next(tmp_path.glob("artifacts/**/test_predictions.parquet")))
    (file,) = (tmp_path / "data").iterdir()
    splits = load_splits(**SETTINGS, train=str(file), group_column="film")
    assert len(rows) == len(splits.test)
    film = dict(zip(table["text"], table["film"], strict=True))
    sides = [{film[text] for text in part.texts} for part in splits.parts().values()]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert result.metrics["test_accuracy"] > 0.5


def test_labels_are_named_alike_in_training_and_evaluation(tmp_path, caplog):
    texts, names = balanced(120)
    for values, labels in (
        ([name == "positive" for name in names], ("false", "true")),
        (pd.Series([float(name == "positive") for name in names]), ("0", "1")),
    ):
        here = tmp_path / labels[0]
        sentiment.train({"model": "logreg"}, (texts, values), output_dir=here)
        scorer = sentiment.load("latest", output_dir=here)
        assert scorer.labels == labels
        figures = sentiment.evaluate(scorer, texts, values)
        assert figures["accuracy"] > 0.8
    # Rows without a label are left out, and that is said.
    gaps = [None, float("nan"), pd.NA, pd.NaT, " "]
    caplog.clear()
    again = sentiment.evaluate(scorer, [*texts, *["x"] * 5, None], [*values, *gaps, 1])
    assert again == figures
    assert "6 rows without text or label were left out" in caplog.text
    with pytest.raises(DataError, match="120 texts and 2 labels"):
        sentiment.evaluate(scorer, texts, [0, 1])
    with pytest.raises(DataError, match="no row with text and label"):
        sentiment.evaluate(scorer, texts[:1], [None])


def slow_parts(n):
    for number in range(n):
        time.sleep(0.6 if number == 0 else 0)  # longer than a bar waits
        yield number


@pytest.mark.parametrize(
    ("progress", "terminal", "shown"),
    [(True, False, True), (None, True, True), (None, False, False), (False, True, False)],
)
def test_who_looks_on_sees_how_far_it_is(capsys, monkeypatch, progress, terminal, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert list(follow(progress, slow_parts(3), [10, 20, 1000])) == [0, 1, 2]
    err = capsys.readouterr().err
    assert ("1,030 of 1,030" in err) == shown
    assert bool(err) == shown


def test_many_texts_are_followed_and_scored_alike(trained, capsys):
    scorer = sentiment.load("latest", output_dir=trained[1], progress=True)
    texts = ["a wonderful film " * 40, "a boring plot " * 50] * 1200
    followed = []
    expected = sentiment.load("latest", output_dir=trained[1]).predict(texts)
    inner = scorer.follow

    def counted(parts, sizes):
        followed.append(sum(sizes))
        return inner(parts, sizes)

    scorer.follow = counted
    found = scorer.predict(texts)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert followed == [2400]
    scorer.predict(texts[:2])  # a few are done at once
    assert followed == [2400]


def test_bars_do_not_draw_over_each_other(capsys):
    with bars(True) as outer, bars(True) as inner:
        assert outer is not None
        assert inner is None
    with bars(True) as again:
        assert again is not None


@pytest.mark.slow
def test_a_sweep_returns_its_answer(tmp_path, capsys):
    words = {
        "experiment": "quick",
        "data.sample_size": 300,
        "model.C": [0.5, 1.0],
        "cache.max_gb": 0,
    }
    found = sentiment.sweep(words, output_dir=tmp_path, progress=True)
    assert "2 of 2, best val_f1_score 0." in capsys.readouterr().err
    assert [job["state"] for job in found["jobs"]] == ["finished", "finished"]
    assert found["best"]["run_id"]


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda tmp: sentiment.load("latest", output_dir=tmp), ModelNotFoundError, "no latest model"),
        (lambda tmp: sentiment.train("model.C=1"), UsageError, "a list of overrides"),
        (lambda tmp: sentiment.train({"model.c": 1}), UsageError, "did you mean 'model.C'"),
        (lambda tmp: sentiment.train([], (["a"], []), output_dir=tmp), DataError, "1 texts and 0 labels"),
        (lambda tmp: sentiment.train([], pd.DataFrame({"a": []}), output_dir=tmp), DataError, "'text'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path, act, error, message):
    with pytest.raises(error, match=message) as refused:
        act(tmp_path)
    assert isinstance(refused.value, SentimentError)


TEXTS, LABELS = balanced(120)


@pytest.mark.parametrize(
    "classifier",
    [
        TextClassifier("count", "logreg"),
        TextClassifier(Stock(min_df=2), LogisticRegression()),
        TextClassifier(model="nbsvm"),
    ],
)
def test_scikit_learn_takes_it_for_its_own(classifier):
    scores = cross_val_score(clone(classifier), TEXTS, LABELS, cv=2)
    assert scores.mean() > 0.5
    fitted = clone(classifier).fit(TEXTS, LABELS)
    assert fitted.classes_.tolist() == ["negative", "positive"]
    assert fitted.score(TEXTS, LABELS) > 0.8
    proba = fitted.predict_proba(TEXTS[:3])
    assert proba.shape == (3, 2)
    assert classifier.get_params(deep=False).keys() == {"vectorizer", "model"}


@pytest.mark.parametrize(
    "check",
    [
        "check_parameters_default_constructible", "check_do_not_raise_errors_in_init_or_set_params",
        "check_get_params_invariance", "check_set_params", "check_no_attributes_set_in_init",
        "check_estimators_unfitted", "check_estimator_repr", "check_estimator_cloneable",
        "check_estimator_tags_renamed", "check_valid_tag_types", "check_mixin_order",
        "check_supervised_y_no_nan", "check_fit1d",
    ],
)  # fmt: skip
def test_scikit_learns_checks_as_far_as_they_are_about_text(check):
    function = getattr(estimator_checks, check, None)
    if function is None:
        pytest.skip(f"this scikit-learn has no {check}")
    function("TextClassifier", TextClassifier())


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_scikit_learns_check_of_all():
    estimator_checks.check_estimator(TextClassifier())


def test_a_grid_search_chooses_its_parts():
    search = GridSearchCV(TextClassifier("count"), {"model": ["logreg", "naive_bayes"]}, cv=2)
    search.fit(TEXTS, LABELS)
    assert search.best_params_["model"] in ("logreg", "naive_bayes")


def test_it_compiles_to_the_same_answers(tmp_path):
    fitted = TextClassifier("tfidf", "logreg").fit(TEXTS, LABELS)
    compiled = fitted.compile(TEXTS[:20], LABELS[:20])
    np.testing.assert_allclose(
        compiled.scorer.predict_proba(TEXTS), fitted.predict_proba(TEXTS), atol=1e-6
    )
    compiled.save(tmp_path / "scorer")
    assert sentiment.load(str(tmp_path / "scorer")).labels == ("negative", "positive")


@pytest.mark.parametrize("kind", [int, float, bool, np.bool_, str])
def test_the_reference_knows_how_often_a_model_is_right(kind):
    labels = [kind(name == "positive") for name in LABELS]
    fitted = TextClassifier("count", "logreg").fit(TEXTS, labels)
    given = [*labels[:40], None]
    compiled = fitted.compile([*TEXTS[:40], "a text without a label"], given)
    reference = compiled.document["reference"]
    assert reference["n"] == 40
    assert reference["accuracy"] == fitted.score(TEXTS[:40], labels[:40]) > 0.5
    assert sentiment.evaluate(compiled.scorer, TEXTS, labels)["accuracy"] > 0.8
    with pytest.raises(DataError, match="none of the model's"):
        fitted.compile(TEXTS[:2], ["up", "down"])
    with pytest.raises(DataError, match="2 texts and 1 labels"):
        fitted.compile(TEXTS[:2], labels[:1])


def test_one_text_is_not_a_list():
    with pytest.raises(ValueError, match="a list of texts"):
        TextClassifier().fit("a", ["x"])
    with pytest.raises(ValueError, match="y has the shape"):
        TextClassifier().fit(["a"], ["x", "y"])


@pytest.mark.parametrize("module", [api, estimator])
def test_the_examples_of_the_documentation(module, tmp_path):
    failed, tried = doctest.testmod(module, extraglobs={"tmp": tmp_path}, verbose=False)
    assert tried
    assert not failed

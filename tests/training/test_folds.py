"""Figures over folds: grouped, with intervals, and a model of all rows but the test."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sentiment import config
from sentiment.data.loading import Data
from sentiment.data.split import Split
from sentiment.data.splits import Splits
from sentiment.errors import UsageError
from sentiment.scorer.decision import Decision
from sentiment.training import folds
from sentiment.training.run import train


def write(path, rows=300):
    rng = random.Random(3)
    lines = ["text,label,film"]
    for i in range(rows):
        label = rng.random() < 0.5
        word = rng.choice(["warm", "bright"] if label else ["dull", "bland"])
        said = label if rng.random() < 0.9 else not label
        plain = " ".join(rng.choices(["film", "plot", "actor", "scene"], k=5))
        lines.append(f"{word} {plain} {i},{'good' if said else 'bad'},f{i % 50}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    return [
        "data=files", f"data.train={write(folder / 'a.csv')}", "model=logreg", "data.group_column=film",
        f"output_dir={folder}/out",
    ]  # fmt: skip


def test_a_run_over_folds_has_means_intervals_and_all_rows(words):
    result = train(config.compose([*words, "cv=5"]), draw=False)
    alone = train(config.compose(words), draw=False)
    assert result.data["rows_val"] == 0
    assert result.data["rows_train"] == alone.data["rows_train"] + alone.data["rows_val"]
    assert result.data["rows_test"] == alone.data["rows_test"]
    figures = result.metrics
    for name in ("accuracy", "f1_score", "log_loss"):
        assert figures[f"val_{name}_low"] <= figures[f"val_{name}"] <= figures[f"val_{name}_high"]
    counts = [
        figures[f"val_{kind}_{side}"]
        for kind in ("true", "false")
        for side in ("positives", "negatives")
    ]
    assert sum(counts) == result.data["rows_train"]
    assert 0.8 < figures["val_accuracy"] < 0.97


def test_each_row_is_judged_once_and_groups_stay_together():
    groups = [f"g{i % 40}" for i in range(400)]
    labels = [("a", "b")[i % 3 == 0] for i in range(400)]
    seen = []
    for learned, judged in folds.deal(labels, groups, 5, 1):
        assert not {groups[i] for i in learned} & {groups[i] for i in judged}
        seen += judged.tolist()
    assert sorted(seen) == list(range(400))


def test_a_figure_of_ones_own_is_a_mean_over_folds_too():
    labels = ["a", "b", "a", "b"]
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    found = folds.OutOfFold(labels, ["a", "b"], probabilities, [np.array([0, 1]), np.array([2, 3])])

    def sure(labels, probabilities, classes):
        return np.mean(
            [row[classes.index(label)] for label, row in zip(labels, probabilities, strict=True)]
        )

    metrics, each = folds.figures_of(
        found, Decision(), positive_label=None, seed=0, own={"sure": sure}
    )
    assert [fold["sure"] for fold in each] == pytest.approx([0.75, 0.75])
    assert metrics["val_sure"] == pytest.approx(0.75)

    def broken(*_):
        raise KeyError("price")

    with pytest.raises(UsageError, match=r"metrics\.cost: KeyError: 'price'"):
        folds.figures_of(found, Decision(), positive_label=None, seed=0, own={"cost": broken})


def test_the_interval_is_that_of_nadeau_and_bengio():
    low, high = folds.interval([0.9, 0.92, 0.88, 0.91, 0.89])
    half = 2.7764 * np.sqrt(0.00025) * np.sqrt(1 / 5 + 1 / 4)
    assert (low, high) == pytest.approx((0.9 - half, 0.9 + half), abs=1e-5)


@pytest.mark.slow
def test_a_sweep_over_folds_ranks_by_their_mean(words, cli):
    answer = cli(
        "sweep", "-m", *words, "model.C=0.001,1", "data.val_size=0", "sweep.cv=3", "--json"
    )
    assert answer.code == 0, answer.err
    best = answer.document["best"]
    assert best["metrics"]["val_f1_score_low"] < best["metrics"]["val_f1_score"]


def _data(rows):
    empty = Split([], [])
    return Data(Splits("x", "x", rows, empty, empty, ("a", "b"), None, {"rows_train": len(rows)}))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["cv=1"], "cv=1: give 2 folds or more"),
        (["cv=3", "data.time_column=film"], "cv=3 would learn from rows newer than"),
        (["cv=3", "data.streaming=true", "vectorizer=hashing", "model=sgd"], "needs the rows in"),
        (["cv=3", "data.memory=0"], r"folds keep the groups of data\.group_column together"),
        (
            ["decision=threshold", "decision.tuned_on=folds", "data.memory=0"],
            r"folds keep the groups.*decision\.tuned_on=validation",
        ),
    ],
)
def test_folds_that_cannot_be_are_refused_before_a_row_is_read(words, asked, message):
    told = []
    with pytest.raises(UsageError, match=message):
        train(config.compose([*words, *asked]), progress=lambda *step: told.append(step))
    assert not told


def test_too_few_rows_of_a_label_are_named_with_the_fix():
    rows = Split([str(i) for i in range(11)], [*"aaaaaaaa", *"bbb"])
    with pytest.raises(UsageError, match=r"'b' has 3: give fewer folds \(cv=3\)"):
        folds.check_folds(5, _data(rows))


def test_too_few_groups_of_a_label_are_named():
    rows = Split(
        [str(i) for i in range(60)],
        ["a", "b"] * 30,
        ["one" if i % 2 else f"g{i}" for i in range(60)],
    )
    with pytest.raises(UsageError, match="needs 5 groups of each label, 'b' has 1"):
        folds.check_folds(5, _data(rows))

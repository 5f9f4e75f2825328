"""Metrics agree with scikit-learn's and with figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binomtest
from sklearn import metrics

from sentiment.evaluation.intervals import of_confusion
from sentiment.evaluation.metrics import (
    evaluate,
    expected_calibration_error,
    paired_test,
)

RNG = np.random.default_rng(0)


def answers(n, classes):
    probabilities = RNG.dirichlet(np.ones(len(classes)), size=n)
    labels = [classes[i] for i in RNG.integers(0, len(classes), n)]
    return labels, probabilities


def test_binary_metrics_are_scikit_learns():
    labels, probabilities = answers(500, ["neg", "pos"])
    ours = evaluate(labels, probabilities, ["neg", "pos"], positive_label="pos")
    truth = np.array([label == "pos" for label in labels])
    said = probabilities[:, 1] > probabilities[:, 0]
    assert ours["accuracy"] == metrics.accuracy_score(truth, said)
    assert ours["precision"] == pytest.approx(metrics.precision_score(truth, said))
    assert ours["recall"] == pytest.approx(metrics.recall_score(truth, said))
    assert ours["f1_score"] == pytest.approx(metrics.f1_score(truth, said))
    assert ours["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, probabilities[:, 1]))
    assert ours["log_loss"] == pytest.approx(metrics.log_loss(truth, probabilities[:, 1]))
    assert ours["brier_score"] == pytest.approx(
        metrics.brier_score_loss(truth, probabilities[:, 1])
    )
    tn, fp, fn, tp = metrics.confusion_matrix(truth, said).ravel()
    counted = [ours[f"{kind}"] for kind in ("true_negatives", "false_positives")]
    assert counted == [tn, fp]
    assert [ours["false_negatives"], ours["true_positives"]] == [fn, tp]


def test_the_positive_label_decides_whose_precision():
    labels, probabilities = (
        ["a", "a", "b", "b"],
        np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]]),
    )
    assert evaluate(labels, probabilities, ["a", "b"], positive_label="b")["precision"] == 2 / 3
    assert evaluate(labels, probabilities, ["a", "b"], positive_label="a")["precision"] == 1.0


def test_multiclass_is_macro_and_per_class():
    classes = ["x", "y", "z"]
    labels, probabilities = answers(600, classes)
    ours = evaluate(labels, probabilities, classes)
    said = [classes[i] for i in probabilities.argmax(axis=1)]
    assert ours["f1_score"] == pytest.approx(metrics.f1_score(labels, said, average="macro"))
    per_class = metrics.f1_score(labels, said, average=None, labels=classes)
    assert [ours[f"f1_score_{c}"] for c in classes] == pytest.approx(list(per_class))
    expected = metrics.roc_auc_score(labels, probabilities, multi_class="ovr", labels=classes)
    assert ours["roc_auc"] == pytest.approx(expected)


def test_one_class_in_the_data_leaves_out_what_is_undefined():
    ours = evaluate(["a", "a"], np.array([[0.9, 0.1], [0.2, 0.8]]), ["a", "b"])
    assert "roc_auc" not in ours
    assert ours["accuracy"] == 0.5


def test_a_label_that_the_model_lacks_is_an_error_of_the_model():
    ours = evaluate(["a", "new"], np.array([[0.9, 0.1], [0.9, 0.1]]), ["a", "b"])
    assert ours["accuracy"] == 0.5


def test_calibration_error_by_hand():
    confidence, correct = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, True, True, False])
    assert expected_calibration_error(confidence, correct, 10) == pytest.approx((0.2 + 0.2) / 4)


SPANS = ("accuracy", "f1_score", "balanced_accuracy", "average_precision")


def of_cells(cells):
    """Return labels and probabilities with so many rows in each cell of a confusion matrix."""
    size = len(cells)
    truth, said = (
        place.repeat(np.ravel(cells)) for place in np.indices((size, size)).reshape(2, -1)
    )
    probabilities = np.full((len(truth), size), 0.1 / size) + 0.9 * np.eye(size)[said]
    return [f"{place}" for place in truth], probabilities, [f"{place}" for place in range(size)]


def test_intervals_hold_the_figure_and_shrink_with_rows():
    few, many = (evaluate(*of_cells(np.array([[40, 10], [5, 45]]) * n)) for n in (1, 100))
    for name in SPANS:
        (low, high), (low2, high2) = ((m[f"{name}_low"], m[f"{name}_high"]) for m in (few, many))
        assert low < few[name] < high
        assert high2 - low2 < (high - low) / 5
    assert evaluate(*of_cells([[40, 10], [5, 45]])) == few


@pytest.mark.parametrize("cells", [np.eye(2, dtype=int) * 55, np.eye(5, dtype=int) * 22])
def test_no_error_seen_is_not_none_possible(cells):
    found = evaluate(*of_cells(cells))
    own = binomtest(110, 110).proportion_ci(method="wilson")
    assert found["accuracy_low"] == pytest.approx(own.low, abs=1e-6)
    for name in SPANS[: 4 if len(cells) == 2 else 1]:
        assert 0.85 < found[f"{name}_low"] < 0.99
        assert found[f"{name}_high"] == 1.0
    assert 0.93 < found["balanced_accuracy_low"] < 0.99


def test_a_recall_has_the_interval_of_jeffreys():
    labels, probabilities, _ = of_cells([[48, 2], [0, 60]])
    codes, said = np.array([*map(int, labels)]), probabilities.argmax(axis=1)
    spans = of_confusion(codes, said, 2, 0, seed=0, draws=20_000)
    expected = beta.ppf([0.025, 0.975], 48.5, 2.5)
    assert spans["recall"] == pytest.approx(expected, abs=0.003)
    assert spans["precision"][1] == 1.0
    assert spans["precision"][0] == pytest.approx(beta.ppf(0.025, 48.5, 0.5), abs=0.003)


@pytest.mark.parametrize("right", [0.9, 0.99])
@pytest.mark.parametrize("size", [2, 6])
def test_as_many_intervals_hold_the_truth_as_are_said_to(right, size):
    rng = np.random.default_rng(size)
    truth = np.full((size, size), (1 - right) / (size - 1) / size)
    np.fill_diagonal(truth, right / size)
    # All classes are alike: so much is the F1 of each, and the mean of them.
    held = dict.fromkeys(SPANS[:3], 0)
    for cells in rng.multinomial(200, truth.ravel(), size=200).reshape(-1, size, size):
        labels, probabilities, _ = of_cells(cells)
        codes, said = np.array([*map(int, labels)]), probabilities.argmax(axis=1)
        spans = of_confusion(codes, said, size, size - 1, seed=0, draws=400)
        for name, true in zip(held, (right, right, right), strict=True):
            held[name] += spans[name][0] <= true <= spans[name][1]
    assert min(held.values()) >= 180, held
    assert right != 0.9 or max(held.values()) < 200  # nor do they say nothing


def test_models_without_a_difference_may_have_one():
    same = paired_test(np.ones(100, np.bool_), np.ones(100, np.bool_))
    assert same.difference == 0
    assert -0.05 < same.low < -0.01
    assert same.high == -same.low
    # As resampled rows say where there is something to resample.
    first, second = np.repeat([[1, 1, 0, 0], [1, 0, 1, 0]], [800, 90, 60, 50], axis=1).astype(
        np.bool_
    )
    found = paired_test(first, second)
    drawn = RNG.multinomial(1000, [0.8, 0.09, 0.06, 0.05], size=4000) @ [0, -1, 1, 0] / 1000
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.002)


def test_paired_test_knows_noise_from_difference():
    right = RNG.random(2000) < 0.9
    worse = right & (RNG.random(2000) < 0.95)
    same = paired_test(right, right)
    assert (same.difference, same.p_value) == (0.0, 1.0)
    found = paired_test(right, worse)
    assert found.difference < 0
    assert found.high < 0
    assert found.p_value < 1e-6


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"expected \(1, 2\)"):
        evaluate(["a"], np.ones((2, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate([], np.ones((0, 2)), ["a", "b"])

"""Metrics agree with scikit-learn's and with figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from sentiment.evaluation.metrics import (
    bootstrap_interval,
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


def test_interval_holds_the_mean_and_shrinks_with_rows():
    few, many = (np.tile([0.0, 1.0, 1.0, 1.0], n) for n in (25, 2500))
    (low, high), (low2, high2) = bootstrap_interval(few), bootstrap_interval(many)
    assert low < 0.75 < high
    assert high2 - low2 < (high - low) / 5
    assert bootstrap_interval(few) == (low, high)


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

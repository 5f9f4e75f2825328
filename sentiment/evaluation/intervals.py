"""95 % intervals of metrics, from the answers themselves."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sentiment.evaluation.answers import Answers, Ints

_DRAWS = 1000


def intervals(
    answers: Answers, metrics: Mapping[str, float], seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the intervals of those metrics that one can be given for.

    Parameters
    ----------
    answers : Answers
        At least one row.
    metrics : mapping of str to float
        What `sentiment.evaluation.metrics.evaluate` gave for them.
    seed : int
        Of the resamples.

    References
    ----------
    Resampled rows are a multinomial draw of the confusion matrix's cells (Efron and Tibshirani,
    1993, chapter 13). For the area under the curve: Hanley and McNeil, Radiology 143, 1982.
    """
    found = of_confusion(
        answers.codes, answers.answered, len(answers.classes), answers.positive, seed
    )
    n, size = len(answers), len(answers.classes)
    known = answers.codes >= 0
    chosen = np.where(known, answers.probabilities[np.arange(n), answers.codes], 0.0)
    onehot = answers.codes[:, None] == np.arange(size)
    squares = (answers.probabilities - onehot) ** 2
    per_row = {
        "log_loss": -np.log(np.clip(chosen, np.finfo(np.float64).eps, 1.0)),
        "brier_score": squares[:, 1] if size == 2 else squares.sum(axis=1),
    }
    for name, values in per_row.items():
        half = 1.96 * float(values.std(ddof=1)) / sqrt(n) if n > 1 else 0.0
        found[name] = (max(0.0, float(values.mean()) - half), float(values.mean()) + half)
    if size == 2 and "roc_auc" in metrics:
        area, ones = metrics["roc_auc"], int((answers.codes == 1).sum())
        others = int((answers.codes == 0).sum())
        q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
        variance = area * (1 - area) + (ones - 1) * (q1 - area**2) + (others - 1) * (q2 - area**2)
        half = 1.96 * sqrt(max(variance, 0.0) / (ones * others))
        found["roc_auc"] = (max(0.0, area - half), min(1.0, area + half))
    for name in metrics:
        if f"{name}_low" in metrics and f"{name}_high" in metrics:
            found[name] = (metrics[f"{name}_low"], metrics[f"{name}_high"])
    return {name: pair for name, pair in found.items() if name in metrics}


def of_average_precision(value: float, positives: int) -> tuple[float, float]:
    """Return the 95 % interval of an average precision.

    Parameters
    ----------
    value : float
    positives : int
        Rows of the class.

    References
    ----------
    Boyd, Eng and Page, "Area under the Precision-Recall Curve: Point Estimates and Confidence
    Intervals", ECML PKDD 2013: the logit interval.
    """
    inside = min(max(value, 1e-6), 1 - 1e-6)
    center = log(inside / (1 - inside))
    half = 1.96 / sqrt(max(positives, 1) * inside * (1 - inside))
    low, high = (1 / (1 + exp(-min(max(end, -700), 700))) for end in (center - half, center + half))
    return min(low, value), max(high, value)


def of_confusion(
    codes: Ints, answered: Ints, size: int, positive: int, seed: int, draws: int = _DRAWS
) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of what the confusion matrix says.

    Parameters
    ----------
    codes, answered : int64[n]
        Classes of the rows, -1 for one that is not known, and of the answers.
    size : int
        Number of classes.
    positive : int
        Of two classes, the one that precision, recall and F1 are of; of more they are means.
    seed, draws : int
        Of the resamples.
    """
    # A row of an unknown label is wrong, whatever the answer: a class of its own.
    truth = np.where(codes < 0, size, codes)
    cells, counts = np.unique(truth * size + answered, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(codes), counts / counts.sum(), size=draws)
    true_of, said = cells // size, cells % size
    of_true = (true_of[:, None] == np.arange(size)).astype(np.float64)
    of_said = (said[:, None] == np.arange(size)).astype(np.float64)
    hits = drawn @ (of_true * of_said)
    rows, found = drawn @ of_true, drawn @ of_said
    precision = hits / np.maximum(found, 1)
    recall = hits / np.maximum(rows, 1)
    f1 = 2 * hits / np.maximum(rows + found, 1)
    if size == 2:
        chosen = {"precision": precision[:, positive], "recall": recall[:, positive],
                  "f1_score": f1[:, positive]}  # fmt: skip
    else:
        chosen = {name: values.mean(axis=1) for name, values in
                  (("precision", precision), ("recall", recall), ("f1_score", f1))}  # fmt: skip
    chosen["accuracy"] = hits.sum(axis=1) / len(codes)
    chosen["balanced_accuracy"] = recall.sum(axis=1) / np.maximum((rows > 0).sum(axis=1), 1)
    return {
        name: (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
        for name, values in chosen.items()
    }

"""95 % intervals of metrics, from the answers themselves."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import numpy as np

from sentiment.evaluation.answers import Answers

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
    found = _of_confusion(answers, seed)
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
    if "accuracy_low" in metrics:
        found["accuracy"] = (metrics["accuracy_low"], metrics["accuracy_high"])
    return {name: pair for name, pair in found.items() if name in metrics}


def _of_confusion(answers: Answers, seed: int) -> dict[str, tuple[float, float]]:
    size = len(answers.classes)
    # A row of an unknown label is wrong, whatever the answer: a class of its own.
    truth = np.where(answers.codes < 0, size, answers.codes)
    cells, counts = np.unique(truth * size + answers.answered, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(
        len(answers), counts / counts.sum(), size=_DRAWS
    )
    true_of, said = cells // size, cells % size
    of_true = (true_of[:, None] == np.arange(size)).astype(np.float64)
    of_said = (said[:, None] == np.arange(size)).astype(np.float64)
    hits = draws @ (of_true * of_said)
    rows, answered = draws @ of_true, draws @ of_said
    precision = hits / np.maximum(answered, 1)
    recall = hits / np.maximum(rows, 1)
    f1 = 2 * hits / np.maximum(rows + answered, 1)
    if size == 2:
        one = answers.positive
        chosen = {"precision": precision[:, one], "recall": recall[:, one], "f1_score": f1[:, one]}
    else:
        chosen = {name: values.mean(axis=1) for name, values in
                  (("precision", precision), ("recall", recall), ("f1_score", f1))}  # fmt: skip
    chosen["accuracy"] = hits.sum(axis=1) / len(answers)
    return {
        name: (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
        for name, values in chosen.items()
    }

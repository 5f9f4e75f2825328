"""95 % intervals of metrics, from the answers themselves."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from sentiment.drift.signals import wilson

if TYPE_CHECKING:
    from sentiment.evaluation.answers import Answers, Floats, Ints

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
    See `of_confusion`. For the area under the curve: Hanley and McNeil, Radiology 143, 1982; their
    variance is nothing at an area of 1, and is taken half a row of the rarer class below.
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
        inside = _inside(area, min(ones, others))
        q1, q2 = inside / (2 - inside), 2 * inside * inside / (1 + inside)
        variance = inside * (1 - inside)
        variance += (ones - 1) * (q1 - inside**2) + (others - 1) * (q2 - inside**2)
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
    Intervals", ECML PKDD 2013: the logit interval. It has no end at 0 and 1, and is taken half a
    row away from them, the usual correction of an empirical logit (Cox, 1970).
    """
    inside = _inside(value, positives)
    center = log(inside / (1 - inside))
    half = 1.96 / sqrt(max(positives, 1) * inside * (1 - inside))
    low, high = (1 / (1 + exp(-min(max(end, -700), 700))) for end in (center - half, center + half))
    return min(low, value), max(high, value)


def _inside(value: float, rows: int) -> float:
    """Return a share, at least half a row of so many away from 0 and 1."""
    least = 1 / (2 * max(rows, 1))
    return min(max(value, least), 1 - least)


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
        Of the draws.

    References
    ----------
    Accuracy: Wilson, Journal of the American Statistical Association 22, 1927. All else: what the
    cells may truly be, drawn from a Dirichlet distribution of their counts. Of two classes each cell
    has half a count more, so that precision and recall have Jeffreys' interval and F1 that of Goutte
    and Gaussier ("A Probabilistic Interpretation of Precision, Recall and F-score", ECIR 2005);
    balanced accuracy as in Brodersen et al., ICPR 2010. Without it no error seen would be none
    possible. Of more classes as much is shared among all, or it would add up in their means. Ends
    are widened to the figure itself (Brown, Cai and DasGupta, Statistical Science 16, 2001).
    """
    # A row of an unknown label is wrong, whatever the answer: a class of its own.
    truth = np.where(codes < 0, size, codes)
    cells, counts = np.unique(truth * size + answered, return_counts=True)
    # Right answers of each class, and one error of each: every class misses and is mistaken for.
    each = np.arange(size)
    added = np.concatenate([each * size + each, each * size + (each + 1) % size])
    every = np.union1d(cells, added)
    seen = np.zeros(len(every))
    seen[np.searchsorted(every, cells)] = counts
    weights = seen + np.isin(every, added) / size
    drawn = np.random.default_rng(seed).standard_gamma(weights, size=(draws, len(every)))
    true_of, said = every // size, every % size
    of_true = (true_of[:, None] == each).astype(np.float64)
    of_said = (said[:, None] == each).astype(np.float64)

    def figures(cells: Floats) -> dict[str, Floats]:
        hits, rows, found = cells @ (of_true * of_said), cells @ of_true, cells @ of_said
        # What no row is of, or no answer, has a figure of 0.
        precision = _ratio(hits, found) * answers
        recall = _ratio(hits, rows) * present
        f1 = _ratio(2 * hits, rows + found) * present
        if size == 2:
            chosen = {"precision": precision[:, positive], "recall": recall[:, positive],
                      "f1_score": f1[:, positive]}  # fmt: skip
        else:
            chosen = {name: values.mean(axis=1) for name, values in
                      (("precision", precision), ("recall", recall), ("f1_score", f1))}  # fmt: skip
        return chosen | {"balanced_accuracy": recall.sum(axis=1) / max(int(present.sum()), 1)}

    present, answers = seen @ of_true > 0, seen @ of_said > 0
    here = figures(seen[None, :])
    ends = {}
    for name, values in figures(drawn).items():
        low, high = np.quantile(values, [0.025, 0.975])
        own = float(here[name][0])
        ends[name] = (min(float(low), own), max(float(high), own))
    return {**ends, "accuracy": wilson(int((codes == answered).sum()), len(codes))}


def _ratio(part: Floats, whole: Floats) -> Floats:
    found: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return found

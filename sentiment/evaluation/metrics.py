"""Metrics, intervals and paired tests: pure functions of labels and probabilities."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sentiment.drift.signals import wilson
from sentiment.evaluation.intervals import of_average_precision, of_confusion

if TYPE_CHECKING:
    from sentiment.scorer.decision import Decision

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# A metric's direction where more is worse; every other metric is better when higher.
LOWER_IS_BETTER = frozenset(
    {"log_loss", "brier_score", "ece", "false_positives", "false_negatives"}
)


# What another label changes; the rest is of the probabilities alone.
_OF_LABELS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1_score")
# With more classes the cells of a resampled confusion matrix are too many to draw at every look.
_FEW_CLASSES = 100
_MANY_CLASSES, _LOWEST = 20, 10


def leading(names: Iterable[str], *, rare: bool) -> list[str]:
    """Return metrics in the order in which people read them.

    Parameters
    ----------
    names : iterable of str
    rare : bool
        Whether classes are `unequal` (`sentiment.data.labels`): then those come first that always
        giving the most frequent label does not raise. Else the mean recall is the accuracy, and is
        left out.
    """
    if not rare:
        return [name for name in names if not name.startswith("balanced_accuracy")]
    first = ("average_precision", "balanced_accuracy", "f1_score", "precision", "recall", "roc_auc")
    known = dict.fromkeys(names)
    return [*(name for name in first if name in known), *(n for n in known if n not in first)]


def is_bound(name: str, names: Container[str]) -> bool:
    """Tell whether a name is an end of another's interval."""
    return any(name.endswith(end) and name.removesuffix(end) in names for end in ("_low", "_high"))


def figure(metrics: Mapping[str, float], split: str, name: str) -> str:
    """Return a metric of a split as people read it, with its interval where it has one."""
    value = metrics.get(f"{split}_{name}")
    if value is None:
        return "-"
    if isinstance(value, int) or name.endswith(("positives", "negatives")):
        return f"{value:,.0f}"
    low, high = metrics.get(f"{split}_{name}_low"), metrics.get(f"{split}_{name}_high")
    if low is not None and high is not None:
        return f"{value:.4f} [{low:.4f}, {high:.4f}]"
    return f"{value:.4f}"


def of_people(metrics: Mapping[str, float], *, rare: bool) -> tuple[list[str], str | None]:
    """Return the metrics that people read, in their order.

    Parameters
    ----------
    metrics : mapping of str to float
        Of a run.
    rare : bool
        See `leading`.

    Returns
    -------
    names : list of str
        Without their split; those of single classes only where they are few, else of those with
        the lowest F1 on the test split.
    note : str or None
        What was left out.
    """
    every = leading(dict.fromkeys(key.split("_", 1)[1] for key in metrics), rare=rare)
    names = [name for name in every if not is_bound(name, every)]
    scores = [name for name in names if name.startswith("f1_score_")]
    if len(scores) <= _MANY_CLASSES:
        return names, None
    scores.sort(key=lambda name: metrics.get(f"test_{name}", 0.0))
    lowest = {name.removeprefix("f1_score_") for name in scores[:_LOWEST]}
    shown = []
    for name in names:
        match = re.match(r"(?:precision|recall|f1_score)_(.*)", name, re.DOTALL)
        if match is None or match[1] in lowest:
            shown.append(name)
    return shown, f"of {len(scores):,} classes, the {_LOWEST} with the lowest F1 are shown"


def evaluate_both(
    labels: Sequence[str],
    probabilities: Floats,
    classes: Sequence[str],
    *,
    decision: Decision,
    positive_label: str | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Compute every metric, and as ``plain_…`` those that the likeliest labels would have.

    Parameters
    ----------
    labels, probabilities, classes, decision, positive_label, seed
        As of `evaluate`. Where the decision gives the likeliest labels, nothing is plain.
    """
    figures = evaluate(
        labels, probabilities, classes, positive_label=positive_label, decision=decision, seed=seed
    )
    if not decision.changes_labels:
        return figures
    plain = evaluate(labels, probabilities, classes, positive_label=positive_label, seed=seed)
    names = {f"{name}{end}" for name in _OF_LABELS for end in ("", "_low", "_high")}
    return figures | {f"plain_{name}": plain[name] for name in plain if name in names}


def evaluate(
    labels: Sequence[str],
    probabilities: Floats,
    classes: Sequence[str],
    *,
    positive_label: str | None = None,
    decision: Decision | None = None,
    seed: int = 0,
    draws: int = 1000,
) -> dict[str, float]:
    """Compute every metric of a classifier's answers.

    Parameters
    ----------
    labels : sequence of str, length n
        True labels. A label outside ``classes`` counts as a wrong answer.
    probabilities : array of float, shape (n, n_classes)
        Predicted probabilities, columns in the order of ``classes``.
    classes : sequence of str
        The classes that the model knows.
    positive_label : str, optional
        With two classes, precision, recall, F1, ROC AUC and average precision are of this
        class (default: the last one). With more, they are macro averages.
    decision : Decision, optional
        Which label is given; by default the likeliest. With one that withholds answers there are also
        ``coverage`` (share of rows answered) and ``answered_accuracy``; all else is of the
        labels that would be given.
    seed, draws : int
        Of what intervals are drawn from; see `sentiment.evaluation.intervals`.

    Returns
    -------
    dict of str to float
        ``accuracy``, ``balanced_accuracy`` (the mean of the classes' recalls), ``average_precision``
        and, with two classes, ``f1_score``, each with its 95 % interval (``_low``, ``_high``);
        ``precision``, ``recall``, ``roc_auc``, ``log_loss``, ``brier_score``, ``ece`` and, with two classes,
        the four confusion counts; with more, ``precision_<label>``, ``recall_<label>`` and
        ``f1_score_<label>``. A metric that is undefined for these labels (ROC AUC when only
        one class occurs) is left out.

    Raises
    ------
    ValueError
        If there are no rows, or the shapes do not agree.
    """
    names = np.asarray(classes, dtype=object)
    truth = np.asarray(labels, dtype=object)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if len(truth) == 0:
        raise ValueError("there is nothing to evaluate: no labelled rows")
    if probabilities.shape != (len(truth), len(names)):
        raise ValueError(
            f"probabilities have the shape {probabilities.shape}, "
            f"expected ({len(truth)}, {len(names)})"
        )
    index = {name: position for position, name in enumerate(names)}
    codes = np.array([index.get(label, -1) for label in truth])
    likeliest = probabilities.argmax(axis=1)
    changes = decision is not None and decision.changes_labels
    predicted = decision.best(probabilities) if decision and changes else likeliest
    correct = codes == predicted
    low, high = wilson(int(correct.sum()), len(correct))
    result = {"accuracy": float(correct.mean()), "accuracy_low": low, "accuracy_high": high}

    onehot = (codes[:, None] == np.arange(len(names))).astype(np.float64)
    present = np.unique(codes[codes >= 0])
    known = codes >= 0
    recalls = [float((predicted[codes == c] == c).mean()) for c in present]
    if recalls:
        result["balanced_accuracy"] = float(np.mean(recalls))
    positive = index.get(positive_label, 1) if positive_label is not None else 1
    spans = {}
    if len(names) <= _FEW_CLASSES:
        spans = of_confusion(codes, predicted, len(names), positive, seed, draws)
    if len(names) == 2:
        result |= _of_two(codes, predicted, probabilities, positive, spans["f1_score"])
    else:
        result |= _of_many(codes, predicted, probabilities, classes)
    if "balanced_accuracy" in result and "balanced_accuracy" in spans:
        low, high = spans["balanced_accuracy"]
        result["balanced_accuracy_low"], result["balanced_accuracy_high"] = low, high
    chosen = np.where(known, probabilities[np.arange(len(codes)), codes], 0.0)
    result["log_loss"] = float(-np.mean(np.log(np.clip(chosen, np.finfo(np.float64).eps, 1.0))))
    if len(names) == 2:
        # The usual binary Brier score: of one class, in [0, 1].
        result["brier_score"] = float(np.mean((probabilities[:, 1] - onehot[:, 1]) ** 2))
    else:
        result["brier_score"] = float(np.mean(((probabilities - onehot) ** 2).sum(axis=1)))
    result["ece"] = expected_calibration_error(probabilities.max(axis=1), codes == likeliest)
    if decision and decision.withholds:
        sure = ~decision.unsure(probabilities[np.arange(len(codes)), predicted])
        result["coverage"] = float(sure.mean())
        if sure.any():
            result["answered_accuracy"] = float(correct[sure].mean())
    return result


def _of_two(
    codes: Ints,
    predicted: Ints,
    probabilities: Floats,
    positive: int,
    f1_interval: tuple[float, float],
) -> dict[str, float]:
    """Return what is of the positive class of two, and the counts of the confusion matrix."""
    from sklearn import metrics

    is_positive, says_positive = codes == positive, predicted == positive
    tp = int(np.sum(is_positive & says_positive))
    fp = int(np.sum(~is_positive & says_positive))
    fn = int(np.sum(is_positive & ~says_positive))
    found: dict[str, float] = {
        "precision": tp / (tp + fp) if tp + fp else 0.0,
        "recall": tp / (tp + fn) if tp + fn else 0.0,
        "f1_score": 2 * tp / (2 * tp + fp + fn) if tp else 0.0,
    }
    found["f1_score_low"], found["f1_score_high"] = f1_interval
    known = codes >= 0
    if len(np.unique(codes[known])) == 2:
        truth, score = is_positive[known], probabilities[known, positive]
        found["roc_auc"] = float(metrics.roc_auc_score(truth, score))
        precision = float(metrics.average_precision_score(truth, score))
        low, high = of_average_precision(precision, int(is_positive.sum()))
        found["average_precision"] = precision
        found["average_precision_low"], found["average_precision_high"] = low, high
    return found | {
        "true_positives": tp,
        "false_positives": fp,
        "true_negatives": len(codes) - tp - fp - fn,
        "false_negatives": fn,
    }


def _of_many(
    codes: Ints, predicted: Ints, probabilities: Floats, classes: Sequence[str]
) -> dict[str, float]:
    """Return the means over more than two classes, and what is of each."""
    from sklearn import metrics

    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        codes, predicted, labels=np.arange(len(classes)), zero_division=0.0
    )
    found = {
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1_score": float(f1.mean()),
    }
    known = codes >= 0
    present = np.unique(codes[known])
    if len(present) > 1:
        each = [(codes[known] == c, probabilities[known, c]) for c in present]
        for name, score in (
            ("roc_auc", metrics.roc_auc_score),
            ("average_precision", metrics.average_precision_score),
        ):
            found[name] = float(np.mean([score(truth, own) for truth, own in each]))
    for c, name in enumerate(classes):
        found[f"precision_{name}"] = float(precision[c])
        found[f"recall_{name}"] = float(recall[c])
        found[f"f1_score_{name}"] = float(f1[c])
    return found


def expected_calibration_error(confidence: Floats, correct: Bools, n_bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins.

    Parameters
    ----------
    confidence : array of float, shape (n,)
        Probability of the predicted class.
    correct : array of bool, shape (n,)
        Whether the prediction was right.
    n_bins : int
        Number of bins over [0, 1].

    References
    ----------
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    count = np.bincount(bins, minlength=n_bins)
    gap = np.bincount(bins, weights=confidence - correct, minlength=n_bins)
    return float(np.abs(gap).sum() / max(count.sum(), 1))


@dataclass(frozen=True)
class Difference:
    """The accuracy of b minus that of a, its 95 % interval, and the p-value of "they are equal"."""

    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class PairedTest(Difference):
    """Two classifiers on the same rows.

    ``only_a`` and ``only_b`` count the rows that just one of them answers rightly.
    """

    only_a: int
    only_b: int


def paired_test(correct_a: Bools, correct_b: Bools) -> PairedTest:
    """Compare two classifiers' correctness on the same rows by McNemar's exact test.

    Parameters
    ----------
    correct_a, correct_b : array of bool, shape (n,)
        Whether each answered each row rightly.

    Returns
    -------
    PairedTest
        With the two-sided p-value of "both are equally often right".

    References
    ----------
    McNemar, Psychometrika 12, 1947; Dietterich, Neural Computation 10, 1998. The interval: Bonett and
    Price, Journal of Educational and Behavioral Statistics 37, 2012, with a row more that each alone
    answers rightly, so that no difference seen is not taken for none possible.
    """
    if correct_a.shape != correct_b.shape:
        raise ValueError(f"{len(correct_a)} rows cannot be paired with {len(correct_b)}")
    only_a = int(np.sum(correct_a & ~correct_b))
    only_b = int(np.sum(correct_b & ~correct_a))
    n = len(correct_a)
    difference = (only_b - only_a) / n
    a, b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = 1.959964 * float(np.sqrt((a + b - (b - a) ** 2) / (n + 2)))
    low, high = max(b - a - half, -1.0), min(b - a + half, 1.0)
    return PairedTest(
        difference,
        min(low, difference),
        max(high, difference),
        mcnemar(only_a, only_b),
        only_a,
        only_b,
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Parameters
    ----------
    only_a, only_b : int
        Rows that just one of two classifiers answers rightly.
    """
    from scipy.special import bdtr  # scipy.stats takes half a second to import

    # Both tails of a fair coin weigh the same; where they meet, twice one is more than all.
    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def unpaired_test(correct_a: Bools, correct_b: Bools) -> Difference:
    """Compare two classifiers' correctness, each on rows of its own, by Fisher's exact test.

    Parameters
    ----------
    correct_a, correct_b : array of bool, shapes (n,) and (m,)
        Whether each answered its rows rightly.

    References
    ----------
    Newcombe, Statistics in Medicine 17, 1998, method 10, for the interval.
    """
    from scipy.stats import binomtest, fisher_exact

    right = [int(correct.sum()) for correct in (correct_a, correct_b)]
    rows = [len(correct) for correct in (correct_a, correct_b)]
    if not all(rows):
        raise ValueError("there is nothing to compare: no labelled rows")
    a, b = (k / n for k, n in zip(right, rows, strict=True))
    of_a, of_b = (
        binomtest(k, n).proportion_ci(method="wilson") for k, n in zip(right, rows, strict=True)
    )
    p_value = fisher_exact([[k, n - k] for k, n in zip(right, rows, strict=True)]).pvalue
    low = b - a - np.hypot(b - of_b.low, of_a.high - a)
    high = b - a + np.hypot(of_b.high - b, a - of_a.low)
    return Difference(b - a, float(low), float(high), float(p_value))

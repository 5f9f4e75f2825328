"""Choose how probabilities become answers, on rows that the model was not fitted on."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment.data.labels import spellings
from sentiment.errors import UsageError, nearest
from sentiment.groups import CHOICES
from sentiment.scorer.decision import Decision

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Value = Callable[[Floats, Floats, Floats, Floats], Floats]
"""Of true and false positives, false and true negatives: one number per threshold."""

RULES = ("argmax", "threshold", "costs")
METRICS = ("f1", "f2", "f0.5", "balanced_accuracy", "mcc", "recall>=0.9", "precision>=0.9")
VALIDATION, FOLDS = CHOICES["decision.tuned_on"]
WORDS = {VALIDATION: "validation rows", FOLDS: "training rows, out of fold"}
"""What people call the rows that a decision was chosen on."""
PROMISE = 0.95  # confidence of what `max_error` promises
_LEVELS = 50  # shares of answers that are tried for it
_ROUNDS = 3  # over the thresholds of many labels
_LEAST = 1e-6
_FBETA = re.compile(r"f(\d+(?:\.\d+)?)")
_BOUND = re.compile(r"(recall|precision)\s*>=\s*(\d*\.?\d+)")


@dataclass(frozen=True)
class Rule:
    """What the config asks for; see ``configs/decision``."""

    rule: str = "argmax"
    metric: str | None = None
    threshold: float | None = None
    thresholds: Mapping[Any, float] = field(default_factory=dict)
    costs: Mapping[Any, Any] = field(default_factory=dict)
    abstain: Mapping[str, float | None] = field(default_factory=dict)
    tuned_on: str | None = None

    @property
    def tuned(self) -> bool:
        """Whether rows are needed to choose it."""
        fixed = self.threshold is not None or self.thresholds
        return (self.rule == "threshold" and not fixed) or any(
            self.abstain.get(key) is not None for key in ("max_error", "coverage")
        )


@dataclass(frozen=True)
class Chosen:
    """A decision and what was seen while it was chosen.

    Attributes
    ----------
    decision : Decision
    rows : str
        On which it was chosen.
    curve : dict of str to list of float
        ``threshold`` and the metric, where one threshold was tuned; else empty.
    tradeoff : dict of str to list of float
        ``coverage``, ``error`` and ``confidence``: what answering only the surest costs and gains.
    """

    decision: Decision
    curve: dict[str, list[float]]
    tradeoff: dict[str, list[float]]
    rows: str = VALIDATION


def check(rule: Rule) -> None:
    """Refuse what no data could make right, before any work.

    Raises
    ------
    UsageError
        Names the key and what it takes.
    """
    if rule.rule not in RULES:
        raise UsageError(
            f"decision.rule={rule.rule}: one of {', '.join(RULES)}{nearest(rule.rule, RULES)}"
        )
    if rule.tuned_on not in (None, VALIDATION, FOLDS):
        raise UsageError(
            f"decision.tuned_on={rule.tuned_on}: {VALIDATION}, {FOLDS} or null"
            f"{nearest(rule.tuned_on, (VALIDATION, FOLDS))}"
        )
    if rule.rule == "threshold" and rule.threshold is None and not rule.thresholds:
        _metric(rule.metric or "")
    if rule.threshold is not None and not 0.0 < rule.threshold < 1.0:
        raise UsageError(f"decision.threshold={rule.threshold:g}: a number between 0 and 1")
    for label, value in rule.thresholds.items():
        if not 0.0 < value <= 1.0:
            raise UsageError(
                f"decision.thresholds.{label}={value:g}: a number above 0 and at most 1"
            )
    asked = [key for key, value in rule.abstain.items() if value is not None]
    if len(asked) > 1:
        raise UsageError(f"decision.abstain: give one of {', '.join(asked)}, not several")
    for key in asked:
        value = float(rule.abstain[key] or 0.0)
        if not 0.0 < value <= 1.0 or (key == "max_error" and value == 1.0):
            raise UsageError(f"decision.abstain.{key}={value:g}: a share between 0 and 1")


def choose(
    rule: Rule,
    labels: Sequence[str],
    probabilities: Floats,
    classes: Sequence[str],
    *,
    positive_label: str | None = None,
    factors: Mapping[str, float] | None = None,
    rows: str = VALIDATION,
) -> Chosen:
    """Choose a decision.

    Parameters
    ----------
    rule : Rule
    labels : sequence of str, length n
        True labels of rows that the model was not fitted on, and that no test uses.
    probabilities : float64[n, n_classes]
    classes : sequence of str
    positive_label : str, optional
        With two classes, whose threshold and whose errors are meant (default: the last).
    factors : mapping of str to float, optional
        How much more the rows of each class counted while the model learned. The likeliest label of
        the weighed classes is given, unless a rule says otherwise: an error on a class costs so much more.
    rows : {'validation', 'folds'}
        What the rows are: those of the validation split, or training rows by models without them.

    Raises
    ------
    UsageError
        The rule does not fit the labels, or a target cannot be reached: with the best that can.
    """
    check(rule)
    names = list(classes)
    codes = np.array([names.index(label) for label in labels], dtype=np.int64)
    curve: dict[str, list[float]] = {}
    thresholds: list[float] | None = None
    costs: list[list[float]] | None = None
    if rule.rule == "costs":
        costs = _costs(rule.costs, names, positive_label)
    elif rule.rule == "threshold" and rule.thresholds:
        thresholds = _named(rule.thresholds, names)
    elif rule.rule == "threshold" and len(names) == 2:
        positive = names.index(positive_label) if positive_label in names else 1
        value = rule.threshold
        if value is None:
            value, curve = _tune(rule.metric or "", codes == positive, probabilities[:, positive])
        thresholds = [1.0 - value, value] if positive == 1 else [value, 1.0 - value]
    elif rule.rule == "threshold":
        if rule.threshold is not None:
            raise UsageError(
                "decision.threshold is for two labels; with more: +decision.thresholds.LABEL=0.3"
            )
        thresholds = _tune_many(rule.metric or "", codes, probabilities)
    elif factors and len(set(factors.values())) > 1:
        thresholds = _weighed([factors[name] for name in names])
    decision = Decision(thresholds, costs)
    likeliest = probabilities.argmax(axis=1)
    best = decision.best(probabilities) if decision else likeliest
    confidence, wrong = probabilities[np.arange(len(codes)), best], best != codes
    least = _min_confidence(rule.abstain, confidence, wrong)
    changed = best != likeliest
    if changed.any() and least and not (changed & (confidence >= least)).any():
        log.warning(
            "decision.abstain withholds every answer (below %.3g) that decision.rule=%s gives in place "
            "of the likeliest label: together they answer as decision.rule=argmax would",
            least, rule.rule,
        )  # fmt: skip
    return Chosen(Decision(thresholds, costs, least), curve, tradeoff(confidence, wrong), rows)


def tradeoff(confidence: Floats, wrong: NDArray[np.bool_]) -> dict[str, list[float]]:
    """Return share answered, error of the answered, and least confidence, for 100 shares."""
    n = len(confidence)
    if not n:
        return {}
    order = np.argsort(-confidence, kind="stable")
    errors = np.cumsum(wrong[order])
    ends = np.unique(np.ceil(np.linspace(0.01, 1.0, 100) * n).astype(int)) - 1
    return {
        "coverage": ((ends + 1) / n).tolist(),
        "error": (errors[ends] / (ends + 1)).tolist(),
        "confidence": confidence[order][ends].tolist(),
    }


def _metric(words: str) -> Value:
    """Return the function of a metric's name."""
    fbeta, bound = _FBETA.fullmatch(words), _BOUND.fullmatch(words)
    with np.errstate(all="ignore"):
        if fbeta is not None:
            square = float(fbeta[1]) ** 2
            return lambda tp, fp, fn, tn: _ratio(
                (1 + square) * tp, (1 + square) * tp + square * fn + fp
            )
        if words == "balanced_accuracy":
            return lambda tp, fp, fn, tn: (_ratio(tp, tp + fn) + _ratio(tn, tn + fp)) / 2
        if words == "mcc":
            return lambda tp, fp, fn, tn: _ratio(
                tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
            )
        if bound is not None and 0.0 < float(bound[2]) <= 1.0:
            kept, least = bound[1], float(bound[2])

            def bounded(tp: Floats, fp: Floats, fn: Floats, _tn: Floats) -> Floats:
                recall, precision = _ratio(tp, tp + fn), _ratio(tp, tp + fp)
                held, other = (recall, precision) if kept == "recall" else (precision, recall)
                return np.where(held >= least, other, -1.0)

            return bounded
    raise UsageError(
        f"decision.metric={words}: one of {', '.join(METRICS)}{nearest(words, METRICS)}"
    )


def _ratio(above: Floats, below: Floats) -> Floats:
    result: Floats = np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)
    return result


def _tune(
    metric: str, positive: NDArray[np.bool_], probability: Floats
) -> tuple[float, dict[str, list[float]]]:
    """Return the threshold at which a metric is best, and the metric at each."""
    value = _metric(metric)
    for side, name in ((positive, "positive"), (~positive, "other")):
        if not side.any():
            raise UsageError(
                f"decision.metric={metric}: no validation row has the {name} label; "
                "data.val_size=0.3, or decision.tuned_on=folds"
            )
    order = np.argsort(-probability, kind="stable")
    sorted_, hits = probability[order], positive[order]
    # The last row of each group of equal probabilities: a threshold parts no equals.
    ends = np.flatnonzero(np.append(sorted_[1:] != sorted_[:-1], True))
    tp = np.cumsum(hits)[ends].astype(np.float64)
    fp = ends + 1.0 - tp
    fn, tn = positive.sum() - tp, (~positive).sum() - fp
    values = value(tp, fp, fn, tn)
    best = float(values.max())
    if best < 0:
        kept = metric.split(">=", maxsplit=1)[0].strip()
        reached = (_ratio(tp, tp + fn) if kept == "recall" else _ratio(tp, tp + fp)).max()
        raise UsageError(
            f"decision.metric={metric}: no threshold reaches it on these rows; "
            f"the most is {kept}>={reached:.3f}"
        )
    # Between neighbours, so that a rounding turns no answer round; of equals the usual one.
    below = np.append(sorted_[ends[:-1] + 1], 0.0)
    between = np.clip((sorted_[ends] + below) / 2, _LEAST, 1 - _LEAST)
    tied = between[values >= best - 1e-12]
    chosen = float(tied[np.argmin(np.abs(tied - 0.5))])
    few = np.unique(np.linspace(0, len(ends) - 1, 200).astype(int))
    name = metric if values.min() >= 0 else metric + ", else -1"
    return chosen, {"threshold": between[few].tolist(), name: values[few].tolist()}


def _tune_many(metric: str, codes: Ints, probabilities: Floats) -> list[float]:
    """Return one threshold per label: each in turn where the mean over labels is best."""
    value = _metric(metric)
    if ">=" in metric:
        raise UsageError(
            f"decision.metric={metric} is for two labels; with more: f1, balanced_accuracy, mcc"
        )
    n_classes = probabilities.shape[1]
    onehot = codes[:, None] == np.arange(n_classes)

    def mean(thresholds: Floats) -> float:
        says = (probabilities / thresholds).argmax(axis=1)[:, None] == np.arange(n_classes)
        tp, fp = (onehot & says).sum(0), (~onehot & says).sum(0)
        fn = (onehot & ~says).sum(0)
        tn = len(codes) - tp - fp - fn
        parts = value(*(part.astype(np.float64) for part in (tp, fp, fn, tn)))
        return float(parts.mean())

    thresholds = np.full(n_classes, 0.5)
    best = mean(thresholds)
    steps = np.geomspace(0.1, 1.0, 19)
    for _ in range(_ROUNDS):
        before = best
        for number in range(n_classes):
            for step in steps:
                tried = thresholds.copy()
                tried[number] = step
                if (found := mean(tried)) > best + 1e-12:
                    best, thresholds = found, tried
        if best == before:
            break
    return [float(t) for t in thresholds]


def _weighed(factors: Sequence[float]) -> list[float]:
    """Return the thresholds at which the label is the likeliest of classes weighed so."""
    if len(factors) == 2:
        share = factors[0] / (factors[0] + factors[1])
        return [1.0 - share, share]
    return [min(factors) / factor for factor in factors]


def as_label(key: Any, names: Collection[str]) -> str:
    """Return the label that a key of the config means: YAML reads ``1`` and ``true`` as no text."""
    return next((own for own in (str(key), *spellings(key)) if own in names), spellings(key)[0])


def _named(given_by: Mapping[Any, float], names: list[str]) -> list[float]:
    given = {as_label(key, names): value for key, value in given_by.items()}
    for label in given:
        if label not in names:
            raise UsageError(
                f"decision.thresholds: no label {label!r}; there are {', '.join(names)}"
                f"{nearest(str(label), names)}"
            )
    if len(names) == 2 and len(given) == 1:
        ((label, value),) = given.items()
        if value == 1.0:
            raise UsageError(f"decision.thresholds.{label}=1: with two labels, below 1")
        return [value if name == label else 1.0 - value for name in names]
    missing = [name for name in names if name not in given]
    if missing:
        raise UsageError(f"decision.thresholds: none for {', '.join(missing)}")
    try:
        return list(Decision([float(given[name]) for name in names]).thresholds or ())
    except ValueError as error:
        raise UsageError(f"decision.{error}") from None


def _costs(
    given: Mapping[Any, Any], names: list[str], positive_label: str | None
) -> list[list[float]]:
    """Return ``costs[truth][answer]`` of what the config says."""
    given = {
        as_label(key, names): {as_label(answer, names): cost for answer, cost in value.items()}
        if isinstance(value, Mapping)
        else value
        for key, value in given.items()
    }
    n = len(names)
    matrix = [[0.0 if a == b else 1.0 for b in range(n)] for a in range(n)]
    errors = {"false_positive", "false_negative"}
    for key, value in given.items():
        if key in errors and not isinstance(value, Mapping):
            if n != 2 and value == 1:
                continue
            if n != 2:
                raise UsageError(
                    f"decision.costs.{key} is for two labels; with more: "
                    "+decision.costs.TRUTH={ANSWER: 5}"
                )
            positive = names.index(positive_label) if positive_label in names else 1
            truth = positive if key == "false_negative" else 1 - positive
            matrix[truth][1 - truth] = _cost(value)
            continue
        for label in (key, *(value if isinstance(value, Mapping) else ())):
            if label not in names:
                known = [*names, *errors]
                raise UsageError(
                    f"decision.costs: no label {label!r}; there are {', '.join(names)}"
                    f"{nearest(str(label), known)}"
                )
        if not isinstance(value, Mapping):
            raise UsageError(f"decision.costs.{key}: write {{ANSWER: cost}}")
        for answer, cost in value.items():
            matrix[names.index(key)][names.index(answer)] = _cost(cost)
    return matrix


def _cost(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"decision.costs: {value!r} is no number")
    return float(value)


def _min_confidence(
    abstain: Mapping[str, float | None], confidence: Floats, wrong: NDArray[np.bool_]
) -> float:
    if (fixed := abstain.get("confidence")) is not None:
        return float(fixed)
    if (share := abstain.get("coverage")) is not None:
        return _least_of(confidence, math.ceil(share * len(confidence)))
    if (error := abstain.get("max_error")) is not None:
        return _promised(float(error), confidence, wrong)
    return 0.0


def _least_of(confidence: Floats, n: int) -> float:
    """Return a confidence that the n surest answers reach, and as few others as may be."""
    return _below(float(np.sort(confidence)[::-1][max(n, 1) - 1]), confidence)


def _below(value: float, confidence: Floats) -> float:
    """Return the middle to the next lower confidence, so that a rounding withholds nothing; 0 below all."""
    lower = confidence[confidence < value]
    return (value + float(lower.max())) / 2 if len(lower) else 0.0


def _promised(error: float, confidence: Floats, wrong: NDArray[np.bool_]) -> float:
    """Return the least confidence at which the error of what is answered is below a bound.

    Shares of the surest answers are tried, each by an exact binomial test of "the error is not
    below"; the levels share what may be wrong between them (Bonferroni), so that the promise holds
    for the largest that passes.

    References
    ----------
    Angelopoulos et al., "Learn then Test", arXiv 2110.01052, 2021; Clopper and Pearson,
    Biometrika 26, 1934.
    """
    from scipy.special import bdtr, betaincinv

    n = len(confidence)
    allowed = (1 - PROMISE) / _LEVELS
    ranked = np.sort(confidence)[::-1]
    bounds = []
    for level in range(_LEVELS, 0, -1):
        least = ranked[math.ceil(level / _LEVELS * n) - 1]
        answered = confidence >= least
        errors, count = int(wrong[answered].sum()), int(answered.sum())
        if bdtr(errors, count, error) <= allowed:
            return _below(float(least), confidence)
        upper = 1.0 if errors == count else betaincinv(errors + 1, count - errors, 1 - allowed)
        bounds.append((float(upper), count / n))
    best, share = min(bounds)
    raise UsageError(
        f"decision.abstain.max_error={error:g}: {n} rows cannot show it with "
        f"{PROMISE:.0%} confidence; the least that they show is {best:.3f}, answering {share:.0%}"
    )

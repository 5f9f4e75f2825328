"""Cross-validation: how good a config is on average over folds, each learned without the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.data.split import Split
from sentiment.errors import DataError, UsageError
from sentiment.training.fitting import learn_in_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from sentiment.data.loading import Data
    from sentiment.evaluation.decisions import Chosen, Rule
    from sentiment.scorer.decision import Decision
    from sentiment.training.cache import FeatureCache
    from sentiment.training.judging import Metric
    from sentiment.training.weighing import Weighing
    from sentiment.vectorizers.block_matrix import BlockMatrix
    from sentiment.vectorizers.making import Progress

_COUNTS = ("true_positives", "false_positives", "true_negatives", "false_negatives")


_FOLDS = 5  # in which a decision is chosen where ``cv`` says nothing


def check_decision(data: Data, *, time_column: str | None) -> int:
    """Return in how many folds a decision is chosen; see `check_asked` and `check_folds`."""
    counts = Counter(data.train_labels).values()
    n_folds = max(2, min([_FOLDS, *counts]))
    try:
        check_asked(n_folds, streaming=False, time_column=time_column)
        check_folds(n_folds, data)
    except (UsageError, DataError) as error:
        words = str(error).replace("cv=null", "data.val_size=0.2 decision.tuned_on=validation")
        raise UsageError(words.replace(f"cv={n_folds}", "decision.tuned_on=folds")) from error
    return n_folds


def check_asked(n_folds: int, *, streaming: bool, time_column: str | None) -> None:
    """Refuse folds that no rows could be dealt into, before any is read.

    Parameters
    ----------
    n_folds : int
    streaming, time_column
        Of the data's settings.

    Raises
    ------
    UsageError
        If the number is none, or what is asked for does not go together.
    """
    if n_folds < 2:
        raise UsageError(f"cv={n_folds}: give 2 folds or more, or cv=null")
    if streaming:
        raise UsageError(f"cv={n_folds} needs the rows in memory: data.streaming=false, or cv=null")
    if time_column is not None:
        raise UsageError(
            f"cv={n_folds} would learn from rows newer than those it is judged on, against "
            f"data.time_column={time_column}: leave one out"
        )


def check_folds(n_folds: int, data: Data) -> None:
    """Refuse folds that cannot be made of these rows.

    Parameters
    ----------
    n_folds : int
    data : Data
        Pooled: see `pooled`.

    Raises
    ------
    UsageError
        If these rows cannot be dealt.
    DataError
        If there are too few rows of a label, or too few groups.
    """
    if data.stream is not None and data.stream.grouped:
        raise UsageError(
            f"cv={n_folds} keeps the groups of data.group_column together, for which all rows must fit "
            "into data.memory; else cv=null"
        )
    if data.splits.unlabelled:
        raise UsageError(
            f"cv={n_folds} judges models of labelled rows alone: cv=null, or data.unlabelled=null"
        )
    rows = data.splits.train
    rarest, count = min(Counter(data.train_labels).items(), key=lambda item: (item[1], item[0]))
    if count < n_folds:
        raise DataError(
            f"cv={n_folds} needs {n_folds} rows of each label, {rarest!r} has {count}: "
            f"give fewer folds ({f'cv={count}' if count > 1 else 'cv=null'}) or more rows"
        )
    if rows.groups is not None:
        of_label: dict[str, set[str]] = {}
        for label, group in zip(rows.labels, rows.groups, strict=True):
            of_label.setdefault(label, set()).add(group)
        rarest, found = min(
            ((label, len(groups)) for label, groups in of_label.items()),
            key=lambda item: (item[1], item[0]),
        )
        if found < n_folds:
            raise DataError(
                f"cv={n_folds} needs {n_folds} groups of each label, {rarest!r} has {found}: "
                f"give fewer folds ({f'cv={found}' if found > 1 else 'cv=null'}) or more groups"
            )


def pooled(data: Data) -> Data:
    """Return the data with the validation rows among the training rows, as folds want them."""
    splits = data.splits
    if (data.stream is not None and not data.in_blocks) or not len(splits.val):
        return data
    report = splits.report | {
        "rows_train": splits.report["rows_train"] + len(splits.val), "rows_val": 0,
    }  # fmt: skip
    without = replace(splits, val=Split([], []), report=report)
    if data.stream is not None:
        stream = data.stream.joined(without, splits.val)
        return replace(data, splits=stream.splits, stream=stream)
    return replace(data, splits=replace(without, train=splits.train.joined(splits.val)))


@dataclass(frozen=True)
class OutOfFold:
    """What models answer to rows that they were not fitted on.

    Attributes
    ----------
    labels : sequence of str
        Of the rows.
    classes : list of str
        In the order of probabilities.
    probabilities : float64[rows, classes]
    folds : list of ndarray of int64
        Positions of the rows of each fold.
    """

    labels: Sequence[str]
    classes: list[str]
    probabilities: NDArray[np.float64]
    folds: list[NDArray[np.int64]]


def out_of_fold(
    pipeline: Pipeline,
    features: Any,
    data: Data,
    cache: FeatureCache,
    progress: Progress,
    *,
    n_folds: int,
    weighing: Weighing,
    seed: int,
) -> OutOfFold:
    """Fit the classifier without each fold, and ask it about that fold.

    Features are shared: vocabulary and document frequencies are those of all rows (they see no
    label), so that folds cost a fit of the classifier and no more.

    Parameters
    ----------
    pipeline : Pipeline
        Its last step is cloned for every fold.
    features : csr_matrix of float, shape (rows, columns), or BlockMatrix
        Of all training rows.
    data : Data
        Rows that share a group stand in one fold.
    cache : FeatureCache
        Gives place for a fold's blocks.
    progress : callable
        Told of each fold's blocks, and of the products with them.
    n_folds : int
    weighing : Weighing
        What rows count where they are learned from; those of the fold are as they are.
    seed : int
        Of the folds.

    Raises
    ------
    UsageError
        If the classifier refuses the rows, or gives no probabilities.
    """
    from sklearn.base import clone

    labels, classes, weights = data.train_labels, data.splits.classes, weighing.weights_of(data)
    probabilities = np.zeros((len(labels), len(classes)))
    folds: list[NDArray[np.int64]] = []
    for train, test in deal(labels, data.splits.train.groups, n_folds, seed):
        classifier = clone(pipeline[-1])
        some = None if weights is None else weights[train]
        try:
            if data.in_blocks:
                keep = np.zeros(len(labels), dtype=bool)
                keep[train] = True
                names = np.array(labels, dtype=object)[train]
                with cache.beside(features) as place:
                    told = _of_fold(f"fold {len(folds) + 1} of {n_folds}", progress)
                    X = features.take(keep, place, partial(told, "rows"))
                    learn_in_blocks(classifier, X, names, some, told)
                weighing.restore(classifier)
            else:
                rows = data.splits.train.take(train.tolist())
                weighing.fit(classifier, features[train], rows, classes, some)
        except ValueError as error:
            raise UsageError(f"model: {' '.join(str(error).split())}") from error
        if not hasattr(classifier, "predict_proba"):
            raise UsageError(f"model: {type(classifier).__name__} gives no probabilities")
        if data.in_blocks:
            for some_rows, X in _by_block(features, test):
                probabilities[some_rows] = classifier.predict_proba(X)
        else:
            probabilities[test] = classifier.predict_proba(features[test])
        folds.append(test)
    return OutOfFold(labels, list(classes), probabilities, folds)


def judged(
    pipeline: Pipeline,
    features: Any,
    data: Data,
    cache: FeatureCache,
    progress: Progress,
    *,
    n_folds: int,
    weighing: Weighing,
    rule: Rule,
    seed: int,
    own: Mapping[str, Metric],
) -> tuple[Chosen, dict[str, float], list[dict[str, float]]]:
    """Choose the decision on folds, and say how good the config is over them.

    Parameters
    ----------
    pipeline, features, data, cache, progress, n_folds, weighing, seed
        As for `out_of_fold`.
    rule : Rule
        Of the decision.
    own : mapping of str to Metric
        From `sentiment.training.judging.own_metrics`.

    Returns
    -------
    chosen : Chosen
    metrics : dict of str to float
        Of all folds: see `figures_of`. Empty where validation rows have figures of their own.
    folds : list of dict of str to float
        Of each.
    """
    from sentiment.evaluation import decisions

    held = out_of_fold(
        pipeline, features, data, cache, progress, n_folds=n_folds, weighing=weighing, seed=seed
    )
    positive_label = data.splits.positive_label
    chosen = decisions.choose(
        rule, held.labels, held.probabilities, held.classes,
        positive_label=positive_label, factors=weighing.factors, rows=decisions.FOLDS,
    )  # fmt: skip
    metrics, each = figures_of(
        held, chosen.decision, positive_label=positive_label, seed=seed, own=own
    )
    return chosen, {} if len(data.splits.val) else metrics, each


def _of_fold(name: str, progress: Progress) -> Progress:
    return lambda step, done, of: progress(f"{name}, {step}", done, of)


def _by_block(X: BlockMatrix, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """Yield rows and their features, those of a block at a time."""
    of_block = np.searchsorted(X.starts, rows, side="right") - 1
    for number in range(X.n_blocks):
        some = rows[of_block == number]
        if len(some):
            yield some, X.block(number)[some - X.starts[number]]


def figures_of(
    found: OutOfFold,
    decision: Decision,
    *,
    positive_label: str | None,
    seed: int,
    own: Mapping[str, Metric],
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Judge what was answered out of fold.

    Parameters
    ----------
    found : OutOfFold
    decision : Decision
        Which labels are given; those of the likeliest stand beside them as ``val_plain_…``.
    positive_label : str, optional
    seed : int
        Of intervals.
    own : mapping of str to Metric
        From `sentiment.training.judging.own_metrics`.

    Returns
    -------
    metrics : dict of str to float
        ``val_<metric>``: the mean over folds (counts: the sum), with ``val_<metric>_low`` and
        ``_high``: a 95 % interval by the corrected resampled t-test of Nadeau and Bengio,
        Machine Learning 52, 2003 (folds share training rows, so that their spread alone is too
        small).
    folds : list of dict of str to float
        The metrics of each.
    """
    from sentiment.evaluation.metrics import evaluate_both, is_bound
    from sentiment.training.judging import own_figures

    folds = []
    for fold in found.folds:
        labels, probabilities = [found.labels[i] for i in fold], found.probabilities[fold]
        figures = evaluate_both(
            labels,
            probabilities,
            found.classes,
            positive_label=positive_label,
            decision=decision,
            seed=seed,
        )
        folds.append(figures | own_figures(own, labels, probabilities, found.classes))
    metrics = {}
    for name in folds[0]:
        if is_bound(name, folds[0]) or any(name not in fold for fold in folds):
            continue
        values = [float(fold[name]) for fold in folds]
        if name in _COUNTS:
            metrics[f"val_{name}"] = sum(values)
            continue
        low, high = interval(values)
        metrics |= {f"val_{name}": float(np.mean(values))}
        metrics |= {f"val_{name}_low": low, f"val_{name}_high": high}
    return metrics, folds


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the corrected 95 % interval of a mean over folds; see `figures_of`."""
    from scipy.stats import t

    n = len(values)
    spread = float(np.std(values, ddof=1)) * np.sqrt(1 / n + 1 / (n - 1))
    half = float(t.ppf(0.975, n - 1)) * spread
    mean = float(np.mean(values))
    return mean - half, mean + half


def deal(
    labels: Sequence[str], groups: Sequence[str] | None, n_folds: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield which rows each fold learns from, and which it is judged on.

    Parameters
    ----------
    labels : sequence of str
    groups : sequence of str, optional
        Of the same rows.
    n_folds : int
    seed : int

    Yields
    ------
    learned, judged : ndarray of int64
        Positions of rows; every row is judged once, a group stands on one side.

    Raises
    ------
    DataError
        If groups leave a fold empty, or without a label to learn.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    names = np.asarray(labels, dtype=str)
    if groups is None:
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        yield from folds.split(names, names)
        return
    _, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    grouped = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for number, (train, test) in enumerate(grouped.split(names, names, codes), start=1):
        if missing := sorted(set(names) - set(names[train])):
            raise DataError(
                f"cv={n_folds}: fold {number} leaves no training row of {str(missing[0])!r}, all "
                "are in few groups: give fewer folds or more groups"
            )
        if not len(test):
            raise DataError(f"cv={n_folds}: fold {number} is empty: give fewer folds")
        yield train, test

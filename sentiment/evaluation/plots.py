"""Figures of a run, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentiment.evaluation.decisions import Chosen
    from sentiment.scorer.decision import Decision

_BLUE, _ORANGE, _GREY = "#2b6cb0", "#c05621", "#a0aec0"

DECISION = "decision.png"  # that `save_decision` draws
EVALUATION = "evaluation.png"  # the artifact of a run that `save_evaluation` draws


def save_evaluation(
    path: Path,
    labels: Sequence[str],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    *,
    positive_label: str | None = None,
    decision: Decision | None = None,
) -> None:
    """Draw what a run's test split shows, four panels on one page.

    Parameters
    ----------
    path : Path
        The PNG to write.
    labels : sequence of str, length n
        True labels.
    probabilities : array of float, shape (n, n_classes)
        Columns in the order of ``classes``.
    classes : sequence of str
    positive_label : str, optional
        With two classes, whose ROC curve is drawn (default: the last).
    decision : Decision, optional
        Which labels the confusion matrix counts; by default the likeliest.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    (top_left, top_right), (bottom_left, bottom_right) = figure.subplots(2, 2)
    truth = np.array([list(classes).index(label) for label in labels])
    predicted = probabilities.argmax(axis=1)
    confidence, correct = probabilities.max(axis=1), predicted == truth
    given = predicted if decision is None else decision.best(probabilities)
    _confusion(top_left, truth, given, classes)
    _roc(top_right, truth, probabilities, classes, positive_label)
    _reliability(bottom_left, confidence, correct)
    _confidences(bottom_right, confidence, correct)
    figure.savefig(path)


def save_decision(path: Path, chosen: Chosen) -> None:
    """Draw the metric against the threshold, and the error against the share that is answered.

    Parameters
    ----------
    path : Path
        The PNG to write.
    chosen : Chosen
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from sentiment.evaluation.decisions import WORDS

    both = [part for part in (chosen.curve, chosen.tradeoff) if part]
    if not both:
        return
    figure = Figure(figsize=(5.5 * len(both), 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, part in zip(figure.subplots(1, len(both), squeeze=False)[0], both, strict=True):
        (x, places), (y, values) = list(part.items())[:2]
        axes.plot(places, values, color=_BLUE)
        axes.set(xlabel=f"{x} on {WORDS[chosen.rows]}", ylabel=y, xlim=(0, 1))
        mark = None
        if part is chosen.curve:
            mark = places[int(np.argmax(values))]
            axes.axvline(0.5, color=_GREY, linestyle=":", label="0.5")
        elif chosen.decision.withholds:
            answered = ~chosen.decision.unsure(np.array(part["confidence"]))
            mark = places[int(answered.sum()) - 1] if answered.any() else None
        if mark is not None:
            axes.axvline(mark, color=_ORANGE, label=f"chosen: {mark:.3g}")
            axes.legend()
    figure.savefig(path)


def save_search(
    path: Path,
    columns: Mapping[str, Sequence[str]],
    values: Sequence[float],
    objective: str,
    *,
    maximize: bool,
) -> None:
    """Draw what a search tried: a scatter plot of one key, parallel coordinates of more.

    Parameters
    ----------
    path : Path
        The PNG to write.
    columns : mapping of str to sequence of str
        The searched keys with each job's value.
    values : sequence of float
        Each job's objective.
    objective : str
        Its name.
    maximize : bool
        Whether the highest value is the best; it is drawn in orange.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(max(7.0, 2.2 * (len(columns) + 1)), 4.5), dpi=110, layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    best = int(np.argmax(values) if maximize else np.argmin(values))
    if len(columns) == 1:
        ((key, words),) = columns.items()
        places, ticks, labels = _scale(words)
        axes.scatter(places, values, color=_BLUE, alpha=0.8)
        axes.scatter(places[best], values[best], color=_ORANGE, zorder=3, label=words[best])
        axes.set_xticks(ticks, labels)
        axes.set(xlabel=key, ylabel=objective)
        axes.legend(title="best")
    else:
        scales = [_scale(words) for words in columns.values()]
        low, high = min(values), max(values)
        marks = np.linspace(low, high, 5)
        spread = (high - low) or 1.0
        scales.append(
            ((np.array(values) - low) / spread, (marks - low) / spread, [f"{m:.4g}" for m in marks])
        )
        x = np.arange(len(scales))
        for row in [i for i in range(len(values)) if i != best] + [best]:
            y = [places[row] for places, _, _ in scales]
            axes.plot(
                x, y, color=_ORANGE if row == best else _BLUE,
                alpha=1.0 if row == best else 0.45, linewidth=2.2 if row == best else 1.0,
            )  # fmt: skip
        for position, (_, ticks, labels) in enumerate(scales):
            axes.axvline(position, color=_GREY, linewidth=0.8)
            for tick, label in zip(ticks, labels, strict=True):
                axes.annotate(f" {label}", (position, tick), fontsize=8, va="center", color="black")
        axes.set_xticks(x, [*(key.rsplit(".", 1)[-1] for key in columns), objective])
        axes.set_yticks([])
    figure.savefig(path)


def _scale(words: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Return positions in [0, 1] of values, and ticks with labels: numbers by size, words in order."""
    distinct = list(dict.fromkeys(words))
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.array([], dtype=np.float64)
    if not len(numbers) or not np.isfinite(numbers).all():
        span = max(len(distinct) - 1, 1)
        places = np.array([distinct.index(word) / span for word in words])
        return places, np.arange(len(distinct)) / span, [word[:24] for word in distinct]
    low, high = numbers.min(), numbers.max()
    logarithmic = low > 0 and high / low >= 20
    scaled = np.log(numbers) if logarithmic else numbers
    spread = (scaled.max() - scaled.min()) or 1.0
    places = (scaled - scaled.min()) / spread
    chosen = np.unique(places)
    if len(chosen) > 6:
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, 6).astype(int))]
    labels = [f"{numbers[int(np.argmin(np.abs(places - place)))]:.4g}" for place in chosen]
    return places, chosen, labels


def _confusion(
    axes: Any, truth: NDArray[np.int_], predicted: NDArray[np.intp], classes: Sequence[str]
) -> None:
    size = len(classes)
    counts = np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if size <= 12:
        for row in range(size):
            for column in range(size):
                axes.text(
                    column,
                    row,
                    f"{counts[row, column]:,}\n{shares[row, column]:.1%}",
                    ha="center",
                    va="center",
                    color="white" if shares[row, column] > 0.5 else "black",
                    fontsize=10 if size < 6 else 6,
                )
        axes.set_xticks(range(size), classes, rotation=0 if size < 4 else 45)
        axes.set_yticks(range(size), classes)
    axes.set(title="Confusion (share of each true class)", xlabel="predicted", ylabel="true")


def _roc(
    axes: Any,
    truth: NDArray[np.int_],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    positive_label: str | None,
) -> None:
    from sklearn.metrics import roc_curve

    if len(classes) == 2:
        shown = [list(classes).index(positive_label) if positive_label is not None else 1]
    else:
        shown = list(range(len(classes)))[:10]
    for index in shown:
        is_class = truth == index
        if is_class.any() and not is_class.all():
            false_rate, true_rate, _ = roc_curve(is_class, probabilities[:, index])
            axes.plot(false_rate, true_rate, label=classes[index], linewidth=1.8)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
    axes.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    # Where every label is the same class there is no curve to name.
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right")


def _reliability(axes: Any, confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> None:
    bins = np.minimum((confidence * 15).astype(int), 14)
    count = np.bincount(bins, minlength=15)
    filled = count > 0
    mean_confidence = np.bincount(bins, confidence, 15)[filled] / count[filled]
    accuracy = np.bincount(bins, correct, 15)[filled] / count[filled]
    low = float(mean_confidence.min()) - 0.03
    axes.plot([low, 1], [low, 1], color=_GREY, linestyle="--", linewidth=1, label="ideal")
    axes.plot(mean_confidence, accuracy, marker="o", color=_BLUE, label="model")
    axes.set(title="Reliability", xlabel="confidence", ylabel="accuracy")
    axes.legend(loc="best")


def _confidences(axes: Any, confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> None:
    edges = np.linspace(confidence.min(), 1, 31)
    axes.hist(
        [confidence[correct], confidence[~correct]],
        bins=edges,
        stacked=True,
        color=[_BLUE, _ORANGE],
        label=["right", "wrong"],
    )
    axes.set(title="Confidence", xlabel="confidence", ylabel="texts")
    axes.legend(loc="best")

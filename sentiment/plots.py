"""Figures of a run, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLUE, _ORANGE, _GREY = "#2b6cb0", "#c05621", "#a0aec0"


def save_evaluation(
    path: Path,
    labels: Sequence[str],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    *,
    positive_label: str | None = None,
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
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    (top_left, top_right), (bottom_left, bottom_right) = figure.subplots(2, 2)
    truth = np.array([list(classes).index(label) for label in labels])
    predicted = probabilities.argmax(axis=1)
    confidence, correct = probabilities.max(axis=1), predicted == truth
    _confusion(top_left, truth, predicted, classes)
    _roc(top_right, truth, probabilities, classes, positive_label)
    _reliability(bottom_left, confidence, correct)
    _confidences(bottom_right, confidence, correct)
    figure.savefig(path)


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
    axes.legend(loc="upper left")


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
    axes.legend(loc="upper left")

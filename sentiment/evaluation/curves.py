"""What scores are worth at every threshold: ROC, precision and recall, reliability, coverage, histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sentiment.drift.signals import wilson
from sentiment.evaluation.abstaining import stop_line
from sentiment.evaluation.by_class import per_class
from sentiment.page import charts
from sentiment.page.html import short

if TYPE_CHECKING:
    from sentiment.evaluation.answers import Answers

_CURVES = 5  # classes whose curves are drawn
_BINS = 15


def curves(answers: Answers) -> list[str]:
    """Return the drawings, as SVG."""
    drawn, which = _drawn_classes(answers)
    roc, recall = {}, {}
    for place in drawn:
        truth = answers.codes == place
        if not truth.any() or truth.all():
            continue
        order = np.argsort(-answers.probabilities[:, place], kind="stable")
        scores = answers.probabilities[order, place]
        # Rows of one probability are one step: no curve depends on their order.
        ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
        hits = np.cumsum(truth[order])[ends]
        taken = ends + 1.0
        name = answers.classes[place]
        roc[name] = [
            (0.0, 0.0),
            *zip(
                ((taken - hits) / (~truth).sum()).tolist(),
                (hits / truth.sum()).tolist(),
                strict=True,
            ),
        ]
        recall[name] = list(
            zip((hits / truth.sum()).tolist(), (hits / taken).tolist(), strict=True)
        )
    unit = (0.0, 1.0)
    confidence, correct = answers.confidence, answers.correct
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    filled = [place for place in range(_BINS) if (bins == place).any()]
    means = [float(confidence[bins == place].mean()) for place in filled]
    shares = [float(correct[bins == place].mean()) for place in filled]
    spans = [
        (mean, *wilson(int(correct[bins == place].sum()), int((bins == place).sum())))
        for mean, place in zip(means, filled, strict=True)
    ]
    least = max(0.0, min(means) - 0.05)
    order = np.argsort(-confidence, kind="stable")
    covered = np.arange(1, len(order) + 1) / len(order)
    kept = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    begin = min(len(order) - 1, len(order) // 50)
    stop, x_name = stop_line(answers, kept[begin:])
    edges = np.linspace(min(float(confidence.min()), 1 - 1e-6), 1.0, 21)
    right, _ = np.histogram(confidence[correct], edges)
    wrong, _ = np.histogram(confidence[~correct], edges)
    return [
        charts.lines(
            f"ROC{which}", roc, x_name="false positive rate", y_name="true positive rate",
            x=unit, y=unit, ideal=((0, 0), (1, 1)),
        ),
        charts.lines(
            f"Precision and recall{which}", recall, x_name="recall", y_name="precision", x=unit, y=unit
        ),
        charts.lines(
            "Reliability", {"model": list(zip(means, shares, strict=True))},
            x_name="confidence", y_name="share right", x=(least, 1.0),
            y=(min(0.0 if least == 0 else least - 0.1, *(low for _, low, _ in spans)), 1.0),
            ideal=((least, least), (1, 1)), bars={"model": spans}, marks=True,
        ),
        charts.lines(
            "Accuracy of the most confident answers",
            {"model": list(zip(covered[begin:].tolist(), kept[begin:].tolist(), strict=True))},
            x_name=x_name, y_name="accuracy", x=unit, ideal=stop,
        ),
        charts.histogram(
            "Confidence", edges.tolist(), {"right": right.tolist(), "wrong": wrong.tolist()},
            x_name="probability of the answer", y_name="texts", stacked=True,
            labels=[f"{edge:.2f}" for edge in edges],
        ),
        *_scores(answers, drawn[:1]),
    ]  # fmt: skip


def _drawn_classes(answers: Answers) -> tuple[list[int], str]:
    """Return the classes whose curves are drawn, and which these are."""
    if len(answers.classes) == 2:
        return [answers.positive], ""
    index = {name: place for place, name in enumerate(answers.classes)}
    tested = [index[name] for name, rows, *_ in per_class(answers) if rows]
    if len(tested) <= _CURVES:
        return sorted(tested), ""
    return tested[:_CURVES], f", the {_CURVES} classes of lowest F1"


def _scores(answers: Answers, drawn: Sequence[int]) -> list[str]:
    """Draw the log odds of a class, for rows that are of it and for the others."""
    if not drawn:
        return []
    place = drawn[0]
    chance = np.clip(answers.probabilities[:, place], 1e-9, 1 - 1e-9)
    odds = np.log(chance / (1 - chance))
    truth = answers.codes == place
    low, high = np.quantile(odds, [0.005, 0.995])
    edges = np.linspace(float(low), float(max(high, low + 1e-6)), 25)
    name = short(answers.classes[place])
    series = {}
    for key, rows in ((name, truth), ("others" if len(answers.classes) > 2 else
                      short(answers.classes[1 - place]), ~truth)):  # fmt: skip
        counts, _ = np.histogram(np.clip(odds[rows], low, high), edges)
        series[key] = (counts / max(int(rows.sum()), 1)).tolist()
    return [
        charts.histogram(
            f"Scores for {name}", edges.tolist(), series, x_name="log odds", y_name="share of texts",
            labels=[f"{edge:.1f}" for edge in edges],
        )
    ]  # fmt: skip

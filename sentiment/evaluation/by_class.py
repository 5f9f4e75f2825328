"""What became of the rows of each class: how many were found, and which were taken for which other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sentiment.evaluation.answers import Answers


def per_class(answers: Answers) -> list[tuple[str, int, float, float, float]]:
    """Return name, rows, precision, recall and F1 of every class, the lowest F1 first."""
    table_ = answers.confusion
    hits, rows, said = table_.diagonal(), table_.sum(axis=1), table_.sum(axis=0)
    return sorted(
        (
            (
                name,
                int(rows[place]),
                float(hits[place] / max(said[place], 1)),
                float(hits[place] / max(rows[place], 1)),
                float(2 * hits[place] / max(rows[place] + said[place], 1)),
            )
            for place, name in enumerate(answers.classes)
        ),
        key=lambda row: (row[4], row[0]),
    )


def confused(answers: Answers, most: int = 10) -> list[tuple[str, str, int, float]]:
    """Return true class, answer, rows and share of the true class of the most frequent errors."""
    wrong = answers.confusion.copy()
    totals = np.maximum(wrong.sum(axis=1), 1)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    size = len(answers.classes)
    return [
        (
            answers.classes[cell // size], answers.classes[cell % size], int(wrong.flat[cell]),
            float(wrong.flat[cell] / totals[cell // size]),
        )
        for cell in order.tolist()
        if wrong.flat[cell]
    ]  # fmt: skip

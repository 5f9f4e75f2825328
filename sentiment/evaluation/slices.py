"""Where a model fails: its accuracy on kinds of texts, with intervals and a mark beyond chance."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiment.drift.signals import wilson
from sentiment.evaluation.answers import Answers

_NEGATION = re.compile(
    r"\b(not|no|never|nor|neither|nobody|nothing|nowhere|none|hardly|without|cannot|\w+n['’]t)\b",
    re.IGNORECASE,
)
_FEWEST = 5  # rows of a slice
_VALUES = 20  # of a column, the most frequent
_SURE = 0.05

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Slice:
    """A kind of texts, and how a model does on it.

    Attributes
    ----------
    name : str
    rows : int
    accuracy, low, high : float
        With a 95 % interval (Wilson).
    rest : float
        Accuracy on all other rows.
    p_value : float
        Of "no less accurate than on the others", corrected for the number of slices.
    worse : bool
        Whether it is significantly less accurate, at 5 %.
    """

    name: str
    rows: int
    accuracy: float
    low: float
    high: float
    rest: float
    p_value: float
    worse: bool


def make_slices(answers: Answers) -> list[Slice]:
    """Judge a model on kinds of texts.

    These are quarters of length, negation, no strong n-gram, unknown words, and the values of the
    columns that were asked for.

    Parameters
    ----------
    answers : Answers

    References
    ----------
    Fisher's exact test, one-sided, of a slice against the other rows; Holm's correction,
    Scandinavian Journal of Statistics 6, 1979.
    """
    from scipy.stats import hypergeom

    chosen = [
        (name, rows)
        for name, rows in kinds_of(answers)
        if _FEWEST <= int(rows.sum()) < len(answers)
    ]
    correct = answers.correct
    right, total = int(correct.sum()), len(answers)
    raw = [
        float(hypergeom.cdf(int(correct[rows].sum()), total, right, int(rows.sum())))
        for _, rows in chosen
    ]
    corrected = _holm(raw)
    found = []
    for (name, rows), p_value in zip(chosen, corrected, strict=True):
        n, own = int(rows.sum()), int(correct[rows].sum())
        low, high = wilson(own, n)
        found.append(
            Slice(
                name, n, own / n, low, high, (right - own) / (total - n), p_value, p_value < _SURE
            )
        )
    return found


def _holm(values: Sequence[float]) -> list[float]:
    order = np.argsort(values, kind="stable")
    corrected = np.zeros(len(values))
    highest = 0.0
    for rank, place in enumerate(order.tolist()):
        highest = max(highest, min(1.0, values[place] * (len(values) - rank)))
        corrected[place] = highest
    return [float(value) for value in corrected]


def kinds_of(answers: Answers) -> list[tuple[str, Bools]]:
    """Return kinds of texts and which rows are of them; see `make_slices`."""
    texts = answers.texts
    words = np.array([len(text.split()) for text in texts])
    kinds: list[tuple[str, Bools]] = []
    if len(texts):
        bounds = np.unique(np.quantile(words, [0.25, 0.5, 0.75]).astype(int))
        lowest = 0
        for bound in bounds.tolist():
            kinds.append(
                (f"length: {lowest:,} to {bound:,} words", (words >= lowest) & (words <= bound))
            )
            lowest = bound + 1
        kinds.append((f"length: {lowest:,} words or more", words >= lowest))
    kinds.append(
        ("a negation", np.array([bool(_NEGATION.search(text)) for text in texts], np.bool_))
    )
    if answers.reading is not None and len(texts):
        strongest, unknown = answers.reading.strongest, answers.reading.unknown
        kinds.append(
            ("no strong n-gram (weakest quarter)", strongest <= np.quantile(strongest, 0.25))
        )
        most = float(np.quantile(unknown, 0.75))
        kinds.append((f"many unknown words (more than {most:.1%})", unknown > most))
    for column, values in answers.columns.items():
        own = np.array(values, dtype=object)
        kinds += [
            (f"{column}: {value}", np.asarray(own == value, np.bool_))
            for value, _ in Counter(values).most_common(_VALUES)
        ]
    return kinds

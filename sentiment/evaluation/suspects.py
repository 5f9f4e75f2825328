"""Which labels are probably wrong, given probabilities of a model that has not seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Doubts:
    """What confident learning says of labels.

    Attributes
    ----------
    rows : int64[suspects]
        Positions, the least likely label first.
    suggested : int64[rows]
        Of every row, the class that is likely instead; its own where none is.
    joint : int64[classes, classes]
        Rows by given class (first) and by the class that they are confidently of.
    """

    rows: Ints
    suggested: Ints
    joint: Ints


def find_doubts(codes: Ints, probabilities: Floats) -> Doubts:
    """Find labels that are probably wrong.

    A row is confidently of a class when its probability is at least what rows with that label have
    on average. One that is confidently of another class than its label says is a suspect; suspects
    are ranked by the probability of their label less that of the suggested one.

    Parameters
    ----------
    codes : int64[rows]
        Given classes.
    probabilities : float64[rows, classes]
        Out of fold: of models that have not seen the row's label.

    References
    ----------
    Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
    JAIR 70, 2021.
    """
    n, size = probabilities.shape
    counts = np.bincount(codes, minlength=size)
    own = probabilities[np.arange(n), codes]
    thresholds = np.where(counts > 0, np.bincount(codes, own, size) / np.maximum(counts, 1), np.inf)
    confident = np.where(probabilities >= thresholds - 1e-12, probabilities, -1.0)
    best = confident.argmax(axis=1)
    suggested = np.where(confident[np.arange(n), best] >= 0, best, codes)
    suspects = np.flatnonzero(suggested != codes)
    margin = own[suspects] - probabilities[suspects, suggested[suspects]]
    joint = np.bincount(codes * size + suggested, minlength=size * size).reshape(size, size)
    return Doubts(suspects[np.lexsort((suspects, margin))], suggested, joint)


@dataclass(frozen=True)
class HardPair:
    """Two classes that a model confuses.

    Attributes
    ----------
    first, second : str
    confused : int
        Rows of one that are answered as the other.
    share : float
        Of the rows of both.
    """

    first: str
    second: str
    confused: int
    share: float


def hard_pairs(
    codes: Ints, predicted: Ints, classes: Sequence[str], most: int = 10
) -> list[HardPair]:
    """Return the classes that are hardly told apart, the largest share of confused rows first.

    Parameters
    ----------
    codes, predicted : int64[rows]
        Given and answered classes.
    classes : sequence of str
    most : int
        Pairs at most.
    """
    size = len(classes)
    table = np.bincount(codes * size + predicted, minlength=size * size).reshape(size, size)
    rows = table.sum(axis=1)
    confused = table + table.T
    found = [
        HardPair(
            classes[a], classes[b], int(confused[a, b]), float(confused[a, b] / (rows[a] + rows[b]))
        )
        for a in range(size)
        for b in range(a + 1, size)
        if confused[a, b]
    ]
    return sorted(found, key=lambda pair: (-pair.share, pair.first, pair.second))[:most]

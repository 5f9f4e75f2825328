"""From probabilities to an answer: which label, and whether one is given at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from sentiment.scorer.prediction import Floats, Ints


class Decision:
    """What a model answers when it believes something; probabilities stay as they are.

    Parameters
    ----------
    thresholds : sequence of float, optional
        One per label: the label with the largest ``probability / threshold`` is given. With two
        labels they add up to 1, and the second is given from its threshold on.
    costs : sequence of sequence of float, optional
        ``costs[truth][answer]``: the label of the least expected cost is given.
    min_confidence : float
        An answer whose probability is below this is withheld.

    Raises
    ------
    ValueError
        Shapes do not fit, or a number makes no sense.

    References
    ----------
    Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001.
    """

    def __init__(
        self,
        thresholds: Sequence[float] | None = None,
        costs: Sequence[Sequence[float]] | None = None,
        min_confidence: float = 0.0,
    ) -> None:
        if thresholds is not None and costs is not None:
            raise ValueError("a decision has thresholds or costs, not both")
        if not 0.0 <= min_confidence <= 1.0:
            raise ValueError(f"min_confidence is {min_confidence!r}: a share between 0 and 1")
        if thresholds is not None and not all(0.0 < t <= 1.0 for t in thresholds):
            raise ValueError(f"thresholds are {list(thresholds)!r}: each above 0 and at most 1")
        if costs is not None and (
            len({len(costs), *map(len, costs)}) != 1
            or not all(math.isfinite(cost) for row in costs for cost in row)
        ):
            raise ValueError("costs are no square of numbers")
        self.thresholds = None if thresholds is None else tuple(map(float, thresholds))
        self.costs = None if costs is None else tuple(tuple(map(float, row)) for row in costs)
        self.min_confidence = float(min_confidence)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any] | None, n_labels: int) -> Decision:
        """Read what ``scorer.json`` holds; a model without it gives the likeliest label."""
        if document is None:
            return cls()
        made = cls(
            document.get("thresholds"), document.get("costs"), document.get("min_confidence", 0.0)
        )
        given = made.thresholds or made.costs
        if given is not None and len(given) != n_labels:
            raise ValueError("decision and labels do not match")
        return made

    def to_dict(self) -> dict[str, Any] | None:
        """Return what is stored; None for the likeliest label, always given."""
        if not self:
            return None
        return {
            "thresholds": self.thresholds,
            "costs": self.costs,
            "min_confidence": self.min_confidence,
        }

    def told(self, labels: Sequence[str]) -> str:
        """Say which label is given."""
        if self.costs is not None:
            return "the label of the least expected cost is given"
        if self.thresholds is None:
            return "the likeliest label is given"
        if len(self.thresholds) == 2:
            rarer = int(self.thresholds[1] <= self.thresholds[0])
            return f"{labels[rarer]} is answered from {self.thresholds[rarer]:.3g} on"
        each = zip(labels, self.thresholds, strict=True)
        return "thresholds are " + ", ".join(f"{label} {value:.3g}" for label, value in each)

    def __bool__(self) -> bool:
        """Whether it differs from giving the likeliest label."""
        return self.changes_labels or self.withholds

    @property
    def changes_labels(self) -> bool:
        """Whether the label may be another than the likeliest."""
        return self.thresholds is not None or self.costs is not None

    @property
    def withholds(self) -> bool:
        """Whether an unsure answer is withheld, unasked."""
        return self.min_confidence > 0.0

    def least(self, asked: float | None) -> float:
        """Return the confidence that an answer needs: what is asked for, else the model's own."""
        return self.min_confidence if asked is None else asked

    @overload
    def unsure(self, confidence: float, asked: float | None = None) -> bool: ...

    @overload
    def unsure(self, confidence: Floats, asked: float | None = None) -> NDArray[np.bool_]: ...

    def unsure(self, confidence: Any, asked: float | None = None) -> Any:
        """Tell whether an answer, or each of several, is withheld; `asked` as of `least`."""
        return confidence < self.least(asked)

    def best(self, probabilities: Floats) -> Ints:
        """Return the number of the label of each row; the first of equals.

        Parameters
        ----------
        probabilities : float64[n, labels]

        Returns
        -------
        int64[n]
        """
        worth = probabilities
        if self.thresholds is not None:
            if len(self.thresholds) == 2:
                return (probabilities[:, 1] >= self.thresholds[1]).astype(np.int64)
            worth = probabilities / np.array(self.thresholds)
        elif self.costs is not None:
            # One class after the other, so that a row gives the same sum alone and among others.
            worth = np.zeros_like(probabilities)
            for number, row in enumerate(self.costs):
                worth -= probabilities[:, number, None] * np.array(row)
        found: Ints = worth.argmax(axis=1).astype(np.int64, copy=False)
        return found

    def best_of(self, probabilities: Sequence[float]) -> int:
        """Return the number of the label of one text; see `best`."""
        return int(self.best(np.array([probabilities]))[0])

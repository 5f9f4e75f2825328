"""What a model says of one text, and of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Prediction(NamedTuple):
    """What the model says of one text.

    Attributes
    ----------
    label : str
        What the model's decision makes of its probabilities; else the likeliest.
    confidence : float
        Its probability.
    probabilities : tuple of float
        One per label, in the order of `Scorer.labels`; they add up to 1.
    scores : tuple of float
        Before the link: one for two classes (the second label's), else one per class.
    n_tokens, n_unknown : int
        Tokens of the text, and how many of them the model does not know.
    """

    label: str
    confidence: float
    probabilities: tuple[float, ...]
    scores: tuple[float, ...]
    n_tokens: int
    n_unknown: int


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the model says of n texts.

    Attributes
    ----------
    labels : list of str
    confidence : float64[n]
    probabilities : float64[n, labels]
    scores : float64[n, 1 or labels]
    n_tokens, n_unknown : int64[n]
    """

    labels: list[str]
    confidence: Floats
    probabilities: Floats
    scores: Floats
    n_tokens: Ints
    n_unknown: Ints

    def __len__(self) -> int:
        return len(self.labels)

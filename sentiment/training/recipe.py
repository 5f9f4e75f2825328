"""How texts without label are learned from: checked before anything heavy is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sentiment.config import SemiConfig
from sentiment.errors import UsageError
from sentiment.groups import CHOICES


@dataclass
class Recipe(SemiConfig):
    """How texts without label are learned from: the node ``semi``.

    Parameters
    ----------
    dimensions : int
        Directions of the texts; 0 leaves them out.
    share : float in (0, 1]
        Of the unlabelled texts, that the model labels; divided between the classes as the labels
        are, so that it does not drift to one.
    rounds : int
        How often at most: each round is taught by the model of the last.
    weight : float
        Of a labelled row, where a text that the model labelled counts 1.
    labels : {"hard", "soft"}
        Whether such a text counts for its class alone, or for each by its probability.
    folds : int
        In which labelled rows judge a model that has not seen them.
    keep : {"better", "always"}
        Whether the labels alone are tried too, and the better is kept.

    Raises
    ------
    UsageError
        If a value is none of these.
    """

    def __post_init__(self) -> None:
        wrong = [
            f"semi.{key}={value!r} is not one of {', '.join(CHOICES[f'semi.{key}'])}"
            for key, value in (("labels", self.labels), ("keep", self.keep))
            if value not in CHOICES[f"semi.{key}"]
        ]
        if not 0 < self.share <= 1:
            wrong.append(f"semi.share={self.share:g}: give a share above 0, at most 1")
        if self.dimensions < 0:
            wrong.append(f"semi.dimensions={self.dimensions}: give a number of directions, or 0")
        if self.rounds < 1:
            wrong.append(f"semi.rounds={self.rounds}: give 1 or more")
        if self.folds < 2:
            wrong.append(f"semi.folds={self.folds}: give 2 or more")
        if not 0 < self.weight < math.inf:
            wrong.append(f"semi.weight={self.weight:g}: give a weight above 0")
        if wrong:
            raise UsageError("; ".join(wrong))

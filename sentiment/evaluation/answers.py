"""What a model answered to labelled texts, row by row: what reports are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sentiment.data.labels import unequal
from sentiment.scorer.decision import Decision
from sentiment.scorer.view import contributions
from sentiment.text.corpus import cut_blocks, parallel

if TYPE_CHECKING:
    from sentiment.scorer import Scorer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """What a model knows of texts.

    Attributes
    ----------
    unknown : float64[n]
        Share of each text's tokens that the model does not know.
    strongest : float64[n]
        The most that one n-gram adds to a score, of either sign.
    """

    unknown: Floats
    strongest: Floats


@dataclass(frozen=True)
class Answers:
    """Labelled texts and a model's answers.

    Attributes
    ----------
    texts, labels : sequence of str
    classes : sequence of str
    probabilities : float64[n, classes]
    predicted : sequence of str
    positive_label : str or None
    columns : mapping of str to sequence of str
        Further columns by whose values the model is judged.
    reading : Reading or None
        None of a pipeline that does not compile.
    decision : Decision
        What made labels of the probabilities, and which of them are withheld.
    """

    texts: Sequence[str]
    labels: Sequence[str]
    classes: Sequence[str]
    probabilities: Floats
    predicted: Sequence[str]
    positive_label: str | None = None
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    reading: Reading | None = None
    decision: Decision = field(default_factory=Decision)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def positive(self) -> int:
        """Place of the positive label; without one the second class."""
        named = self.positive_label
        return list(self.classes).index(named) if named is not None else 1

    @cached_property
    def rare(self) -> bool:
        """Whether a class is much rarer than the others."""
        return unequal(self.labels)

    @cached_property
    def codes(self) -> Ints:
        """Place of each true label, -1 for one that the model does not know."""
        index = {name: place for place, name in enumerate(self.classes)}
        return np.array([index.get(label, -1) for label in self.labels], dtype=np.int64)

    @cached_property
    def answered(self) -> Ints:
        """Place of each answer."""
        index = {name: place for place, name in enumerate(self.classes)}
        return np.array([index[label] for label in self.predicted], dtype=np.int64)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer is right."""
        return np.asarray(self.codes == self.answered)

    @cached_property
    def confidence(self) -> Floats:
        """Probability of each answer."""
        return np.asarray(self.probabilities[np.arange(len(self)), self.answered])

    @cached_property
    def withheld(self) -> NDArray[np.bool_]:
        """Whether each answer is withheld as unsure."""
        return self.decision.unsure(self.confidence)

    @cached_property
    def confusion(self) -> Ints:
        """Rows by true class (first) and answer; rows of unknown labels are left out."""
        size = len(self.classes)
        known = self.codes >= 0
        pairs = self.codes[known] * size + self.answered[known]
        return np.bincount(pairs, minlength=size * size).reshape(size, size)


def read(scorer: Scorer, texts: Sequence[str]) -> Reading:
    """Return what a model knows of texts.

    Parameters
    ----------
    scorer : Scorer
    texts : sequence of str
    """
    unknown, strongest = np.zeros(len(texts)), np.zeros(len(texts))

    def block(part: slice) -> None:
        own = list(texts[part])
        for number, view in enumerate(scorer.views):
            found, tokens, missing = view.count(own)
            if number == 0:
                unknown[part] = missing / np.maximum(tokens, 1)
            added = np.abs(contributions(view, found, len(own))).max(axis=1, initial=0.0)
            most = np.zeros(len(own))
            np.maximum.at(most, found.texts, added)
            strongest[part] = np.maximum(strongest[part], most)

    list(parallel(block, cut_blocks(texts)))
    return Reading(unknown, strongest)

"""The model that learns from the answers while they come in: seconds, in a thread of its own."""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sentiment.drift.signals import wilson

if TYPE_CHECKING:
    from sentiment.scorer.model import Scorer
    from sentiment.training.self_trainer import SelfTrainer

log = logging.getLogger(__name__)

MORE = 100
"""Answers more, for which the gain is estimated."""
_FOLDS = 5
_FEWEST = 10  # random answers, for an estimate
_TEACHING = 20_000  # candidates without label that are learned from at most


@dataclass(frozen=True)
class Estimate:
    """What is known of the model after some answers.

    Attributes
    ----------
    n_answers : int
        That it has learned from.
    n_random : int
        Of those, drawn at random: they alone say how good it is on all texts.
    accuracy, low, high : float or None
        Of those, out of fold, with Wilson's 95 % interval.
    with_more : float or None
        The accuracy to expect after `MORE` further answers.
    """

    n_answers: int
    n_random: int
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    with_more: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


class Learner:
    """Features of all candidates, made once, and a classifier of the answers.

    Parameters
    ----------
    texts : sequence of str
        The candidates.
    seed : int
    """

    def __init__(self, texts: Sequence[str], seed: int) -> None:
        from sentiment.vectorizers import TfidfVectorizer

        self.seed = seed
        # The default of trainings, so that what is chosen here helps there; pairs are enough.
        self.vectorizer = TfidfVectorizer(
            ngram_range=(1, 2), token_pattern="punctuation", strip_html=True, normalize="nfc",
            min_df=2 if len(texts) > 100 else 1, binary=True,
        )  # fmt: skip
        self.X = self.vectorizer.fit_transform(texts)
        self._trainer: SelfTrainer | None = None

    def classifier(self, *, calibrated: bool = False) -> Any:
        """Return a classifier that has learned nothing."""
        from sentiment.models import NBSVM

        return NBSVM(C=2.0, calibration="affine" if calibrated else None, random_state=self.seed)

    def fit(
        self, X: Any, labels: Sequence[str] | NDArray[np.object_], *, calibrated: bool = False
    ) -> Any:
        """Return a classifier that has learned from these."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few answers are no reason to warn here
            return self.classifier(calibrated=calibrated).fit(X, np.asarray(labels, dtype=object))

    def taught(self, X: Any, labels: Sequence[str] | NDArray[np.object_]) -> Any:
        """Return a classifier that has learned from these and from the candidates without label.

        Of many candidates a sample teaches, so that it stays a matter of seconds.
        """
        from sentiment.training.recipe import Recipe
        from sentiment.training.self_trainer import SelfTrainer

        if self._trainer is None:
            n = self.X.shape[0]
            sample = np.random.default_rng(self.seed).permutation(n)[:_TEACHING]
            self._trainer = SelfTrainer(
                self.classifier(), Recipe(), self.X[np.sort(sample)], self.seed
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._trainer.fit(X, np.asarray(labels, dtype=object), 1)[-1]

    def compiled(self, classifier: Any, texts: Sequence[str]) -> Scorer:
        """Return what explains its answers, word by word."""
        from sentiment.compiler.compile import compile_scorer

        return compile_scorer(self.vectorizer, classifier, reference_texts=texts).scorer

    def estimate(self, X: Any, labels: Sequence[str], drawn: NDArray[np.bool_]) -> Estimate:
        """Return how good the classifier is on texts of the pool.

        Parameters
        ----------
        X : csr_matrix of shape (answers, features)
        labels : sequence of str
        drawn : bool[answers]
            Those whose text was drawn at random.
        """
        names = np.asarray(labels, dtype=object)
        n, n_drawn = len(names), int(drawn.sum())
        rarest = min(Counter(labels).values())
        if n_drawn < _FEWEST or rarest < 2 or len(set(labels)) < 2:
            return Estimate(n, n_drawn)
        right, half_right = self._judged(X, names, drawn)
        accuracy = float(right.mean())
        low, high = wilson(int(right.sum()), n_drawn)
        # Errors fall by a power of the number of answers: its exponent from half of them and all.
        errors, at_half = _smoothed(right), _smoothed(half_right)
        exponent = min(max(math.log2(at_half / errors), 0.0), 1.0)
        more = 1 - (1 - accuracy) * ((n + MORE) / n) ** -exponent
        return Estimate(n, n_drawn, accuracy, low, high, more)

    def _judged(
        self, X: Any, names: NDArray[np.object_], drawn: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which drawn answers a model is right on that has not seen them, and half of one."""
        from sklearn.model_selection import StratifiedKFold

        n_folds = min(_FOLDS, *Counter(names).values())
        right = np.zeros(len(names), dtype=bool)
        half = np.zeros(len(names), dtype=bool)
        random = np.random.default_rng(self.seed)
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=self.seed)
        for learned, judged in folds.split(names, names):
            held = judged[drawn[judged]]
            if not len(held):
                continue
            part = random.permutation(learned)[: max(len(learned) // 2, 2)]
            for used, into in ((learned, right), (part, half)):
                if len(set(names[used])) < 2:
                    into[held] = names[held] == names[used][0]
                    continue
                into[held] = self.taught(X[used], names[used]).predict(X[held]) == names[held]
        return right[drawn], half[drawn]


def _smoothed(right: NDArray[np.bool_]) -> float:
    """Return the share of errors, never none."""
    return float((len(right) - right.sum() + 0.5) / (len(right) + 1))

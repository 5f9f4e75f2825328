"""A model that labels texts itself, and learns from the surest of them.

Self-training (Yarowsky, "Unsupervised word sense disambiguation rivaling supervised methods", 1995) on a
linear model whose vocabulary and document frequencies are those of all texts. What is taught, and teaches,
is a sum of models that err differently: of n-grams, and of the directions in which texts vary most
(Deerwester et al., "Indexing by latent semantic analysis", 1990), which a word of the pool shares with
words that have a label. Each is linear in the n-grams, so the sum compiles like any other model.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentiment.training.recipe import Recipe

_SAMPLE = 20_000  # texts that give directions: more give the same
_LATENT_C = 0.03

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = NDArray[np.object_]


class SelfTrainer:
    """Fits a classifier on texts with labels, lets it label a pool, and fits it again on both.

    Parameters
    ----------
    classifier : estimator
        Linear, without a calibration; it is cloned.
    recipe : Recipe
    pool : csr_matrix of shape (texts, features)
        Texts without label.
    seed : int
        Of the sample that gives the directions.
    X : csr_matrix of shape (texts, features), optional
        Further texts that may be in that sample.
    """

    def __init__(
        self, classifier: Any, recipe: Recipe, pool: Any, seed: int, X: Any | None = None
    ) -> None:
        self.classifier = classifier
        self.recipe = recipe
        self.pool = pool
        self.directions = _Directions.of(X, pool, recipe.dimensions, seed)

    def fit(self, X: Any, labels: Labels, rounds: int) -> list[Any]:
        """Return the classifier of the labels alone, with the directions, and after each round."""
        from sklearn.base import clone

        n = X.shape[0]
        first = self._scored(clone(self.classifier).fit(X, labels), X)
        found = [first, first]
        if self.directions is not None:
            found[1] = _sum([first, self.directions.fitted(X, labels)])
        counts = np.unique(labels, return_counts=True)[1]
        for _ in range(rounds):
            scores = columns(found[-1].scores[n:])
            chosen, given, weights = self._labelled(scores, counts / counts.sum())
            if not len(chosen):
                found.append(found[-1])
                continue
            taught = clone(self.classifier).fit(
                sp.vstack([X, self.pool[chosen]], format="csr"),
                np.concatenate([labels, first.classifier.classes_[given]]),
                np.concatenate([np.full(n, self.recipe.weight), weights]),
            )
            found.append(_sum([self._scored(taught, X), found[1]]))
        return [each.classifier for each in found]

    def _scored(self, classifier: Any, X: Any) -> _Scored:
        scores = [classifier.decision_function(each) for each in (X, self.pool)]
        return _Scored(classifier, np.concatenate(scores))

    def _labelled(self, scores: Floats, prior: Floats) -> tuple[Ints, Ints, Floats]:
        """Return places of the pool, the class that each counts for, and how much."""
        chosen, given = surest(scores, prior, self.recipe.share)
        if self.recipe.labels == "hard" or not len(chosen):
            return chosen, given, np.ones(len(chosen))
        from scipy.special import softmax

        found = softmax(scores[chosen], axis=1)
        n_classes = scores.shape[1]
        return (
            np.repeat(chosen, n_classes),
            np.tile(np.arange(n_classes), len(chosen)),
            found.ravel(),
        )


@dataclass(frozen=True)
class _Scored:
    """A linear classifier, and its scores of the rows it was fitted on and of the pool."""

    classifier: Any
    scores: Floats


@dataclass(frozen=True)
class _Directions:
    """The directions in which texts vary most: each text's usual length along one is 1.

    Those of a sample of the texts and of the n-grams that are neither rare nor everywhere.
    """

    columns: Ints
    right: Floats  # (columns, directions)
    n_features: int
    pool: Floats  # (texts, directions): where the texts lie

    @staticmethod
    def of(more: Any | None, pool: Any, n: int, seed: int) -> _Directions | None:
        from sklearn.utils.extmath import randomized_svd

        X = pool[:0] if more is None else more
        n_rows, n_features = X.shape[0] + pool.shape[0], pool.shape[1]
        chosen = np.arange(n_rows)
        if n_rows > _SAMPLE:
            chosen = np.sort(np.random.default_rng(seed).choice(n_rows, _SAMPLE, replace=False))
        inside = chosen < X.shape[0]
        texts = sp.vstack([X[chosen[inside]], pool[chosen[~inside] - X.shape[0]]], format="csr")
        frequency = np.bincount(texts.indices, minlength=n_features)
        columns = np.flatnonzero(
            (frequency >= max(2, len(texts.indptr) // 1000)) & (frequency < texts.shape[0] / 2)
        )
        n = min(n, len(columns) - 1, texts.shape[0] - 1)
        if n < 1:
            return None
        used = sp.csr_array(texts[:, columns], dtype=np.float32)
        right = randomized_svd(used, n, n_iter=2, random_state=seed)[2]
        spread = float((used @ right.T).std(axis=0).mean()) or 1.0
        right = (right.T / spread).astype(np.float64)
        return _Directions(columns, right, n_features, pool[:, columns] @ right)

    def fitted(self, X: Any, labels: Labels) -> _Scored:
        """Return a classifier of the directions, as one of n-grams."""
        from sklearn.linear_model import LogisticRegression

        # The usual length of a direction is 1: the penalty is then the same whatever the texts.
        here = X[:, self.columns] @ self.right
        found = LogisticRegression(C=_LATENT_C, max_iter=500).fit(here, labels)
        scores = [found.decision_function(each) for each in (here, self.pool)]
        weights = np.zeros((len(found.coef_), self.n_features))
        weights[:, self.columns] = found.coef_ @ self.right.T
        found.coef_, found.n_features_in_ = weights, self.n_features
        return _Scored(found, np.concatenate(scores))


def _sum(parts: list[_Scored]) -> _Scored:
    """Return a linear classifier whose score is the sum of others', each of one spread and mean 0.

    Few labels leave a model's threshold anywhere; all texts say where its middle is.
    """
    found = copy.copy(parts[0].classifier)
    found.coef_, found.intercept_ = 0.0, 0.0
    total = np.zeros_like(parts[0].scores)
    for part in parts:
        scale = 1 / max(float(part.scores.std(axis=0).mean()), 1e-9)
        middle = part.scores.mean(axis=0)
        found.coef_ = found.coef_ + scale * part.classifier.coef_
        found.intercept_ = found.intercept_ + scale * (
            np.ravel(part.classifier.intercept_) - middle
        )
        total += scale * (part.scores - middle)
    return _Scored(found, total)


def surest(scores: Floats, prior: Floats, share: float) -> tuple[Ints, Ints]:
    """Return the rows that stand out most for each class, and that class.

    Parameters
    ----------
    scores : float64[rows, classes]
    prior : float64[classes]
        How the rows that are taken are divided.
    share : float
        Of the rows.

    Returns
    -------
    rows, classes : ndarray of int64
    """
    n_rows, n_classes = scores.shape
    margins = np.empty_like(scores)
    for k in range(n_classes):
        margins[:, k] = scores[:, k] - np.delete(scores, k, axis=1).max(axis=1)
    taken = np.full(n_rows, -1, dtype=np.int64)
    best = np.full(n_rows, -np.inf)
    for k in range(n_classes):
        count = min(n_rows, round(share * n_rows * float(prior[k])))
        if not count:
            continue
        top = np.argpartition(-margins[:, k], count - 1)[:count]
        top = top[margins[top, k] > best[top]]
        taken[top], best[top] = k, margins[top, k]
    rows = np.flatnonzero(taken >= 0)
    return rows, taken[rows]


def columns(scores: Floats) -> Floats:
    """Return one column for each class; of two classes the first is 0 minus the second."""
    return np.stack([-scores, scores], axis=1) / 2 if scores.ndim == 1 else scores

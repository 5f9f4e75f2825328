"""A scikit-learn classifier of texts on the vectorizers and models of this project."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from sentiment.compiler.compile import CompiledScorer


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify texts; works in ``cross_val_score``, ``GridSearchCV`` and pipelines.

    Parameters
    ----------
    vectorizer : str or estimator
        An option of the config group (``tfidf``, ``count``, ``char``, …) or an estimator.
    model : str or estimator
        An option of the config group (``nbsvm``, ``logreg``, …) or an estimator.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    pipeline_ : Pipeline
        The fitted vectorizer and classifier.

    Examples
    --------
    >>> from sentiment import TextClassifier
    >>> texts, labels = ["a joy", "great fun", "a bore", "so dull"] * 5, ["up", "up", "down", "down"] * 5
    >>> classifier = TextClassifier(vectorizer="count", model="logreg").fit(texts, labels)
    >>> classifier.predict(["a great joy"]).tolist()
    ['up']
    >>> classifier.compile().scorer.predict(["a great joy"]).labels
    ['up']
    """

    def __init__(self, vectorizer: Any = "tfidf", model: Any = "nbsvm") -> None:
        self.vectorizer = vectorizer
        self.model = model

    def fit(self, X: Iterable[str], y: Sequence[Any]) -> TextClassifier:
        """Fit vectorizer and classifier.

        Parameters
        ----------
        X : iterable of str of length n_samples
        y : sequence of length n_samples
            Labels.

        Raises
        ------
        ValueError
            X is one text, or the lengths differ.
        UsageError
            There is no such option.
        """
        texts, labels = _texts(X), np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(texts):
            raise ValueError(f"X holds {len(texts)} texts, y has the shape {labels.shape}")
        self.pipeline_ = self._pipeline().fit(texts, labels)
        self.classes_ = self.pipeline_[-1].classes_
        return self

    def _pipeline(self) -> Pipeline:
        from sentiment.config import compose
        from sentiment.training.pipeline import build_pipeline

        parts: dict[str, Any] = {"vectorizer": self.vectorizer, "model": self.model}
        named = [f"{group}={part}" for group, part in parts.items() if isinstance(part, str)]
        # One word in a handful of texts is one word in every text of them.
        steps = dict(zip(("vectorizer", "model"), build_pipeline(compose(named)), strict=True))
        for group, part in parts.items():
            if not isinstance(part, str):
                steps[group] = clone(part)
        return Pipeline([("vectorizer", steps["vectorizer"]), ("classifier", steps["model"])])

    def predict(self, X: Iterable[str]) -> NDArray[Any]:
        """Return the label of each text, shape (n_samples,)."""
        check_is_fitted(self)
        found: NDArray[Any] = self.pipeline_.predict(_texts(X))
        return found

    def predict_proba(self, X: Iterable[str]) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n_samples, n_classes)."""
        check_is_fitted(self)
        found: NDArray[np.float64] = self.pipeline_.predict_proba(_texts(X))
        return found

    def compile(
        self, texts: Iterable[str | None] = (), labels: Iterable[Any] | None = None
    ) -> CompiledScorer:
        """Compile to a scorer that needs numpy alone.

        Parameters
        ----------
        texts : iterable of str, optional
            Held-out texts: the reference that drift is measured against.
        labels : iterable, optional
            Their labels, as `fit` was given them or as the scorer names them: what the accuracy in
            feedback is measured against. Texts without one are left out.

        Returns
        -------
        CompiledScorer
            ``scorer`` answers, ``save(directory)`` writes it.

        Raises
        ------
        DataError
            There are not as many labels as texts, or the model knows none of them.
        NotCompilableError
            The model does not come down to linear scores.
        """
        from sentiment.compiler.compile import compile_scorer
        from sentiment.data.labels import labelled

        check_is_fitted(self)
        vectorizer, classifier = self.pipeline_.named_steps.values()
        rows: list[str] = _texts(texts)
        names = None
        if labels is not None:
            rows, names, _ = labelled(rows, labels, [str(label) for label in self.classes_])
        return compile_scorer(vectorizer, classifier, reference_texts=rows, reference_labels=names)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _texts(X: Iterable[Any]) -> list[Any]:
    if isinstance(X, str):
        raise ValueError("X is one text: give a list of texts")  # noqa: TRY004 - scikit-learn's kind
    return list(X)

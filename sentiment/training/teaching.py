"""A classifier learns rows: sure labels, probabilities of a teacher, weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.errors import UsageError

if TYPE_CHECKING:
    from sentiment.data.split import Split

_INSTEAD = "model=nbsvm, logreg, naive_bayes or sgd"


def learn(classifier: Any, X: Any, rows: Split, classes: Sequence[str]) -> Any:
    """Fit a classifier in place, and return it.

    Parameters
    ----------
    classifier : estimator
        NB-SVM knows probabilities; for another that knows weights, a row stands once for each class that it
        may be of, with that weight, which is the same for a loss that is a sum over rows.
    X : csr_matrix of shape (rows, features)
    rows : Split
    classes : sequence of str
        Of which ``rows.soft`` gives probabilities, sorted.

    Raises
    ------
    UsageError
        The classifier can learn neither way.
    ValueError
        It refuses its parameters or the rows.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.utils.validation import has_fit_parameter

    from sentiment.models import NBSVM
    from sentiment.models.nbsvm import class_weights

    if rows.soft is None and rows.weights is None:
        return classifier.fit(X, rows.labels)
    name = type(classifier).__name__
    if not has_fit_parameter(classifier, "sample_weight"):
        raise UsageError(
            f"{name} knows no weights of rows, which {_asked(rows)} asks for: {_INSTEAD}"
        )
    if rows.soft is None:
        return classifier.fit(X, rows.labels, sample_weight=rows.weights)
    shares = rows.shares(classes)
    if isinstance(classifier, NBSVM):
        return classifier.fit(X, shares, rows.weights, classes=np.array(classes, dtype=object))
    if isinstance(classifier, CalibratedClassifierCV):  # a row would stand on both sides of a fold
        raise UsageError(f"{name} knows no probabilities, which {_asked(rows)} gives: {_INSTEAD}")
    given = getattr(classifier, "class_weight", None)
    names = np.array(classes, dtype=object)
    each = class_weights(given, names, shares)
    weights = shares * each * (1.0 if rows.weights is None else rows.weights[:, None])
    places, codes = np.nonzero(weights)
    if given is None:
        return classifier.fit(X[places], names[codes], sample_weight=weights[places, codes])
    try:
        # Counts of such rows are no counts of texts: their weights have the classes' in them.
        classifier.class_weight = None
        return classifier.fit(X[places], names[codes], sample_weight=weights[places, codes])
    finally:
        classifier.class_weight = given


def _asked(rows: Split) -> str:
    return "data.weight_column" if rows.soft is None else "data.soft_labels"

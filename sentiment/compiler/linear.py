"""What a fitted classifier comes down to: linear scores and one link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment.errors import UsageError
from sentiment.scorer.link import LINKS, link

Floats = NDArray[np.float64]

TOLERANCE = 1e-6


class NotCompilableError(UsageError):
    """A step of the pipeline does not end in linear scores and one link; the message names it."""


@dataclass(frozen=True, slots=True)
class Linear:
    """What a classifier comes down to: ``link(X @ coef.T + intercept)``.

    Attributes
    ----------
    coef : float64[scores, n_features]
    intercept : float64[scores]
    link : str
    """

    coef: Floats
    intercept: Floats
    link: str


def linear_form(classifier: Any, probe: Callable[[], Any]) -> Linear:
    """Return the linear scores and the link that a fitted classifier comes down to.

    Parameters
    ----------
    classifier : estimator
        Fitted.
    probe : callable
        Returns features to try links on, for a classifier that does not name its link.

    Raises
    ------
    NotCompilableError
        It has no linear scores, or no link gives its probabilities.
    """
    name = type(classifier).__name__
    n_classes = len(classifier.classes_)
    if hasattr(classifier, "calibrated_classifiers_"):
        return _calibrated(classifier, n_classes)
    if hasattr(classifier, "coef_") and hasattr(classifier, "intercept_"):
        coef = np.atleast_2d(np.asarray(classifier.coef_, dtype=np.float64))
        intercept = np.broadcast_to(
            np.asarray(classifier.intercept_, dtype=np.float64).ravel(), (len(coef),)
        )
    elif hasattr(classifier, "feature_log_prob_"):
        coef = np.asarray(classifier.feature_log_prob_, dtype=np.float64)
        # ComplementNB has priors but does not use them with two classes and more.
        uses_prior = not hasattr(classifier, "first_order_polynomials_") and name != "ComplementNB"
        prior = getattr(classifier, "class_log_prior_", None)
        intercept = (
            np.asarray(prior, dtype=np.float64)
            if uses_prior and prior is not None
            else np.zeros(len(coef))
        )
    else:
        raise NotCompilableError(
            f"classifier {name} cannot be compiled: it has neither coef_ and intercept_ "
            "nor feature_log_prob_"
        )
    if not hasattr(classifier, "predict_proba"):
        raise NotCompilableError(
            f"classifier {name} gives no probabilities: wrap it in CalibratedClassifierCV "
            "(method=sigmoid, ensemble=False)"
        )
    candidates = _candidates(coef, intercept.copy(), n_classes)
    named = getattr(classifier, "link_", None)
    if named is not None:
        candidates = [candidate for candidate in candidates if candidate.link == named]
    if named is None or not candidates:
        X = probe()
        expected = classifier.predict_proba(X)
        candidates = [
            candidate
            for candidate in candidates
            if np.abs(
                link(candidate.link, np.asarray(X @ candidate.coef.T) + candidate.intercept)
                - expected
            ).max()
            <= TOLERANCE
        ]
    if not candidates:
        raise NotCompilableError(
            f"classifier {name} cannot be compiled: its probabilities are none of "
            f"{', '.join(LINKS)} of its linear scores"
        )
    return candidates[0]


def _candidates(coef: Floats, intercept: Floats, n_classes: int) -> list[Linear]:
    """Return the readings of linear scores that give as many probabilities as classes."""
    if len(coef) == 1 and n_classes == 2:
        return [Linear(coef, intercept, "sigmoid")]
    if len(coef) != n_classes:
        return []
    if n_classes == 2:
        # The softmax of two scores is the sigmoid of their difference.
        return [
            Linear(coef[1:] - coef[:1], intercept[1:] - intercept[:1], "sigmoid"),
            Linear(coef, intercept, "ovr_sigmoid_normalized"),
        ]
    return [
        # The same number off every score changes no softmax, and small weights round less.
        Linear(coef - coef.mean(axis=0), intercept - intercept.mean(), "softmax"),
        Linear(coef, intercept, "ovr_sigmoid_normalized"),
    ]


def _calibrated(classifier: Any, n_classes: int) -> Linear:
    """Fold Platt's slope and offset into the weights: calibration is affine in the score."""
    parts = classifier.calibrated_classifiers_
    inner = parts[0].estimator
    if len(parts) != 1 or not hasattr(inner, "coef_") or parts[0].method != "sigmoid":
        raise NotCompilableError(
            "CalibratedClassifierCV cannot be compiled unless it is one linear model with one "
            "sigmoid: use ensemble=False and method=sigmoid around a linear classifier"
        )
    coef = np.atleast_2d(np.asarray(inner.coef_, dtype=np.float64))
    intercept = np.broadcast_to(np.asarray(inner.intercept_, dtype=np.float64), (len(coef),))
    slope = -np.array([calibrator.a_ for calibrator in parts[0].calibrators])
    offset = -np.array([calibrator.b_ for calibrator in parts[0].calibrators])
    return Linear(
        coef * slope[:, None],
        intercept * slope + offset,
        "sigmoid" if n_classes == 2 else "ovr_sigmoid_normalized",
    )

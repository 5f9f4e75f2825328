"""Calibration: one affine map from scores to log odds, fitted on held-out scores."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special
from numpy.typing import NDArray

from sentiment.models.blocks import BlockKernel
from sentiment.models.solver import Float, Kernel

# Held-out texts enough to fit the calibration: its error is then far below a percent.
ENOUGH_SCORES = 4000
# Scores of a margin lie around -1 and 1; usual slopes are 1 to 8. Below this, a text on the margin
# would have a probability of 0.52.
_LEAST_SLOPE = 0.1


def folds_for_scores(n_folds: int, n_samples: int) -> int:
    """Return how many of the folds of so many texts give held-out scores enough."""
    return min(n_folds, -(-ENOUGH_SCORES * n_folds // n_samples))


def lengths_as_if_new(kernel: Kernel | BlockKernel, used: NDArray[np.bool_]) -> Float:
    """Return by how much held-out rows would be longer, had nobody known them when X was made.

    The vocabulary holds their own n-grams too. In a new text, an n-gram that no used text has is
    unknown, and does not take its part of the row's length. Without this, scores of held-out texts
    are too small, and calibrated probabilities too sure. Rows that are not normalised stay.
    """
    lengths = np.sqrt(kernel.squares(np.ones(kernel.shape[1])))
    filled = lengths[lengths > 0]
    if not len(filled) or filled.max() > 1.01 * filled.min():
        return np.ones(int((~used).sum()))
    known = kernel.counts(used[:, None].astype(np.float64))[:, 0] > 0
    rest = np.sqrt(kernel.squares(known.astype(np.float64))[~used])
    longer: Float = np.where(rest > 0, lengths[~used] / np.where(rest > 0, rest, 1.0), 1.0)
    return longer


def affine(
    scores: Float, codes: NDArray[np.intp], weight: Float, caution: float = 1.0
) -> tuple[float, Any]:
    """Return slope and offset (one per class of more than two) that make scores log odds.

    Parameters
    ----------
    scores : float64[n, 1 or classes]
        One column of two classes, the second's.
    codes : intp[n]
        True classes.
    weight : float64[n]
    caution : float
        Texts of each class that are taken to have been seen besides, anywhere.
    """
    if scores.shape[1] == 1:
        return platt(scores[:, 0], codes == 1, weight, caution)
    return temperature(scores, codes, weight, caution)


def platt(
    score: Float, positive: NDArray[np.bool_], weight: Float, caution: float = 1.0
) -> tuple[float, float]:
    """Slope and offset of the sigmoid that fits the scores best (Platt 1999).

    Targets are drawn in from 0 and 1 as Platt proposes, so that separable scores have an answer.
    """
    n_positive, n_negative = float(weight[positive].sum()), float(weight[~positive].sum())
    target = np.where(
        positive,
        (n_positive + caution) / (n_positive + 2 * caution),
        caution / (n_negative + 2 * caution),
    )

    def objective(parameters: Float) -> tuple[float, Float]:
        z = parameters[0] * score + parameters[1]
        value = float(weight @ (np.logaddexp(0.0, z) - target * z))
        error = weight * (scipy.special.expit(z) - target)
        return value, np.array([error @ score, error.sum()])

    start = np.array([1.0, np.log((n_positive + 1) / (n_negative + 1))])
    found = scipy.optimize.minimize(objective, start, jac=True, method="BFGS")
    if not _usable(float(found.x[0])):
        return 1.0, 0.0
    return float(found.x[0]), float(found.x[1])


def temperature(
    scores: Float, codes: NDArray[np.intp], weight: Float, caution: float = 1.0
) -> tuple[float, Float]:
    """One slope and one offset per class of the softmax that fits the scores best."""
    n_classes = scores.shape[1]
    target = np.zeros_like(scores)
    target[np.arange(len(codes)), codes] = 1.0
    # The same caution as Platt's: half a text's worth of every class is added to each target.
    total = weight.sum()
    share = np.bincount(codes, weight, n_classes) / total
    target = (total * target + caution * share) / (total + caution)

    def objective(parameters: Float) -> tuple[float, Float]:
        z = parameters[0] * scores + parameters[1:]
        value = float(weight @ (scipy.special.logsumexp(z, axis=1) - (target * z).sum(axis=1)))
        error = weight[:, None] * (scipy.special.softmax(z, axis=1) - target)
        return value, np.concatenate([[(error * scores).sum()], error.sum(axis=0)])

    found = scipy.optimize.minimize(
        objective, np.concatenate([[1.0], np.zeros(n_classes)]), jac=True, method="L-BFGS-B"
    )
    if not _usable(float(found.x[0])):
        return 1.0, np.zeros(n_classes)
    return float(found.x[0]), found.x[1:] - found.x[1:].mean()


def _usable(slope: float) -> bool:
    """Tell whether a slope says anything; warn of one that does not.

    Where held-out scores tell nothing (a few texts, or only texts near the boundary), what is
    fitted to them would turn decisions round, or give every text the same one.
    """
    if slope >= _LEAST_SLOPE:
        return True
    warnings.warn(
        f"the scores of held-out texts do not tell the classes apart (slope {slope:.2g}): "
        "probabilities are not calibrated",
        stacklevel=4,
    )
    return False

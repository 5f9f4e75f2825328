"""From scores to probabilities."""

from __future__ import annotations

import math

import numpy as np

from sentiment.scorer.prediction import Floats, Ints


def best_class(scores: Floats) -> Ints:
    """Return the number of the winning class per row, scikit-learn's choice in a tie."""
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0).astype(np.int64)
    best: Ints = scores.argmax(axis=1).astype(np.int64, copy=False)
    return best


def _sigmoid(scores: Floats) -> Floats:
    # exp of minus the absolute value cannot overflow.
    small = np.exp(-np.abs(scores))
    result: Floats = np.where(scores >= 0, 1.0, small) / (1.0 + small)
    return result


def _binary(scores: Floats) -> Floats:
    return np.concatenate([_sigmoid(-scores), _sigmoid(scores)], axis=1)


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-math.inf))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def _ovr_sigmoid_normalized(scores: Floats) -> Floats:
    each = _sigmoid(scores)
    total = each.sum(axis=1, keepdims=True)
    # When every class underflows to zero they are equally likely, as in scikit-learn.
    result: Floats = np.where(total > 0, each, 1.0) / np.where(total > 0, total, each.shape[1])
    return result


_LINKS = {
    "sigmoid": _binary,
    "softmax": _softmax,
    "ovr_sigmoid_normalized": _ovr_sigmoid_normalized,
}


LINKS = tuple(_LINKS)


def link(name: str, scores: Floats) -> Floats:
    """Turn scores into probabilities, float64 [n, labels]."""
    return _LINKS[name](scores)

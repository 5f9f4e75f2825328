"""Which texts to ask for next."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

STRATEGIES = ("diverse", "uncertain", "random")
RANDOM_EVERY = 5
"""Of the chosen texts so many give one random text: an honest estimate needs some."""
_WIDER = 5  # times the batch: how many of the most uncertain texts the diverse ones are taken from

Ints = NDArray[np.int64]


def choose(
    strategy: str, scores: NDArray[np.float64] | None, X: Any, open_: Ints, batch: int, random: Any
) -> Ints:
    """Return texts to ask for, the most telling first.

    Parameters
    ----------
    strategy : {"diverse", "uncertain", "random"}
        ``uncertain`` takes those nearest to the boundary (Lewis and Gale, 1994); ``diverse`` takes,
        among five times as many of these, those that are least like one another (the farthest-first
        traversal of Gonzalez, 1985, by cosine).
    scores : float64[texts] or float64[texts, classes], optional
        Of a model; without one, texts are drawn.
    X : csr_matrix of shape (texts, features)
        Rows of length 1.
    open_ : ndarray of int64
        Texts that may be asked for.
    batch : int
    random : numpy Generator

    Returns
    -------
    ndarray of int64
        At most `batch` of them.
    """
    if strategy == "random" or scores is None or len(open_) <= batch:
        found: Ints = random.permutation(open_)[:batch]
        return found
    own = scores[open_]
    if own.ndim == 1:
        margin = np.abs(own)
    else:
        best = np.partition(own, -2, axis=1)
        margin = best[:, -1] - best[:, -2]
    if strategy == "uncertain":
        return open_[np.argsort(margin, kind="stable")[:batch]]
    near = open_[np.argsort(margin, kind="stable")[: _WIDER * batch]]
    return near[_apart(sp.csr_matrix(X[near]), batch)]


def _apart(X: Any, n: int) -> Ints:
    """Return n rows, each the one least like those before it."""
    chosen = [0]
    alike = (X @ X[0].T).toarray().ravel()
    alike[0] = np.inf
    while len(chosen) < min(n, X.shape[0]):
        place = int(alike.argmin())
        chosen.append(place)
        alike = np.maximum(alike, (X @ X[place].T).toarray().ravel())
        alike[place] = np.inf
    return np.array(chosen, dtype=np.int64)

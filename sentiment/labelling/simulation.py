"""What choosing would have saved: a labelled file answers in a person's place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sentiment.errors import DataError
from sentiment.labelling.choosing import choose
from sentiment.labelling.learner import Learner

_HELD_OUT = 5  # one text of so many judges and is never asked for
_MOST_HELD_OUT = 5000


def simulate(
    rows: Sequence[tuple[str, str]], strategy: str, *, batch: int, seed: int, most: int = 1000
) -> Iterator[tuple[int, float]]:
    """Answer with the labels that are known, and say how accurate the model is after each step.

    Parameters
    ----------
    rows : sequence of (str, str)
        Texts with their labels.
    strategy : str
        One of `choosing.STRATEGIES`.
    batch : int
        Answers of the first step; a step is a tenth of what is answered, if that is more.
    seed : int
    most : int
        Answers at most.

    Yields
    ------
    n, accuracy : int, float
        Accuracy on texts that are not asked for.

    Raises
    ------
    DataError
        There are too few texts, or one label alone.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(rows))
    held_out = order[: min(len(rows) // _HELD_OUT, _MOST_HELD_OUT)]
    asked = order[len(held_out) :]
    labels = np.array([rows[i][1] for i in asked], dtype=object)
    if len(held_out) < 1 or len(set(labels)) < 2:
        raise DataError("a simulation needs five texts or more and two labels")
    learner = Learner([rows[i][0] for i in asked], seed)
    X_out = learner.vectorizer.transform([rows[i][0] for i in held_out])
    truth = np.array([rows[i][1] for i in held_out], dtype=object)
    known: list[int] = []
    scores = None
    most = min(most, len(asked))
    while len(known) < most:
        step = min(max(batch, len(known) // 10), most - len(known))
        open_ = np.setdiff1d(np.arange(len(asked)), known)
        known += choose(strategy, scores, learner.X, open_, step, random).tolist()
        if len(set(labels[known])) < 2:
            yield len(known), float((truth == labels[known][0]).mean())
            continue
        model = learner.taught(learner.X[known], labels[known])
        scores = model.decision_function(learner.X)
        yield len(known), float((model.predict(X_out) == truth).mean())

"""Drop n-grams that hardly change an answer, and say what that and narrower numbers cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment.compiler.layout import inverse_frequency, is_hashing
from sentiment.scorer.link import best_class
from sentiment.scorer.model import Scorer
from sentiment.scorer.view import Found, NgramView, contributions, values_at

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_STEPS = 12


def prune_features(
    scorer: Scorer,
    parts: Sequence[tuple[Any, Floats, float]],
    texts: Sequence[str],
    tolerance: float,
) -> list[Bools | None]:
    """Find the most n-grams that can go without changing more labels than allowed.

    The n-grams with the smallest weights (times idf) go first; how many is found by bisection,
    with norms as they are without them.

    Parameters
    ----------
    scorer : Scorer
        With every n-gram.
    parts : sequence of (vectorizer, float64[scores, n_features], float)
        What it was made of: the weights are times the last.
    texts : sequence of str
        Held-out texts.
    tolerance : float
        Share of them whose label may change.

    Returns
    -------
    list of (bool[n_features] or None)
        Features to keep of each view; None for a hashing view, which has no n-grams to drop.
    """
    importance = [
        np.abs(coef * factor * inverse_frequency(step, coef.shape[1])).max(axis=0, initial=0.0)
        for step, coef, factor in parts
    ]
    prunable = [
        value for (step, _, _), value in zip(parts, importance, strict=True) if not is_hashing(step)
    ]
    ranked = np.sort(np.concatenate(prunable)) if prunable else np.zeros(0)
    found = [view.count(texts)[0] for view in scorer.views]
    before = best_class(_scores(scorer, found, None, len(texts)))

    def threshold(share: float) -> float:
        return float(ranked[min(int(share * len(ranked)), len(ranked) - 1)]) if len(ranked) else 0.0

    def changed(limit: float) -> float:
        if not texts:
            return 0.0
        after = best_class(_scores(scorer, found, limit, len(texts)))
        return float((after != before).mean())

    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if changed(threshold(middle)) <= tolerance else (low, middle)
    limit = threshold(low) if low else 0.0
    return [
        None if is_hashing(step) else value >= limit
        for (step, _, _), value in zip(parts, importance, strict=True)
    ]


def _scores(scorer: Scorer, found: Sequence[Found], limit: float | None, n_texts: int) -> Floats:
    """Score counted features, less those whose weights all lie below the limit."""
    scores = np.tile(scorer.intercept, (n_texts, 1))
    for view, rows in zip(scorer.views, found, strict=True):
        kept = rows
        if limit is not None and isinstance(view, NgramView):
            stays = np.abs(values_at(view, rows.rows)[:, int(view.norm is not None) :]).max(
                axis=1, initial=0.0
            ) >= limit * (1 - 1e-6)
            kept = Found(rows.texts[stays], rows.rows[stays], rows.counts[stays])
        added = contributions(view, kept, n_texts)
        for number in range(scores.shape[1]):
            scores[:, number] += np.bincount(kept.texts, added[:, number], n_texts)
    return scores


def differences(
    full: Scorer, small: Scorer, texts: Sequence[str], labels: Sequence[str] | None
) -> dict[str, Any]:
    """Return sizes, and what became of the answers, before and after.

    Returns
    -------
    dict
        ``n_texts``, ``labels_changed`` (share), ``largest_change`` (of a probability), and
        ``before`` and ``after`` with ``n_features``, ``size_bytes`` and, with labels, ``accuracy``.
    """
    before, after = full.predict(texts), small.predict(texts)
    report: dict[str, Any] = {
        "n_texts": len(texts),
        "labels_changed": float(np.mean(np.array(before.labels) != np.array(after.labels)))
        if texts
        else 0.0,
        "largest_change": float(
            np.abs(before.probabilities - after.probabilities).max(initial=0.0)
        ),
    }
    for name, scorer, answers in (("before", full, before), ("after", small, after)):
        report[name] = {"n_features": scorer.n_features, "size_bytes": scorer.size_bytes}
        if labels is not None and texts:
            report[name]["accuracy"] = float(np.mean(np.array(answers.labels) == np.array(labels)))
    return report

"""What a compiled model says of texts it was not trained on, and of texts made up to check it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment.scorer.explain import top_features
from sentiment.scorer.model import Scorer
from sentiment.scorer.view import NgramView
from sentiment.text.corpus import parallel

SCORE_EDGES = [float(edge) for edge in np.linspace(-8.0, 8.0, 33)]
SHARE_EDGES = [float(edge) for edge in np.linspace(0.0, 1.0, 21)]
# Few tokens of a usual text are unknown: most of the detail lies near nothing.
UNKNOWN_EDGES = [
    *(0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04),
    *(0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0),
]
MAX_REFERENCE = 5000
LENGTH_EDGES = [0.0, *(float(round(edge)) for edge in np.geomspace(1, 10_000, 25))]


def reference_statistics(
    scorer: Scorer, texts: Sequence[str], name: str, labels: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return histograms of what the model sees and says; none holds a text.

    Parameters
    ----------
    scorer : Scorer
    texts : sequence of str
        Held-out texts, not empty.
    name : str
        What they are.
    labels : sequence of str, optional
        Their true labels.

    Returns
    -------
    dict
        ``name``, ``n``, ``labels`` (share of each label given), ``tokens`` and ``unknown`` (all
        tokens, and those that the model does not know), ``mean_confidence``, ``accuracy`` and
        ``right`` (right answers by confidence; both None without true labels), and ``score``,
        ``confidence``, ``length`` (tokens), ``unknown_share`` as ``{"edges": [...], "counts":
        [...]}``: ``counts`` is one longer than ``edges``; the first counts what lies below the
        first edge, the last what reaches the last. ``score`` is that of the second label, or the
        winning one's. Of a model that withholds unsure answers also ``answered``: how many of the n
        texts it answered.
    """
    found = scorer.predict(texts, parallel)
    scores = found.scores[:, 0] if found.scores.shape[1] == 1 else found.scores.max(axis=1)
    unknown = found.n_unknown / np.maximum(found.n_tokens, 1)
    accuracy = right = None
    if labels is not None:
        hits = np.array([a == b for a, b in zip(found.labels, labels, strict=True)], dtype=bool)
        accuracy = float(hits.mean())
        right = histogram(found.confidence[hits], SHARE_EDGES)["counts"]
    return {
        "name": name,
        "n": len(texts),
        "labels": {label: found.labels.count(label) / len(texts) for label in scorer.labels},
        "tokens": int(found.n_tokens.sum()),
        "unknown": int(found.n_unknown.sum()),
        # Rounded, so that the order of a sum does not show in the digest.
        "mean_confidence": round(float(found.confidence.mean()), 6),
        "accuracy": accuracy,
        "right": right,
        **(
            {"answered": int((~scorer.decision.unsure(found.confidence)).sum())}
            if scorer.decision.withholds
            else {}
        ),
        "score": histogram(scores, SCORE_EDGES),
        "confidence": histogram(found.confidence, SHARE_EDGES),
        "length": histogram(found.n_tokens, LENGTH_EDGES),
        "unknown_share": histogram(unknown, UNKNOWN_EDGES),
    }


def histogram(values: NDArray[Any], edges: Sequence[float]) -> dict[str, list[Any]]:
    """Count values between edges, and below the first and from the last on."""
    places = np.searchsorted(np.asarray(edges), values, side="right")
    counts = np.bincount(places, minlength=len(edges) + 1)
    return {"edges": list(edges), "counts": counts.tolist()}


def golden_texts(scorer: Scorer) -> list[str]:
    """Make texts up that touch every part of a model: its n-grams, cleaning, unknown tokens.

    They are made of the vocabulary, never of training texts.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    strongest = top_features(scorer, 8)
    words: list[str] = []
    for view in scorer.views:
        if isinstance(view, NgramView) and view.n_tokens:
            rows = generator.integers(1, view.n_tokens + 1, size=24)
            words += [view.ngram(row) for row in rows.tolist()]
            slots = generator.integers(view.first_slot, len(view.values), size=24)
            words += [view.ngram(row) for row in slots.tolist()]
    texts = [" ".join(feature.ngram for feature in strongest[label]) for label in scorer.labels]
    return texts + golden_words(words, generator)


def golden_cases(scorer: Scorer, texts: list[str]) -> list[dict[str, Any]]:
    """Return what ``scorer.json`` holds of texts: the model's answers, and their decisions."""
    cases = []
    for text, row in zip(texts, scorer.predict(texts).probabilities.tolist(), strict=True):
        case = {"text": text, "probabilities": row}
        if scorer.decision:
            label, withheld = scorer.decided(row)
            case |= {"label": label, "withheld": withheld}
        cases.append(case)
    return cases


def golden_words(words: list[str], generator: np.random.Generator) -> list[str]:
    """Make texts up of some of a model's words, and of what is hard to read alike everywhere."""
    words = words or [f"word{number}" for number in range(24)]
    generator.shuffle(words)
    return [
        " ".join(words),
        " ".join(words[:9] + words[:9] + words[:3]).upper(),
        "",
        "İstanbul café <br /> naïve — ﬁne ½ don't ЁЖ 東京 १२ e\u0301 \t x" + words[0],
    ]

"""Drift of many texts at once, from a file or a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sentiment.drift.reference import Reference
from sentiment.drift.signals import measure
from sentiment.drift.words import NewWords
from sentiment.scorer import Scorer


def monitor_texts(
    scorer: Scorer,
    batches: Iterable[Sequence[str | None]],
    limits: Mapping[str, float],
    observed: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Compare texts with what the model was made with.

    Parameters
    ----------
    scorer : Scorer
    batches : iterable of sequences of str or None
        Texts, some at a time; null and empty ones do not count.
    limits : mapping
        Signal to limit, for those that differ from the defaults.
    observed : (int, int), optional
        Right answers and all answers of feedback about this model.

    Returns
    -------
    dict
        JSON values; ``texts`` is 0 when there were none.

    Raises
    ------
    ModelError
        The model holds no reference.
    """
    reference = Reference(scorer)
    counts = reference.zeros()
    new_words = NewWords(reference)
    for batch in batches:
        texts = [text for text in batch if text]
        if texts:
            reference.add(counts, texts, scorer.predict(texts))
            new_words.add(texts)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {"digest": scorer.digest},
        **measure(reference, counts, limits, observed=observed).document(),
        "new_words": [{"word": word, "share": share} for word, share in new_words.top()],
    }

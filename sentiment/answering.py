"""Texts of which some may be missing, through a scorer: the answers that every command gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from sentiment.records.answers import BatchAnswers, Note, note_of
from sentiment.scorer import Scorer
from sentiment.scorer.explanation import Explanation


def score_texts(
    scorer: Scorer, texts: Sequence[str | None], min_confidence: float | None = None
) -> BatchAnswers:
    """Score texts of which some may be missing.

    Parameters
    ----------
    scorer : Scorer
    texts : sequence of (str or None)
        A blank text is none.
    min_confidence : float, optional
        Below it the label is withheld; by default as the model's decision says.

    Returns
    -------
    BatchAnswers
    """
    least = scorer.decision.least(min_confidence)
    found = scorer.predict([text for text in texts if _is_text(text)])
    rows = zip(
        found.labels,
        found.confidence.tolist(),
        found.probabilities.tolist(),
        found.n_tokens.tolist(),
        found.n_unknown.tolist(),
        strict=True,
    )
    answers = BatchAnswers([], [], [], [], [])
    for text in texts:
        if _is_text(text):
            label, number, row, n_tokens, n_unknown = next(rows)
            note = note_of(number, least, n_tokens, n_unknown)
            withheld = note is Note.ABSTAINED
            answers.labels.append(None if withheld else label)
            answers.would_be.append(label if withheld else None)
            answers.confidence.append(number)
            answers.probabilities.append(row)
            answers.notes.append(note)
        else:
            answers.labels.append("")
            answers.would_be.append(None)
            answers.confidence.append(None)
            answers.probabilities.append(None)
            answers.notes.append(Note.NO_TEXT)
    return answers


def note_of_explained(scorer: Scorer, found: Explanation) -> Note | None:
    """Return the note on a text that was explained: the label shown is that which would be given."""
    if scorer.decision.unsure(found.probabilities[found.label]):
        return Note.ABSTAINED
    return None if found.contributions else Note.NO_KNOWN_WORD


def explanation_document(scorer: Scorer, found: Explanation, verdict: str) -> dict[str, Any]:
    """Return an explanation as JSON values, as every door gives it.

    Parameters
    ----------
    scorer : Scorer
    found : Explanation
    verdict : str
        The key of the label.
    """

    def by_label(scores: Sequence[float]) -> dict[str, float]:
        # Two classes share one score: what speaks for the second speaks against the first.
        both = (-scores[0], scores[0]) if len(scores) == 1 else scores
        return dict(zip(scorer.labels, both, strict=True))

    return {
        "text": found.text,
        verdict: found.label,
        "confidence": found.probabilities[found.label],
        "probabilities": found.probabilities,
        "scores": by_label(found.scores),
        "intercept": by_label(found.intercept),
        "contributions": [
            {
                "ngram": part.ngram,
                "count": part.count,
                "contribution": by_label(part.scores),
                "spans": part.spans,
            }
            for part in found.contributions
        ],
        "rest": by_label(found.rest),
        "note": note_of_explained(scorer, found),
    }


def _is_text(text: str | None) -> TypeGuard[str]:
    return bool(text) and not str(text).isspace()

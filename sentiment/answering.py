"""Texts of which some may be missing, through a scorer: the answers that every command gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from sentiment.records.answers import BatchAnswers, Note, note_of
from sentiment.scorer import Scorer


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


def _is_text(text: str | None) -> TypeGuard[str]:
    return bool(text) and not str(text).isspace()

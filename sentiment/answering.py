"""Texts of which some may be missing, through a scorer: the answers that every command gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from sentiment.records.answers import Answers, Note
from sentiment.scorer import ABSTAIN, Scorer


def score_texts(
    scorer: Scorer, texts: Sequence[str | None], min_confidence: float = 0.0
) -> Answers:
    """Score texts of which some may be missing.

    Parameters
    ----------
    scorer : Scorer
    texts : sequence of (str or None)
        A blank text is none.
    min_confidence : float
        Below it the label is ``abstain``.

    Returns
    -------
    Answers
    """
    found = scorer.predict([text for text in texts if _is_text(text)])
    rows = zip(
        found.labels,
        found.confidence.tolist(),
        found.probabilities.tolist(),
        (found.n_unknown >= found.n_tokens).tolist(),
        strict=True,
    )
    answers = Answers([], [], [], [])
    for text in texts:
        if _is_text(text):
            label, number, row, unknown = next(rows)
            withheld = number < min_confidence
            answers.labels.append(ABSTAIN if withheld else label)
            answers.confidence.append(number)
            answers.probabilities.append(row)
            answers.notes.append(
                Note.ABSTAINED if withheld else Note.NO_KNOWN_WORD if unknown else None
            )
        else:
            answers.labels.append("")
            answers.confidence.append(None)
            answers.probabilities.append(None)
            answers.notes.append(Note.NO_TEXT)
    return answers


def _is_text(text: str | None) -> TypeGuard[str]:
    return bool(text) and not str(text).isspace()

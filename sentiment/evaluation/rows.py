"""Answers row by row, with what speaks for them: for a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sentiment.evaluation.answers import Answers

if TYPE_CHECKING:
    from sentiment.scorer import Scorer

COLUMNS = ("row", "label", "predicted", "right", "confidence", "explanation", "text")
_NGRAMS = 8


def answered_rows(answers: Answers, scorer: Scorer) -> list[dict[str, Any]]:
    """Return each row's answer.

    Parameters
    ----------
    answers : Answers
    scorer : Scorer
        Explains; one that does not compile leaves ``explanation`` empty.

    Returns
    -------
    list of dict
        With the keys `COLUMNS`. ``explanation`` holds the n-grams that add most to the answer's
        score or take most from it, with what they add.
    """
    return list(_rows(answers, scorer))


def _rows(answers: Answers, scorer: Scorer) -> Iterator[dict[str, Any]]:
    for row, text in enumerate(answers.texts):
        yield {
            "row": row,
            "label": answers.labels[row],
            "predicted": answers.predicted[row],
            "right": bool(answers.correct[row]),
            "confidence": float(answers.confidence[row]),
            "explanation": _speaking(scorer, text, answers.predicted[row])
            if scorer.compiled
            else "",
            "text": text,
        }


def _speaking(scorer: Scorer, text: str, label: str) -> str:
    found = scorer.explain(text, _NGRAMS)
    # Of two classes one score speaks for both.
    known = label in found.score_labels
    number, sign = (found.score_labels.index(label), 1) if known else (0, -1)
    return "; ".join(
        f"{part.ngram} {sign * part.scores[number]:+.3f}" for part in found.contributions
    )

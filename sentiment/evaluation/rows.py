"""Answers row by row, with what speaks for them: for a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sentiment.evaluation.answers import Answers

if TYPE_CHECKING:
    from sentiment.scorer import Scorer
    from sentiment.scorer.explain import Strong

COLUMNS = ("row", "label", "predicted", "right", "confidence", "explanation", "text")
_NGRAMS = 8
_AT_ONCE = 256


def answered_rows(
    answers: Answers,
    scorer: Scorer,
    progress: Callable[[int, float | None], None] | None = None,
) -> list[dict[str, Any]]:
    """Return each row's answer.

    Parameters
    ----------
    answers : Answers
    scorer : Scorer
        Explains; one that does not compile leaves ``explanation`` empty.
    progress : callable, optional
        Told the rows that are done and their share.

    Returns
    -------
    list of dict
        With the keys `COLUMNS`. ``explanation`` holds the n-grams that add most to the answer's
        score or take most from it, with what they add.
    """
    rows: list[dict[str, Any]] = []
    for first in range(0, len(answers), _AT_ONCE):
        texts = answers.texts[first : first + _AT_ONCE]
        said = scorer.strongest(texts, _NGRAMS) if scorer.compiled else [[] for _ in texts]
        for row, (text, strong) in enumerate(zip(texts, said, strict=True), first):
            rows.append(
                {
                    "row": row,
                    "label": answers.labels[row],
                    "predicted": answers.predicted[row],
                    "right": bool(answers.correct[row]),
                    "confidence": float(answers.confidence[row]),
                    "explanation": _speaking(scorer.labels, strong, answers.predicted[row]),
                    "text": text,
                }
            )
        if progress is not None:
            progress(len(rows), len(rows) / len(answers))
    return rows


def _speaking(labels: Sequence[str], strong: Sequence[Strong], label: str) -> str:
    # Of two classes one score speaks for both: for the second.
    place = list(labels).index(label)
    return "; ".join(
        f"{one.ngram} {one.scores[place] if len(one.scores) > 1 else (-1, 1)[place] * one.scores[0]:+.3f}"
        for one in strong
    )

"""What is said of a batch of rows."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Note(StrEnum):
    """What a label alone does not say of an answer."""

    NO_TEXT = "no text"
    NO_KNOWN_WORD = "no known word"
    ABSTAINED = "abstained"


def note_of(confidence: float, least: float, n_tokens: int, n_unknown: int) -> Note | None:
    """Return the note on an answer to a text.

    Parameters
    ----------
    confidence, least : float
        An answer of less confidence than `least` is withheld.
    n_tokens, n_unknown : int
        Of the text, and those that the model does not know.
    """
    if confidence < least:
        return Note.ABSTAINED
    return Note.NO_KNOWN_WORD if n_unknown >= n_tokens else None


class BatchAnswers(NamedTuple):
    """What a model says of a batch's rows.

    Attributes
    ----------
    labels : list of (str or None)
        Empty where there is no text, None where one is withheld.
    confidence : list of (float or None)
    probabilities : list of (list of float or None)
        One per label of the model.
    notes : list of (Note or None)
    would_be : list of (str or None)
        The labels that are withheld.
    """

    labels: list[str | None]
    confidence: list[float | None]
    probabilities: list[list[float] | None]
    notes: list[Note | None]
    would_be: list[str | None]

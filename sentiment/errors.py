"""The errors that a user can cause or mend: one line each, with the exit code of the command."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SentimentError(Exception):
    """Something failed; the message is one line that names the value and the fix."""

    exit_code = 1


class UsageError(SentimentError):
    """The request itself is wrong: an unknown key, a missing file, a bad value."""

    exit_code = 2


class DataError(UsageError):
    """Input data cannot be used: a missing column, an unreadable file, one class only."""


class ModelError(SentimentError):
    """A model was found but is refused: truncated, altered, foreign or of a newer format."""


class ModelNotFoundError(UsageError):
    """No model answers to this reference."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra '{extra}': pip install 'sentiment[{extra}]'")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``"; did you mean 'C'?"``, or an empty string.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        What exists.
    """
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{matches[0]}'?" if matches else ""

"""The errors that a user can cause or mend: one line each, with the exit code of the command."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import NamedTuple

DISTRIBUTION = "sentiment-mlops"
"""What the package index calls this project; its name `sentiment` is another's."""


class Parameter(NamedTuple):
    """A parameter that an error speaks of; who shows the error knows how it is written there.

    Attributes
    ----------
    name : str
        In Python.
    value : str or None
    key : str or None
        In the config, where that is another.
    """

    name: str
    value: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        """Return it as Python writes it."""
        return self.name if self.value is None else f"{self.name}={self.value!r}"

    def as_option(self) -> str:
        """Return it as the command line writes it."""
        option = "--" + self.name.replace("_", "-")
        return option if self.value is None else f"{option} {self.value}"

    def as_override(self) -> str:
        """Return it as a config override, where it has a key."""
        if self.key is None:
            return self.as_option()
        return f"{self.key}={'…' if self.value is None else self.value}"


class SentimentError(Exception):
    """Something failed; the message is one line that names the value and the fix.

    Parameters
    ----------
    *parts : str or Parameter
        Joined to the message.
    """

    exit_code = 1

    def __init__(self, *parts: str | Parameter) -> None:
        super().__init__(*parts)

    def __str__(self) -> str:
        """Return the message as Python's users read it."""
        return "".join(map(str, self.args))

    def shown(self, parameter: Callable[[Parameter], str]) -> str:
        """Return the message with parameters as `parameter` writes them."""
        return "".join(
            parameter(part) if isinstance(part, Parameter) else str(part) for part in self.args
        )


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
        super().__init__(
            f"{feature} needs the extra '{extra}': pip install '{DISTRIBUTION}[{extra}]'"
        )


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

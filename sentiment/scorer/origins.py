"""Where each character of a cleaned text came from: cleaning, followed back step by step."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Literal

from sentiment.text.normal import (
    ENTITY,
    LOOSE_JOINER,
    SINGLE,
    TURKISH_I,
    Form,
    decode_entity,
    repeats,
)
from sentiment.text.spec import SURROGATE, TAG, TextSpec

Span = tuple[int, int]


class _Traced:
    """A text, and for each of its characters start and end of what it was made of."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans: list[Span] = [(place, place + 1) for place in range(len(text))]

    def replace(self, pattern: re.Pattern[str], change: Callable[[re.Match[str]], str]) -> None:
        """Replace every match; characters of one that keeps its length keep their own places."""
        parts: list[str] = []
        spans: list[Span] = []
        done = 0
        for match in pattern.finditer(self.text):
            first, last = match.span()
            parts += [self.text[done:first], new := change(match)]
            spans += self.spans[done:first]
            old = self.spans[first:last]
            spans += old if len(new) == len(old) else [(old[0][0], old[-1][1])] * len(new)
            done = last
        self.text = "".join([*parts, self.text[done:]])
        self.spans = spans + self.spans[done:]


_CHARACTER = re.compile(".", re.DOTALL)


def origins(text: str, spec: TextSpec) -> list[Span]:
    """Return, for each character of `clean`'s text, start and end of its part of the text as given.

    Parameters
    ----------
    text : str
    spec : TextSpec
    """
    traced = _Traced(text)
    traced.replace(SURROGATE, lambda match: "\ufffd")
    if spec.normalize is not None:
        traced.replace(ENTITY, decode_entity)
        if not traced.text.isascii():
            _unify(traced, spec.normalize)
    if spec.strip_html:
        traced.replace(TAG, lambda match: " ")
    if spec.lowercase:
        # One capital sigma becomes another letter at a word's end: the text is not compared.
        traced.replace(_CHARACTER, lambda match: match.group().lower())
        if spec.normalize is not None:
            traced.replace(TURKISH_I, lambda match: "i")
    if spec.max_repeats is not None:
        traced.replace(repeats(spec.max_repeats), lambda match: match.group(1))
    if spec.strip_accents is not None:
        how = spec.strip_accents
        traced.replace(_CHARACTER, lambda match: _without_accents(match.group(), how))
    return traced.spans


def _unify(traced: _Traced, form: Form) -> None:
    for _ in range(1 if form == "nfc" else 2):
        traced.replace(_CHARACTER, lambda match: match.group().translate(SINGLE))
        traced.replace(LOOSE_JOINER, lambda match: "")
        _compose(traced, "NFC" if form == "nfc" else "NFKC")


def _compose(traced: _Traced, form: Literal["NFC", "NFKC"]) -> None:
    """Compose each character with what follows it and can be composed with it."""
    text, spans = traced.text, traced.spans
    traced.text, traced.spans = "", []
    parts: list[str] = []
    begin = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and _follows(text[end]):
            continue
        new = unicodedata.normalize(form, text[begin:end])
        old = spans[begin:end]
        parts.append(new)
        traced.spans += old if len(new) == len(old) else [(old[0][0], old[-1][1])] * len(new)
        begin = end
    traced.text = "".join(parts)


def _follows(character: str) -> bool:
    """Whether it can be composed with the one before: marks, and vowels and finals of Hangul in any form."""
    if character < "\u0300":
        return False
    return (
        unicodedata.category(character)[0] == "M"
        or "\u1160" <= character <= "\u11ff"
        or "\u3131" <= character <= "\u318e"
        or "\uff9e" <= character <= "\uffdc"
    )


def _without_accents(character: str, how: str) -> str:
    character = unicodedata.normalize("NFKD", character)
    if how == "ascii":
        return character.encode("ascii", "ignore").decode("ascii")
    return "".join(c for c in character if not unicodedata.combining(c))

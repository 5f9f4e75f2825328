"""How a text becomes tokens: cleaning, token patterns and n-gram hashes, shared by training and scoring.

Scoring runs exactly this module (numpy and the standard library only). Training tokenizes many texts
at a time elsewhere, and must give what :class:`Tokenizer` gives.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from sentiment.text.normal import (
    FLAGS,
    TAGS,
    TONES,
    UNSEGMENTED,
    Form,
    mark_ranges,
    normalize,
    repeats,
)

PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        # scikit-learn's default (?u)\b\w\w+\b: a greedy run of word characters needs no \b.
        "word": r"\w\w+",
        # One-letter words too: "a", "I", "7".
        "letter": r"\w+",
        # Words that keep their apostrophes: "don't", "it's".
        "apostrophe": r"\w+(?:['’]\w+)*",
        # The same, and every other visible character is a token: "!", "?", ")"; three dots are one.
        "punctuation": r"\w+(?:['’]\w+)*|\.\.\.|[^\w\s]",
        # The same, and each character (with its marks) of Chinese, Japanese, Thai, Lao, Khmer and
        # Burmese, which put no blanks between words: their n-grams are n-grams of characters.
        "unsegmented": r"\w+(?:['’]\w+)*|\.\.\.|[^\w\s]",
    }
)
"""Named token patterns, as they match ASCII text and, but for ``unsegmented``, text that is not normalized:
there ``\\w`` is Python's, ``[\\p{L}\\p{N}_]``, so a combining mark ends a word. See `marked_pattern`."""

SKLEARN_PATTERN = r"(?u)\b\w\w+\b"

MANY_CHARACTERS = 10_000
"""From so many characters on, reading texts all at once is faster than one after the other."""

TAG = re.compile(r"</?[A-Za-z][^<>]*>")
SURROGATE = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(r"\s\s+")
_ASCII = [chr(code) for code in range(128)]
_ASCII_WORD = frozenset(c for c in _ASCII if c.isalnum() or c == "_")
_MARKS = [c for c in _ASCII if c.isprintable() and not c.isspace() and c not in _ASCII_WORD]
# Tables for `str.translate`: what separates words becomes a space.
_WORDS_ONLY = "".join(c if c in _ASCII_WORD else " " for c in _ASCII)
_APOSTROPHES_TOO = "".join(c if c in _ASCII_WORD or c == "'" else " " for c in _ASCII)
# Control characters are tokens of their own, and rare: "\0" stands for all of them.
_MARKS_TOO = "".join(" " if c.isspace() else c if c.isprintable() else "\0" for c in _ASCII)
_MARKS_APART = [(mark, f" {mark} ") for mark in _MARKS if mark not in "'."]


@dataclass(frozen=True, slots=True)
class TextSpec:
    """Everything that turns a text into tokens and says which n-grams of them count.

    Parameters
    ----------
    analyzer : {"word", "char", "char_wb"}
        A token is a match of ``token_pattern``, or one character. ``char_wb`` makes n-grams only
        inside words padded with one space on either side, as scikit-learn does.
    lowercase : bool
        ``str.lower`` before anything is matched.
    strip_accents : {None, "unicode", "ascii"}
        scikit-learn's two ways to remove accents, after lowercasing.
    strip_html : bool
        Replace every tag (``<br />``, ``</i>``) by a space; ``a < b`` and ``<3`` stay.
    normalize : {None, "nfc", "nfkc"}
        One spelling for entities, quotes, dashes, spaces, accents and emoji, before anything else
        (`sentiment.text.normal` has the steps); marks become part of words for named patterns.
    max_repeats : int or None
        A letter that is written more often in a row is written that often: with 3, ``soooooo`` and
        ``sooo`` are one word. After lowercasing.
    token_pattern : str
        A name in `PATTERNS` or a regular expression of Python's ``re`` with at most one group.
    stop_words : tuple of str or None
        Tokens that are removed before n-grams are made (analyzer ``word`` only).
    ngram_range : (int, int)
        Shortest and longest n-gram, in tokens.
    """

    analyzer: Literal["word", "char", "char_wb"] = "word"
    lowercase: bool = True
    strip_accents: Literal["unicode", "ascii"] | None = None
    strip_html: bool = False
    normalize: Form | None = None
    max_repeats: int | None = None
    token_pattern: str = "word"
    stop_words: tuple[str, ...] | None = None
    ngram_range: tuple[int, int] = (1, 1)

    @property
    def marks(self) -> bool:
        """Whether combining marks are part of the words of a named pattern."""
        return self.normalize is not None or self.token_pattern == "unsegmented"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; tuples become lists."""
        fields = asdict(self)
        fields["ngram_range"] = list(self.ngram_range)
        fields["stop_words"] = None if self.stop_words is None else list(self.stop_words)
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TextSpec:
        """Return the spec that `to_dict` described.

        Raises
        ------
        TypeError
            A field is unknown.
        """
        values = dict(fields)
        if values.get("stop_words") is not None:
            values["stop_words"] = tuple(values["stop_words"])
        if "ngram_range" in values:
            low, high = values["ngram_range"]
            values["ngram_range"] = (int(low), int(high))
        return cls(**values)


def compile_pattern(token_pattern: str, marks: bool = False) -> re.Pattern[str]:
    """Compile a token pattern.

    Parameters
    ----------
    token_pattern : str
        A name in `PATTERNS` or a regular expression.

    marks : bool
        Combining marks are part of the words of a named pattern.

    Raises
    ------
    ValueError
        Not a regular expression, or one with more than one group; names ``token_pattern``.
    """
    if token_pattern == SKLEARN_PATTERN:
        token_pattern = "word"
    if marks and token_pattern in PATTERNS:
        return marked_pattern(token_pattern)
    try:
        pattern = re.compile(PATTERNS.get(token_pattern, token_pattern))
    except re.error as error:
        names = ", ".join(PATTERNS)
        raise ValueError(
            f"token_pattern={token_pattern!r} is not a regular expression ({error}); "
            f"named patterns are {names}"
        ) from None
    if pattern.groups > 1:
        raise ValueError(
            f"More than 1 capturing group in token_pattern={token_pattern!r}: "
            "write (?:...) for groups that do not select the token"
        )
    return pattern


def _set(ranges: tuple[tuple[int, int], ...]) -> str:
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


@lru_cache(maxsize=len(PATTERNS))
def marked_pattern(name: str) -> re.Pattern[str]:
    """Return a named token pattern with combining marks as parts of words and emoji as one token.

    Parameters
    ----------
    name : str
        A name in `PATTERNS`.
    """
    # Most characters that end a word are ASCII: they are told from marks at once.
    mark = rf"(?![\0-\u02ff])[{_set(mark_ranges())}]"
    letter = r"\w"
    single = ""
    if name == "unsegmented":
        others = _set(UNSEGMENTED)
        single = rf"(?!{mark})(?=\w)[{others}](?:{mark})*|"
        letter = rf"(?:(?![{others}])\w)"
    parts = rf"(?:{letter}+|(?:{mark})+)+"
    if name == "word":
        return re.compile(rf"(?:{letter}|{mark}){parts}")
    if name == "letter":
        return re.compile(parts)
    words = rf"{parts}(?:['’]{parts})*"
    if name == "apostrophe":
        return re.compile(words)
    follows = rf"[{TONES}{TAGS}\u200d]|(?<=\u200d)(?![.{FLAGS}]|{mark})[^\w\s]"
    return re.compile(rf"{single}{words}|\.\.\.|(?:[{FLAGS}]{{2}}|(?!{mark})[^\w\s])(?:{follows})*")


def clean(text: str, spec: TextSpec) -> str:
    """Return the text that tokens are matched in.

    Lone surrogates become U+FFFD, then the text is normalized, HTML tags become a space, then
    lowercase, then repeated letters are shortened, then accents are stripped.

    Parameters
    ----------
    text : str
    spec : TextSpec
    """
    ascii_only = text.isascii()
    if not ascii_only:
        try:
            text.encode()
        except UnicodeEncodeError:
            text = SURROGATE.sub("\ufffd", text)
    if spec.normalize is not None and ("&" in text or not ascii_only):
        text = normalize(text, spec.normalize)
        ascii_only = text.isascii()
    if spec.strip_html and "<" in text:
        text = TAG.sub(" ", text)
    if spec.lowercase:
        text = text.lower()
        if spec.normalize is not None and not ascii_only:
            text = text.replace("i\u0307", "i")
    if spec.max_repeats is not None:
        text = repeats(spec.max_repeats).sub(r"\1", text)
    if spec.strip_accents is not None and not ascii_only:
        text = _strip_accents(text, spec.strip_accents)
    return text


def _strip_accents(text: str, how: Literal["unicode", "ascii"]) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    if how == "ascii":
        return decomposed.encode("ascii", "ignore").decode("ascii")
    return "".join([c for c in decomposed if not unicodedata.combining(c)])


def _split_words(text: str) -> list[str]:
    return text.translate(_WORDS_ONLY).split()


def _split_apostrophe(text: str) -> list[str] | None:
    text = text.translate(_APOSTROPHES_TOO)
    if "'" in text:
        if "''" in text:
            return None
        # Those that do not stand between two letters go.
        text = f" {text} ".replace(" '", " ").replace("' ", " ")
    return text.split()


def _split_punctuation(text: str) -> list[str] | None:
    text = text.translate(_MARKS_TOO)
    if "\0" in text or "''" in text:
        return None
    for mark, apart in _MARKS_APART:
        if mark in text:
            text = text.replace(mark, apart)
    if "." in text:
        text = text.replace("...", "\0").replace(".", " . ").replace("\0", " ... ")
    if "'" in text:
        text = f" {text} ".replace(" '", " ' ").replace("' ", " ' ")
    return text.split()


# ASCII text is split two to three times as fast as it is matched. Each gives the matches of its
# pattern (those of "word" are still to be cleared of single letters), or None for a rare text.
_SPLITS: dict[str, Callable[[str], list[str] | None]] = {
    PATTERNS["word"]: _split_words,
    PATTERNS["letter"]: _split_words,
    PATTERNS["apostrophe"]: _split_apostrophe,
    PATTERNS["punctuation"]: _split_punctuation,  # and of "unsegmented"
}


class Tokenizer:
    """Turn a text into its unigram tokens.

    Parameters
    ----------
    spec : TextSpec

    Notes
    -----
    For ``char_wb`` the tokens of all padded words follow one another, so that two spaces in a row
    mark the seam between words. No n-gram crosses a seam: no vocabulary has one with two spaces in a
    row, so whoever looks n-grams up needs no rule for it.
    """

    __slots__ = ("_pattern", "_split", "dropped", "spec")

    def __init__(self, spec: TextSpec) -> None:
        self.spec = spec
        # Not with marks: their pattern takes ten milliseconds and ASCII text needs none.
        pattern = compile_pattern(spec.token_pattern)
        named = spec.token_pattern in PATTERNS or spec.token_pattern == SKLEARN_PATTERN
        self._pattern = None if named and spec.marks else pattern
        self._split = _SPLITS.get(pattern.pattern)
        short = _ASCII_WORD if pattern.pattern == PATTERNS["word"] else ()
        self.dropped = frozenset(spec.stop_words or ()).union(short)

    def __call__(self, text: str) -> list[str]:
        """Return the tokens in order.

        Parameters
        ----------
        text : str
        """
        if self.spec.analyzer != "word":
            return list(spaced(clean(text, self.spec), self.spec))
        tokens = self.split(text)
        dropped = self.dropped
        return [token for token in tokens if token not in dropped] if dropped else tokens

    def split(self, text: str) -> list[str]:
        """Return the tokens in order, and among them words of `dropped`, which are none."""
        text = clean(text, self.spec)
        if self._split is not None and text.isascii():
            tokens = self._split(text)
            if tokens is not None:
                return tokens
        if self._pattern is None:
            self._pattern = compile_pattern(self.spec.token_pattern, self.spec.marks)
        return self._pattern.findall(text)

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[TextSpec]]:
        return Tokenizer, (self.spec,)


def spaced(text: str, spec: TextSpec) -> str:
    """Return a cleaned text with its spaces as the character analyzers want them.

    ``char``: two or more spaces become one. ``char_wb``: every word gets a space on either side.

    Parameters
    ----------
    text : str
        Returned by `clean`.
    spec : TextSpec
    """
    if spec.analyzer == "char":
        return _SPACES.sub(" ", text)
    words = text.split()
    return f" {'  '.join(words)} " if words else ""


_BLOCK = 0x1000  # code points looked at at once: all of them would take 100 MB for a moment


@lru_cache(maxsize=1)
def word_ranges() -> tuple[tuple[int, int], ...]:
    """Return the code point ranges (both ends included) of Python's word characters.

    Other engines know another version of Unicode; with these ranges they match what scoring matches.
    """
    ranges: list[tuple[int, int]] = []
    for begin in range(0, 0x110000, _BLOCK):
        points = np.arange(begin, begin + _BLOCK, dtype="<u4")
        # A replacement mark stands for each lone surrogate, as in a text.
        block = points.tobytes().decode("utf-32-le", "surrogatepass")
        for match in re.finditer(r"\w+", SURROGATE.sub("\ufffd", block)):
            first, last = begin + match.start(), begin + match.end() - 1
            if ranges and ranges[-1][1] == first - 1:
                first = ranges.pop()[0]
            ranges.append((first, last))
    return tuple(ranges)

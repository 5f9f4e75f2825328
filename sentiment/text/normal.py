"""One spelling for what keyboards, phones and web pages write differently.

`normalize` takes these steps, in this order:

1. HTML entities are decoded (``don&#39;t``, ``&amp;quot;``); only those with their semicolon.
2. Apostrophes and single quotes become ``'``, double quotes ``"``, dashes ``-``, every kind of space
   and line separator a space, and ``…`` three dots.
3. Variation selectors, soft hyphens and everything of no width go. The joiner of emoji stays between
   two of them.
4. Unicode's composed form: NFC, or NFKC, which also unifies full-width letters, ligatures and ``①``.
   After NFKC the steps 2 to 4 are done once more.

With normalization a combining mark is part of a word for every named token pattern, so that words of
Hindi, Thai or vocalized Arabic stay whole, and an emoji with its skin tone, its joined emoji or the
other half of its flag is one token of the pattern ``punctuation``. Lowercasing comes afterwards and is
the same for all languages: the Turkish ``İ`` becomes ``i`` as in Turkish; ``I`` becomes ``i`` too, not
``ı``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

Form = Literal["nfc", "nfkc"]

ENTITY = re.compile(r"&(?:amp;)*(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Symbols that a joiner can stand between; none is a word character.
_SYMBOL = "\u2190-\u23ff\u2500-\u2775\u2794-\u2bff\U0001f10d-\U0001faff"
TAGS = "\U000e0020-\U000e007f"
TONES = "\U0001f3fb-\U0001f3ff"
FLAGS = "\U0001f1e6-\U0001f1ff"
LOOSE_JOINER = re.compile(f"(?<![{_SYMBOL}])\u200d|\u200d(?![{_SYMBOL}])")
TURKISH_I = re.compile("i\u0307")


def _single() -> dict[int, str]:
    table = dict.fromkeys(
        map(
            ord,
            "\u00b4\u02b9\u02bb\u02bc\u0374\u05f3\u1fbd\u1fbf\u1ffd\u2018\u2019\u201a\u201b\u2032\u2039\u203a\uff07",
        ),
        "'",
    )
    table |= dict.fromkeys(
        map(ord, "\u00ab\u00bb\u05f4\u201c\u201d\u201e\u201f\u2033\u2e42\u301d\u301e\u301f\uff02"),
        '"',
    )
    table |= dict.fromkeys(
        [
            0x058A,
            *range(0x2010, 0x2016),
            0x2212,
            0x2E3A,
            0x2E3B,
            0xFE31,
            0xFE32,
            0xFE58,
            0xFE63,
            0xFF0D,
        ],
        "-",
    )
    table |= dict.fromkeys(
        [0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000], " "
    )
    table |= dict.fromkeys(
        [
            0xAD, 0x34F, 0x61C, 0x180B, 0x180C, 0x180D, 0x180E, 0x180F, 0x200B, 0x200C, 0x200E, 0x200F,
            *range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x2070),
            *range(0xFE00, 0xFE10), 0xFEFF, *range(0xE0100, 0xE01F0),
        ],
        "",
    )  # fmt: skip
    table[0x2026] = "..."
    return table


SINGLE = _single()
"""What becomes of a character, whatever stands beside it: a table for `str.translate`."""


def decode_entity(match: re.Match[str]) -> str:
    """Return the characters of an entity; an unknown one stays."""
    from html import unescape  # three milliseconds, for few texts
    from html.entities import html5

    name = match.group(1)
    if name.startswith("#"):
        return unescape(f"&{name};")
    return html5.get(f"{name};", match.group())


def normalize(text: str, form: Form) -> str:
    """Return a text in its one spelling.

    Parameters
    ----------
    text : str
        Without lone surrogates.
    form : {"nfc", "nfkc"}

    Returns
    -------
    str
    """
    if "&" in text:
        text = ENTITY.sub(decode_entity, text)
    if text.isascii():
        return text
    text = _unify(text, "NFC" if form == "nfc" else "NFKC")
    return text if form == "nfc" or text.isascii() else _unify(text, "NFKC")


def _unify(text: str, form: Literal["NFC", "NFKC"]) -> str:
    # Few kinds are replaced three times as fast as all characters are looked up.
    kinds = [kind for kind in set(text) if ord(kind) in SINGLE]
    if len(kinds) > _FEW_KINDS:
        text = text.translate(SINGLE)
    else:
        for kind in kinds:
            text = text.replace(kind, SINGLE[ord(kind)])
    if "\u200d" in text:
        text = LOOSE_JOINER.sub("", text)
    return unicodedata.normalize(form, text)


_FEW_KINDS = 8


@lru_cache(maxsize=4)
def repeats(longest: int) -> re.Pattern[str]:
    """Return the pattern of a letter that is written more than ``longest`` times; group 1 is what stays."""
    return re.compile(rf"(([^\W\d_])\2{{{longest - 1}}})\2+")


@lru_cache(maxsize=1)
def mark_ranges() -> tuple[tuple[int, int], ...]:
    """Return the code point ranges (both ends included) of combining marks."""
    ranges: list[tuple[int, int]] = []
    for point in range(0x300, 0x1F000):  # beyond are variation selectors alone
        if unicodedata.category(chr(point))[0] == "M":
            if ranges and ranges[-1][1] == point - 1:
                ranges[-1] = (ranges[-1][0], point)
            else:
                ranges.append((point, point))
    return tuple(ranges)


UNSEGMENTED = (
    (0x0E01, 0x0E3A), (0x0E40, 0x0E4E),  # Thai
    (0x0E81, 0x0ECE), (0x0EDC, 0x0EDF),  # Lao
    (0x1000, 0x103F), (0x1050, 0x108F), (0x109A, 0x109F),  # Myanmar
    (0x1780, 0x17D3), (0x17D7, 0x17DD),  # Khmer
    (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x303C),  # of Chinese and Japanese
    (0x3041, 0x30FA), (0x30FC, 0x30FF), (0x3105, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA9E0, 0xA9FE), (0xAA60, 0xAA7F), (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Code point ranges (both ends included) of scripts that put no blanks between words; without digits."""

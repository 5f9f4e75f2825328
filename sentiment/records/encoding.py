"""Which encoding bytes are in that are not UTF-8: a guess, for advice.

Each encoding is tried, and its text judged by letters: how many are frequent in the languages that it was
made for, and whether they stand as letters do. A wrong one gives rare letters, signs inside words, capitals
behind small letters, words of two scripts.
"""

from __future__ import annotations

import unicodedata

from sentiment.errors import Parameter

_WEST = (
    "äöüß", "éèêëàâçîïôùûüœ", "áéíñóúü", "áàâãçéêíóôõúü", "àèéìíîòóùú", "åäöæøé",
)  # fmt: skip
_MIDDLE = (
    "ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "čćđšž", "äöüß",
)  # fmt: skip
_TURKISH = ("çğıöşüâîûİ",)
_BALTIC = ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž")
_CYRILLIC = ("оеаинтсрвлкмдпуяыьгз",)
_UKRAINIAN = ("оаинтрвелскмдпуіяїєґ",)
_GREEK = ("αοιετσνηυρπκλμάόίέήύώω",)
_HEBREW = ("יוהלאתרבשמנחםקדןעפ" + "".join(map(chr, range(0x5B0, 0x5C3))),)
_ARABIC = ("الينموتربةعدسفهكقأحی",)
_THAI = ("านรอกเงมยลวดทส่ต้ัิีปบคหจแพใ",)
_HANZI = (
    "的一是不了人我在有他这這个個上们們来來到时時大地为為子中你说說国國年着著就那和要她出也得里后後自以会會好看很影片电電",
)  # fmt: skip
_KANA = ("".join(map(chr, (*range(0x3041, 0x3094), *range(0x30A1, 0x30FD)))),)
# For each encoding the letters beyond ASCII of its languages, the most frequent first where there are many;
# of encodings that fit alike the first is taken.
_LETTERS: dict[str, tuple[str, ...]] = {
    "cp1252": _WEST, "cp1250": _MIDDLE, "cp1254": _TURKISH, "cp1257": _BALTIC,
    "cp1258": ("ăâđêôơư\u0300\u0301\u0303\u0309\u0323",),
    "cp850": _WEST, "mac-roman": _WEST, "iso8859-2": _MIDDLE, "cp852": _MIDDLE, "cp857": _TURKISH,
    "cp1251": (*_CYRILLIC, *_UKRAINIAN), "koi8-r": _CYRILLIC, "koi8-u": _UKRAINIAN,
    "cp866": _CYRILLIC, "iso8859-5": _CYRILLIC, "mac-cyrillic": _CYRILLIC,
    "cp1253": _GREEK, "cp737": _GREEK, "cp1255": _HEBREW, "cp862": _HEBREW,
    "cp1256": _ARABIC, "iso8859-6": _ARABIC, "cp874": _THAI,
    "shift_jis": _KANA, "euc_jp": _KANA, "gb18030": _HANZI, "big5": _HANZI, "euc_kr": ("",),
}  # fmt: skip
_SIGNS = "«»‹›„“”‘’–—…€№¡¿、。，！？「」：；（）・ー\u0e2f\u0e46،؟؛"
# Of large sets of characters: between which first bytes of which encoding the usual ones lie, their weight.
_USUAL = {
    "gb18030": ("gb2312", 0xB0, 0xD7, 0.5), "big5": ("big5", 0xA4, 0xC6, 0.5),
    "euc_kr": ("euc_kr", 0xB0, 0xC8, 0.8),
    "shift_jis": ("shift_jis", 0x88, 0x97, 0.5), "euc_jp": ("euc_jp", 0xB0, 0xCF, 0.5),
}  # fmt: skip
_MOST_FREQUENT = 10


def not_decodable(line: bytes, error: UnicodeDecodeError) -> tuple[str | Parameter, ...]:
    """Say what is wrong with bytes that are not UTF-8, and which encoding they look like."""
    likely = likely_encoding(line)
    return (
        f"not UTF-8 (byte {line[error.start]:#04x}); it looks like {likely}: give ",
        Parameter("encoding", likely, key="data.encoding"),
    )


def wide_encoding(head: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 that bytes without a mark are in: Latin letters are 0 but for a byte."""
    head = head[:200]
    for place, name in ((3, "utf-32-be"), (0, "utf-32-le")):
        if len(head) >= 16 and head.count(0) > 0.7 * len(head) and 0 not in head[place:64:4]:
            return name
    for place, name in ((0, "utf-16-be"), (1, "utf-16-le")):
        if len(head) >= 8 and head[place::2].count(0) > 0.6 * len(head[place::2]):
            return name
    return None


def likely_encoding(raw: bytes) -> str:
    """Guess the encoding of some bytes that are not UTF-8."""
    if wide := wide_encoding(raw):
        return wide
    best, most = "latin-1", 0.0
    for encoding, languages in _LETTERS.items():
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        for letters in languages:
            score = _fitness(text, encoding, letters)
            if score > most:
                best, most = encoding, score
    return best


def _fitness(text: str, encoding: str, letters: str) -> float:
    """Return how well a text's characters beyond ASCII fit a language: at most 1."""
    latin = encoding not in _USUAL and unicodedata.name(letters[0]).startswith("LATIN")
    scores = [
        _weight(*around, encoding, letters, latin=latin)
        for around in zip(" " + text, text, text[1:] + " ", strict=False)
        if not around[1].isascii()
    ]
    return sum(scores) / max(len(scores), 1)


def _weight(
    before: str, character: str, after: str, encoding: str, letters: str, *, latin: bool
) -> float:
    beside = [letter for letter in (before, after) if letter.isalpha()]
    inside_ascii = any(letter.isascii() for letter in beside)
    if character in _SIGNS:
        inside = len(beside) == 2 and character != "’" and (latin or inside_ascii)
        return -1.0 if inside else 1.0
    if unicodedata.category(character)[0] not in "LM" or (character.isupper() and before.islower()):
        return -1.0
    place = max(letters.find(character), letters.find(character.lower()))
    if encoding in _USUAL:
        return 1.0 if place >= 0 else _usual(character, *_USUAL[encoding])
    if latin:
        if place < 0:
            return -0.5
        return 1.0 if inside_ascii or not beside else 0.0  # few words are of accents alone
    if inside_ascii:
        return -1.0  # of two scripts
    return (1.0 if place < _MOST_FREQUENT else 0.7) if place >= 0 else 0.2


def _usual(character: str, name: str, first: int, last: int, weight: float) -> float:
    try:
        return weight if first <= character.encode(name)[0] <= last else 0.0
    except UnicodeEncodeError:
        return 0.0

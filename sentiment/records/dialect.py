"""How a text file is written: its encoding, and the delimiter and quote of a table.

What the caller does not say is read from the file's first bytes. One rule for every command.
"""

from __future__ import annotations

import codecs
import io
import re
from dataclasses import dataclass
from typing import IO, Any

from sentiment.errors import DataError, Parameter, UsageError, nearest
from sentiment.records.peek import HEAD_BYTES

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NAMED = {
    "tab": "\t",
    "\\t": "\t",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "space": " ",
    "ctrl-a": "\x01",
}
NAMES = {character: name for name, character in _NAMED.items() if len(name) > 2}
"""What a delimiter is called where its character would not be seen, or mean something to a shell."""
_KANA, _CYRILLIC = "[\u3041-\u30fe\u3001\u3002]", "[\u0430-\u044f]"
# What is frequent in each encoding's languages, and its usual share of what is not ASCII.
_FREQUENT = {
    "shift_jis": (_KANA, 0.4),
    "euc_jp": (_KANA, 0.4),
    "euc_kr": ("[\uac00-\ud7a3]", 0.95),
    "cp1251": (_CYRILLIC, 0.9),
    "koi8-r": (_CYRILLIC, 0.9),
    "cp1253": ("[\u03ac-\u03ce]", 0.9),
    "cp1255": ("[\u05d0-\u05ea]", 0.9),
    "cp874": ("[\u0e01-\u0e4e]", 0.95),
    "cp1256": ("[\u0621-\u064a]", 0.9),
    "big5": ("[的是不了人我在有這個來大為好很到說影電]", 0.2),
    "gb18030": ("[的是不了人我在有这个来大为好很到说影电]", 0.2),
    **{
        encoding: (f"[{letters}{letters.upper()}\u2013-\u203a\u20ac\u2122]", 1.0)
        for encoding, letters in {  # of equals the first
            "cp1252": "äöüßéèàùòìçêñáíóúâîôûœæøåëïãõ",
            "cp1250": "ąćęłńóśźżěščřžýáíéúůňťďľĺŕőűăţşđäöüßô",
            "cp1254": "çğıöşüâîû",
        }.items()
    },
}
_LATIN = ("cp1252", "cp1250", "cp1254")


@dataclass(frozen=True)
class Dialect:
    """What is said of a file, or found in it; None is not said.

    Attributes
    ----------
    delimiter : str or None
        One character, or a name such as ``tab``.
    quote : str or None
        One character; ``none`` for a table whose quotes are text.
    encoding : str or None
        A name that Python knows.
    """

    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None

    def checked(self) -> Dialect:
        """Return the same with names replaced.

        Raises
        ------
        UsageError
            A delimiter or quote is no single character, or the encoding is unknown.
        """
        delimiter = None if self.delimiter is None else _NAMED.get(self.delimiter, self.delimiter)
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
            raise UsageError(
                Parameter("delimiter", self.delimiter, key="data.delimiter"),
                f": give one character, or one of {', '.join(_NAMED)}",
            )
        quote = self.quote
        if quote is not None and quote != "none" and (len(quote) != 1 or quote in "\r\n"):
            raise UsageError(
                Parameter("quote", quote, key="data.quote"), ": give one character, or none"
            )
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                known = ("utf-8", "utf-16", "cp1252", "latin-1", "shift_jis", "gb18030", "koi8-r")
                raise UsageError(
                    Parameter("encoding", self.encoding, key="data.encoding"),
                    f": no such encoding{nearest(self.encoding, known)} (e.g. {', '.join(known)})",
                ) from None
        return Dialect(delimiter, quote, self.encoding)


def find_encoding(head: bytes, given: str | None) -> str:
    """Return a file's encoding: what is given, what its byte order mark says, else UTF-8."""
    if given is not None:
        return given
    return next((name for mark, name in _BOMS if head.startswith(mark)), "utf-8")


def recoded(stream: IO[bytes], encoding: str) -> IO[bytes]:
    """Return the stream as UTF-8, whatever it was written in, without a byte order mark."""
    if codecs.lookup(encoding).name == "utf-8":
        return stream
    return io.BufferedReader(_Recoded(stream, encoding))


class _Recoded(io.RawIOBase):
    """A stream read in one encoding and given in UTF-8, a piece at a time."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._read = getattr(stream, "read1", stream.read)
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._rest = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._ended:
            piece = self._read(HEAD_BYTES)
            self._ended = not piece
            text = self._decoder.decode(piece, final=self._ended)
            self._rest = text.encode("utf-8", "surrogatepass")
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n


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
    """Guess the encoding of some bytes that are not UTF-8.

    Letters beyond ASCII are few where Latin letters are the rule, and nearly all elsewhere; then the
    encoding is taken that gives most characters that are frequent in what it was made for.
    """
    if wide := wide_encoding(raw):
        return wide
    letters = sum(byte >= 0x80 or chr(byte).isalpha() for byte in raw)
    few = sum(byte >= 0x80 for byte in raw) < 0.3 * letters
    best, most = "latin-1", 0.0
    for encoding, (frequent, usual) in _FREQUENT.items():
        if few and encoding not in _LATIN:
            continue
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        beyond = sum(not character.isascii() for character in text)
        score = min(1.0, len(re.findall(frequent, text)) / max(beyond, 1) / usual)
        if score > most:
            best, most = encoding, score
    return best


def find_column(columns: list[str], wanted: str) -> str | None:
    """Return the column that is meant: of that name, else the one that differs by case or blanks.

    Raises
    ------
    DataError
        Several do.
    """
    if wanted in columns:
        return wanted
    plain = wanted.strip().casefold()
    alike = [column for column in columns if column.strip().casefold() == plain]
    if len(alike) > 1:
        raise DataError(f"several columns may be {wanted!r}: {', '.join(map(repr, alike))}")
    return alike[0] if alike else None

"""How a text file is written: its encoding, and the delimiter and quote of a table.

What the caller does not say is read from the file's first bytes. One rule for every command.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable
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
                "a".encode(self.encoding)  # which codecs of other things (rot13, base64) refuse
            except (LookupError, ValueError):
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


def no_column(
    name: str, known: Iterable[str], fix: str | Parameter | None = None
) -> tuple[str | Parameter, ...]:
    """Say that a column is not there, which there are, and where another is named."""
    said = f"no column {name!r}{nearest(name, known)} (there are: {', '.join([*known][:20])}"
    return (f"{said})",) if fix is None else (f"{said}; give ", fix, ")")

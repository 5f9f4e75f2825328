"""How a text file is written: its encoding, and the delimiter and quote of a table.

What the caller does not say is read from the file's first bytes. One rule for every command.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

from sentiment.errors import DataError, Parameter, UsageError, nearest
from sentiment.records.peek import HEAD_BYTES

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", "\t", ";", "|")
_NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_SEP_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)


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
    if b"\0" in line:
        likely = "utf-16-be" if line.find(b"\0") % 2 == 0 else "utf-16-le"
    else:
        # Windows' code page has letters and curly quotes where Latin-1 has control characters.
        likely = "cp1252"
        try:
            line.decode(likely)
        except UnicodeDecodeError:
            likely = "latin-1"
    return (
        f"not UTF-8 (byte {line[error.start]:#04x}); it looks like {likely}: give ",
        Parameter("encoding", likely, key="data.encoding"),
    )


def find_table(
    head: bytes, kind: Literal["csv", "tsv"], column: str, given: Dialect
) -> tuple[str, str | None, bool]:
    """Return how a table is written.

    Parameters
    ----------
    head : bytes
        The first bytes of the file, in UTF-8.
    kind : {"csv", "tsv"}
        What its name says.
    column : str
        A column that must be there: the delimiter is the one that finds it in the header.
    given : Dialect
        Wins.

    Returns
    -------
    delimiter : str
    quote : str or None
        None where quotes are text.
    skip : bool
        Whether the first line only names the delimiter, as Excel wants it (``sep=;``).
    """
    text = head.decode("utf-8", "replace").removeprefix("\ufeff")
    named = _SEP_LINE.match(text)
    if named:
        text = text[named.end() :]
    usual = "," if kind == "csv" else "\t"
    delimiter = given.delimiter or (named[1] if named else None)
    if delimiter is None:
        first = next((line for line in text.splitlines() if line.strip()), "")
        tried = [usual, *(other for other in _DELIMITERS if other != usual)]
        finds = [other for other in tried if find_column(first_cells(first, other), column)]
        delimiter = finds[0] if finds else usual
    if given.quote is not None:
        return delimiter, None if given.quote == "none" else given.quote, bool(named)
    quoted, plain = _fit(text, delimiter, '"'), _fit(text, delimiter, None)
    if quoted == plain:
        # Nothing tells them apart, unless a cell is quoted as a whole.
        whole = re.search(
            rf'(^|{re.escape(delimiter)})"[^"]*"({re.escape(delimiter)}|\r?$)', text, re.M
        )
        quoted += bool(kind == "csv" or whole)
        plain += kind == "tsv" and not whole
    return delimiter, '"' if quoted >= plain else None, bool(named)


def first_cells(line: str, delimiter: str) -> list[str]:
    """Return the cells of a header line."""
    return next(csv.reader([line], delimiter=delimiter), [])


def _fit(text: str, delimiter: str, quote: str | None) -> float:
    """Return which share of the rows at the beginning have as many cells as the header."""
    rows = _rows(text, delimiter, quote)
    width = len(next(rows, []))
    fitting = total = 0
    for cells in itertools.islice(rows, 1000):
        if cells:
            total += 1
            fitting += len(cells) == width
    return fitting / total if total else 1.0


def _rows(text: str, delimiter: str, quote: str | None) -> Iterator[list[str]]:
    # The last line may be cut off.
    lines = text.splitlines(keepends=True)
    reader = table_reader(iter(lines[:-1] or lines), delimiter, quote)
    try:
        yield from reader
    except csv.Error as error:
        if "unexpected end of data" not in str(error):
            yield from [["a row that cannot be read"] * 10_000] * 3


def table_reader(lines: Iterator[str], delimiter: str, quote: str | None) -> Iterator[list[str]]:
    """Return Python's reader of a table."""
    if quote is None:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True)


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

"""Rows of a CSV or TSV: which delimiter, whether and how quotes quote or are text, and the cells.

Until a line holds a quote, all readings agree; the lines from the first one on decide.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from sentiment.records.dialect import Dialect, find_column

_DELIMITERS = (",", "\t", ";", "|")
_SEP_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
_AHEAD_LINES, _AHEAD_CHARACTERS = 1000, 1 << 18
_LONG_NAME = 4  # words, of a column's name
RETURNS = "a carriage return stands outside quotes"
_LONGEST_RECORD = 200  # lines, of a record that is looked at to decide
_ESCAPED = re.compile(r"\\([\"\\])")


@dataclass(frozen=True, slots=True)
class Quoting:
    """How quotes quote.

    Attributes
    ----------
    escaped : bool
        A quote inside a cell stands behind a backslash and is not doubled, as Spark and MySQL write.
    blanks : bool
        Blanks may stand between a delimiter and a quote.
    """

    escaped: bool = False
    blanks: bool = False

    def plain(self, line: str) -> str:
        """Return a line with the quotes inside its cells doubled."""
        if not self.escaped:
            return line
        return _ESCAPED.sub(lambda found: '""' if found[1] == '"' else "\\", line)


_USUAL = Quoting()
_UNUSUAL = (Quoting(escaped=True), Quoting(blanks=True))


class BadRecordError(ValueError):
    """A record cannot be read; `line` is where it begins."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def find_delimiter(head: bytes, usual: str, column: str, given: Dialect) -> tuple[str, int]:
    """Return a table's delimiter: the one that finds the column in the header.

    Parameters
    ----------
    head : bytes
        The first bytes of the file, in UTF-8.
    usual : str
        What the file's name says; it is tried first.
    column : str
    given : Dialect
        Wins.

    Returns
    -------
    delimiter : str
    skip : int
        Lines before the header: one that names the delimiter, as Excel wants it (``sep=;``), or comments
        (``# exported …``), where the header is found behind them.
    """
    text = head.decode("utf-8", "replace").removeprefix("\ufeff")
    named = _SEP_LINE.match(text)
    if named:
        text = text[named.end() :]
    tried = [usual, *(other for other in _DELIMITERS if other != usual)]
    if known := given.delimiter or (named and named[1]):
        tried = [known]
    above = int(bool(named))
    lines = header_lines(text)
    for number, line in lines:
        for delimiter in tried:
            if find_column(_cells(line, delimiter), column):
                return delimiter, above + number
    # What is said not to have the column is not a comment.
    comment = text.startswith(("# ", "#\n", "#\r"))
    return tried[0], above + (lines[0][0] if comment else 0)


def header_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines that may be the header, with their numbers from 0, the likeliest first.

    That is the first line that is no comment; or one above it, whose ``#`` begins a name (``#id,text``).
    """
    comments: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n")):
        if line.startswith("#"):
            comments.append((number, line))
        elif line.strip():
            return [(number, line), *comments]
    return comments


def looks_like_data(names: Iterable[str]) -> bool:
    """Tell whether what stands as names of columns are texts."""
    return any(len(name.split()) > _LONG_NAME for name in names)


def no_header(names: Iterable[str]) -> str:
    """Say that a table begins with a row of data, and what to do."""
    shown = ", ".join(names)[:60]
    return f"the first row ({shown!r}) looks like one of data: put a header above it, such as text,label"


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line.replace("\r", "")], delimiter=delimiter), [])


def records(
    lines: Iterator[str],
    delimiter: str,
    quote: str | None,
    *,
    patient: bool = True,
    decided: Callable[[str], None] = lambda _quote: None,
) -> Iterator[tuple[int, list[str]]]:
    """Yield where each record begins, and its cells; blank lines are none.

    Parameters
    ----------
    lines : iterator of str
        With their ends.
    delimiter : str
    quote : str or None
        ``none`` where quotes are text; None to find out.
    patient : bool
        Whether lines may be read ahead to decide.
    decided : callable
        Told what is found out and not usual: ``none`` (quotes are text), or how quotes stand in cells.

    Raises
    ------
    BadRecordError
        Its quotes do not close, or something follows where they do.
    """
    begun = 1  # the line that comes next
    quoting = None if quote == "none" else _USUAL
    if quote is None:
        quote, width = '"', 0
        for line in lines:
            if '"' in line:
                break
            if cells := _split(line, delimiter):
                width = width or len(cells)
                yield begun, cells
            begun += 1
        else:
            return
        ahead = [line, *(_ahead(lines, len(line)) if patient else ())]
        quoting = find_quoting(ahead, delimiter, width)
        if quoting != _USUAL:
            decided("none" if quoting is None else '\\"' if quoting.escaped else ' "')
        lines = chain(ahead, lines)
    if quoting is None:
        for number, line in enumerate(lines, start=begun):
            if cells := _split(line, delimiter):
                yield number, cells
    else:
        yield from _quoted(lines, delimiter, quote, quoting, begun)


def _quoted(
    lines: Iterator[str], delimiter: str, quote: str, quoting: Quoting, begun: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of lines in which quotes quote; the first of the lines has the number ``begun``."""
    if quoting.escaped:
        lines = map(quoting.plain, lines)
    reader = csv.reader(
        lines, delimiter=delimiter, quotechar=quote, strict=True, skipinitialspace=quoting.blanks
    )
    before = begun - 1
    while True:
        begun = before + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadRecordError(begun, _unclosed(str(error))) from None
        if cells:
            yield begun, cells


def _unclosed(said: str) -> str:
    """Say in plain words what Python's reader found wrong with a record."""
    if "unexpected end of data" in said or "field larger" in said:
        return "a quote is opened and never closed"
    if "expected after" in said:
        return f"a quote closes in the middle of a cell ({said})"
    return RETURNS if "new-line" in said else said


def _split(line: str, delimiter: str) -> list[str]:
    line = line.rstrip("\r\n")
    return line.split(delimiter) if line else []


def _ahead(lines: Iterator[str], size: int) -> Iterator[str]:
    for number, line in enumerate(lines, start=2):
        yield line
        size += len(line)
        if number >= _AHEAD_LINES or size >= _AHEAD_CHARACTERS:
            return


def find_quoting(lines: list[str], delimiter: str, width: int) -> Quoting | None:
    """Tell how quotes quote cells in most of the records that hold one, or None: they are text.

    A writer that quotes doubles each quote inside a cell (or puts a backslash before it), and ends a
    cell where its quotes close; whoever writes without quoting (GLUE, pandas' QUOTE_NONE) has neither.

    Parameters
    ----------
    lines : list of str
        The first holds a quote.
    delimiter : str
    width : int
        Cells of a record; 0 when these lines begin with the header.
    """
    best, (good, bad) = _USUAL, _judged(lines, delimiter, width, _USUAL)
    for other in _UNUSUAL if bad else ():
        others_good, others_bad = _judged(lines, delimiter, width, other)
        if others_bad < bad and others_good > good:
            best, good, bad = other, others_good, others_bad
    quotes = good >= bad if delimiter != "\t" or not bad else good > bad
    return best if quotes else None


def _judged(lines: list[str], delimiter: str, width: int, quoting: Quoting) -> tuple[int, int]:
    """Return how many records have quotes as a writer of that kind leaves them, and how many have not."""
    lines = list(map(quoting.plain, lines))
    good = bad = place = 0
    while place < len(lines):
        if '"' not in lines[place]:
            place += 1
            continue
        reader = csv.reader(
            lines[place : place + _LONGEST_RECORD],
            delimiter=delimiter,
            strict=True,
            skipinitialspace=quoting.blanks,
        )
        try:
            cells = next(reader)
        except csv.Error as error:
            # Where tabs part cells, whole lines are whole rows; where commas do, a cell goes on.
            open_cell = "unexpected end of data" in str(error)
            fits = len(_split(lines[place], delimiter)) == width
            bad += not open_cell or (delimiter == "\t" and fits)
            place += 1
            continue
        used = reader.line_num
        width = width or len(cells)
        written = sum(line.count('"') for line in lines[place : place + used])
        inside = sum(cell.count('"') for cell in cells)
        around = written - 2 * inside
        if len(cells) == width and around >= 2 and around % 2 == 0:
            good += 1
            place += used
        else:
            bad += 1
            place += 1
    return good, bad

"""JSON that is not one object a line: an array, objects over several lines, a table by columns.

Whatever the layout, a piece of the file is in memory at a time.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from typing import IO, Any, Literal

from sentiment.errors import DataError
from sentiment.records.dialect import find_column
from sentiment.records.encoding import not_decodable
from sentiment.records.peek import HEAD_BYTES

Layout = Literal["lines", "array", "objects", "columns"]
Fail = Callable[..., DataError]
"""Makes the error of a row, from its number and what to say."""
Again = Callable[[], AbstractContextManager[IO[bytes]]]
MAX_ITEM_CHARACTERS = 16 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_CONTAINER_FIRST = re.compile(r'\{\s*"(?:[^"\\]|\\.)*"\s*:\s*[\[{]')


def find_layout(head: bytes, text_column: str) -> Layout:
    """Tell from a file's first bytes how its rows are laid out.

    Parameters
    ----------
    head : bytes
        In UTF-8.
    text_column : str
        Where its value is a list or an object, the table is written by columns.
    """
    text = head.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").lstrip()
    if text.startswith("["):
        return "array"
    first, _, rest = text.partition("\n")
    first = first.rstrip()
    if first.endswith("}") and rest.lstrip().startswith("{"):
        return "lines"  # a table by columns is one document
    try:
        row = json.loads(first)
    except (ValueError, RecursionError) as error:  # of several lines, cut off, or no JSON
        if getattr(error, "msg", "") == "Extra data":
            return "objects"  # one behind another
        if _CONTAINER_FIRST.match(text):
            return "columns"
        return "objects" if first.endswith(("{", ",", ":", "[")) else "lines"
    if not isinstance(row, dict) or not row:
        return "lines"
    text_cells = row.get(find_column(list(row), text_column) or "")
    if isinstance(text_cells, dict | list):
        return "columns"
    nested = all(isinstance(value, dict | list) for value in row.values())
    return "columns" if text_cells is None and nested else "lines"


def items(
    stream: IO[bytes],
    layout: Layout,
    text_column: str,
    again: Again,
    fail: Fail,
) -> Iterator[Any]:
    """Yield the rows of a file in any layout but lines.

    Parameters
    ----------
    stream : binary file
        In UTF-8.
    layout : str
        From `find_layout`.
    text_column : str
    again : callable
        Opens the file once more: a table by columns is read at one place for each column.
    fail : callable
        Makes the error of a row.
    """
    number = 0
    try:
        if layout == "columns":
            rows = _columns(text_column, again)
        else:
            rows = (_array if layout == "array" else _objects)(_Values(stream))
        for row in rows:
            number += 1
            yield row
    except UnicodeDecodeError as error:
        raise fail(number + 1, *not_decodable(error.object, error)) from None
    except (ValueError, RecursionError, EOFError, OSError) as error:
        said = " ".join(str(getattr(error, "msg", error)).split())[:160]
        raise fail(number + 1, f"not JSON ({said})") from None


class _Values:
    """A cursor in JSON text, read a piece at a time."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._decoder = json.JSONDecoder()
        self._text, self._place, self._ended = "", 0, False

    def _more(self, n: int = HEAD_BYTES) -> None:
        piece = self._stream.read(n)
        self._ended = not piece
        self._text = self._text[self._place :] + self._decode.decode(piece, self._ended)
        self._place = 0

    def peek(self) -> str:
        """Return the next character that is no blank, or nothing at the end."""
        while True:
            self._place = _SPACE.match(self._text, self._place).end()  # type: ignore[union-attr]
            if self._place < len(self._text):
                return self._text[self._place]
            if self._ended:
                return ""
            self._more()

    def take(self, characters: str) -> str:
        """Read one of these characters."""
        found = self.peek()
        if not found or found not in characters:
            wanted = " or ".join(map(repr, characters))
            raise ValueError(f"{wanted} expected, not {found!r}" if found else "it is cut off")
        self._place += 1
        return found

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self.peek():
            raise ValueError(f"more after its end: {self._text[self._place :][:20]!r}")

    def value(self) -> Any:
        """Read one value."""
        self.peek()
        size = HEAD_BYTES
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._place)
                # A number at the end of what was read may go on.
                if end < len(self._text) or self._ended:
                    self._place = end
                    return found
            except ValueError:
                if self._ended or len(self._text) - self._place > MAX_ITEM_CHARACTERS:
                    raise
            self._more(size)
            size *= 2

    def members(self) -> Iterator[str | None]:
        """Open an object or a list, and yield the key (None in a list) of each value that comes next."""
        close = "]" if self.take("{[") == "[" else "}"
        if self.peek() == close:
            self.take(close)
            return
        while True:
            key = None
            if close == "}":
                key = self.value()
                if not isinstance(key, str):
                    raise ValueError("a key is not a text")
                self.take(":")
            yield key
            if self.take("," + close) == close:
                return

    def cells(self) -> Iterator[Any]:
        """Yield the values of an object or a list."""
        for _ in self.members():
            yield self.value()


def _array(values: _Values) -> Iterator[Any]:
    yield from values.cells()
    values.end()


def _objects(values: _Values) -> Iterator[Any]:
    while values.peek():
        yield values.value()


def _columns(text_column: str, again: Again) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table that is written column by column, as pandas does."""
    sizes: dict[str, int] = {}
    names: list[Any] = []
    with again() as stream:
        values = _Values(stream)
        for key in map(str, values.members()):
            if values.peek() not in ("[", "{"):
                values.value()
                continue
            if key == "columns":
                names = list(values.cells())
                sizes[key] = len(names)
                continue
            sizes[key] = 0
            for inner in values.members():
                if inner == text_column and len(sizes) == 1 and values.peek() not in "[{":
                    yield from _cells(again, None)  # orient="index": rows by their name
                    return
                values.value()
                sizes[key] += 1
        values.end()
    if find_column(list(sizes), text_column) is None and "data" in sizes:
        for row in _cells(again, "data"):  # orient="split" and "table"
            yield dict(zip(names, row, strict=True)) if isinstance(row, list) else row
        return
    if len(set(sizes.values())) > 1:
        lengths = ", ".join(f"{key}: {size}" for key, size in list(sizes.items())[:8])
        raise ValueError(f"its columns have different lengths ({lengths})")
    with ExitStack() as stack:
        cursors = [stack.enter_context(closing(_cells(again, key))) for key in sizes]
        for cells in zip(*cursors, strict=True):
            yield dict(zip(sizes, cells, strict=True))


def _cells(again: Again, wanted: str | None) -> Generator[Any, None, None]:
    """Yield the cells of one column (None: of the whole), from a place of its own in the file."""
    with again() as stream:
        values = _Values(stream)
        if wanted is None:
            yield from values.cells()
            return
        for key in values.members():
            if key == wanted:
                yield from values.cells()
                return
            if values.peek() in ("[", "{"):
                for _ in values.cells():
                    pass
            else:
                values.value()

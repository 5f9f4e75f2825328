"""JSON that is not one object a line: an array of objects, or a table by columns as pandas writes it."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

from sentiment.errors import DataError
from sentiment.records.dialect import not_decodable
from sentiment.records.peek import HEAD_BYTES

Fail = Callable[..., DataError]
"""Makes the error of a row, from its number and what to say."""
MAX_ITEM_BYTES = 16 << 20
# The beginning of a table that pandas wrote by columns, in one long line or indented.
_COLUMNS = re.compile(rb'\{\s*(?:"(?:columns|index|data)"\s*:\s*\[|"[^"]*"\s*:\s*\{\s*"0"\s*:)')
_SPACE = re.compile(r"\s*")


def array_items(stream: IO[bytes], fail: Fail) -> Iterator[Any]:
    """Yield the items of an array, a piece of the file in memory at a time."""
    decoder = json.JSONDecoder()
    text, number, place = "", 0, 0
    decode = codecs.getincrementaldecoder("utf-8-sig")()
    ended = False
    while True:
        place = _SPACE.match(text, place).end()  # type: ignore[union-attr]
        if place < len(text) and text[place] == "]":
            return
        if place < len(text) and text[place] in ("[," if number == 0 else ","):
            place = _SPACE.match(text, place + 1).end()  # type: ignore[union-attr]
        # An item that is cut off, or a number that may go on, waits for more of the file.
        item: Any = None
        whole = False
        if place < len(text):
            try:
                item, end = decoder.raw_decode(text, place)
                whole = end < len(text) or ended
            except (ValueError, RecursionError) as error:
                if ended or len(text) - place > MAX_ITEM_BYTES:
                    raise fail(number + 1, f"not JSON ({_short(error)})") from None
        elif ended:
            raise fail(number + 1, "the array is not closed")
        if whole:
            number += 1
            place = end
            yield item
            continue
        try:
            piece = stream.read(HEAD_BYTES)
            ended = not piece
            text, place = text[place:] + decode.decode(piece, ended), 0
        except UnicodeDecodeError as error:
            raise fail(number + 1, *not_decodable(piece, error)) from None
        if number == 0 and not text.lstrip().startswith("["):
            text = "[" + text


def is_by_columns(head: bytes, text_column: str) -> bool:
    """Tell from the first bytes whether a table is written column by column."""
    try:
        first = json.loads(head.partition(b"\n")[0])
    except (ValueError, RecursionError):  # cut off, or of several lines
        named = json.dumps(text_column).encode()
        return bool(
            _COLUMNS.match(head) or re.match(rb"\{\s*%b\s*:\s*[{\[]" % re.escape(named), head)
        )
    if not isinstance(first, dict):
        return False
    cells = first.get(text_column, first.get("data"))
    return isinstance(cells, dict | list) and all(
        isinstance(value, dict | list) for value in first.values()
    )


def column_items(stream: IO[bytes], fail: Fail) -> Iterator[Any]:
    """Yield the rows of a table that is written column by column; it is read whole."""
    try:
        table = json.loads(stream.read())
    except UnicodeDecodeError as error:
        raise fail(1, f"not UTF-8 ({_short(error)})") from None
    except (ValueError, RecursionError) as error:
        raise fail(1, f"not JSON ({_short(error)})") from None
    if isinstance(table.get("columns"), list) and isinstance(table.get("data"), list):
        for cells in table["data"]:
            yield dict(zip(table["columns"], cells, strict=False))
        return
    columns = {
        name: list(values.values()) if isinstance(values, dict) else values
        for name, values in table.items()
        if isinstance(values, dict | list)
    }
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise fail(1, "its columns have different lengths")
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, cells, strict=True))


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]

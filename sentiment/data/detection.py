"""Which column of an unknown file holds the texts, and which the labels."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sentiment.data.labels import label_of
from sentiment.errors import DataError, Parameter
from sentiment.records import places
from sentiment.records.batch import flat, flat_fields
from sentiment.records.dialect import find_column, no_column
from sentiment.records.documents import Documents, by_class
from sentiment.records.formats import check_readable, find_format
from sentiment.records.reader import Reader
from sentiment.records.rows import Rows
from sentiment.records.suffixes import Format
from sentiment.records.table import header_lines, looks_like_data, no_header

_LOOKED_AT = 2000  # rows
_MOST_LABELS = 50
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_TEXT_NAMES = re.compile(
    r"text|review|body|comment|message|sentence|content|tweet|description", re.I
)
_LABEL_NAMES = re.compile(
    r"label|sentiment|class|categor|target|polarity|kind|type|topic|intent|stars?\b|rating|score",
    re.I,
)
_FIRST_TEXT = re.compile(r'"((?:[^"\\]|\\.)+)"\s*:\s*(?:\[\s*|\{\s*"0"\s*:\s*)?"')


@dataclass(frozen=True)
class Column:
    """A column of the first rows.

    Attributes
    ----------
    name : str
    n_empty : int
    n_values : int
        Different values.
    mean_words : float
    examples : tuple of str
        The most frequent values.
    """

    name: str
    n_empty: int
    n_values: int
    mean_words: float
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Detected:
    """What an unknown file holds.

    Attributes
    ----------
    text, label : str
        Names of columns.
    labels : dict of str to int
        How often each occurs in the rows that were looked at.
    columns : tuple of Column
    n_rows : int
        That were looked at.
    """

    text: str
    label: str
    labels: dict[str, int]
    columns: tuple[Column, ...]
    n_rows: int


def detect(path: str, *, text: str | None = None, label: str | None = None) -> Detected:
    """Look at the first rows of a file.

    Parameters
    ----------
    path : str
        Of any format that is read.
    text, label : str, optional
        The columns, where they are known.

    Raises
    ------
    DataError
        The file cannot be read, or no column looks like texts or like labels.
    """
    check_readable(path)
    places.check_file(path)
    classed = by_class(places.find(path)) if Path(path).is_dir() else None
    kind = "lines" if classed else find_format(path, None)
    if kind == "lines" and not classed:
        raise DataError(
            f"{path}: plain lines have no labels; give a table: CSV, JSON Lines, Parquet"
        )
    opened: Rows
    if classed:  # in the order of their folders, so that only some of each are looked at
        opened = Documents(path, classed[:: max(1, len(classed) // _LOOKED_AT)], batch_size=500)
    else:
        opened = Reader(path, kind, text_column=_some_text_column(path, kind), batch_size=500)
    with opened as reader:
        batches = islice(reader, _LOOKED_AT // 500)
        rows = [flat(row) for batch in batches for row in batch.records()]
    if not rows:
        raise DataError(f"{path}: holds no row")
    names = [name for name, value in rows[0].items() if not isinstance(value, dict)]
    columns = [_column(name, [row.get(name) for row in rows]) for name in names]
    text_column = _given(text, names, path) or _text_column(columns, label, path)
    label_column = _given(label, names, path) or _label_column(
        columns, text_column, len(rows), path
    )
    counts = Counter(
        found for row in rows if (found := label_of(row.get(label_column))) is not None
    )
    if kind in ("csv", "tsv") and (label_column in counts or looks_like_data([text_column])):
        raise DataError(f"{path}: {no_header(names)}")
    return Detected(
        text_column, label_column, dict(counts.most_common()), tuple(columns), len(rows)
    )


def _some_text_column(path: str, kind: Format) -> str:
    """Return any column of texts: the reader wants to be told one."""
    if kind == "parquet":
        import pyarrow.parquet as pq
        from pyarrow import types

        names = [
            name
            for name, field in flat_fields(pq.read_schema(path)).items()
            if types.is_string(field) or types.is_large_string(field)
        ]
        if not names:
            raise DataError(f"{path}: has no column of texts")
        return str(names[0])
    with Reader(path, "lines", batch_size=20) as lines:
        head = "\n".join(str(line) for batch in islice(lines, 1) for line in batch.texts)
    if kind == "jsonl":
        with contextlib.suppress(ValueError, AttributeError):  # an array over several lines
            for line in filter(str.strip, head.split("\n")):
                texts = (n for n, value in flat(json.loads(line)).items() if isinstance(value, str))
                if name := next(texts, None):
                    return name
        found = _FIRST_TEXT.search(head)
        if found is None:
            raise DataError(f"{path}: its first rows hold no text")
        return str(json.loads(f'"{found[1]}"'))
    usual = _DELIMITERS[kind]

    def cells(line: str) -> list[str]:
        delimiter = max((usual, ",", "\t", ";", "|"), key=line.count)
        return [cell.strip().strip('"') for cell in line.split(delimiter)]

    def n_named(line: str) -> int:
        return sum(
            len(cell.split()) == 1 and bool(_TEXT_NAMES.search(cell) or _LABEL_NAMES.search(cell))
            for cell in cells(line.removeprefix("#"))
        )

    # Of those that name as many, the first.
    header = max((line for _, line in header_lines(head)), key=n_named, default="")
    return cells(header)[0]


def _column(name: str, values: Sequence[Any]) -> Column:
    texts = [str(value) for value in values if value is not None and str(value).strip()]
    words = sum(len(text.split()) for text in texts) / max(len(texts), 1)
    counts = Counter(texts)
    examples = tuple(value for value, _ in counts.most_common(3))
    return Column(name, len(values) - len(texts), len(counts), words, examples)


def _given(name: str | None, known: Sequence[str], path: str) -> str | None:
    if name is None:
        return None
    found = find_column(list(known), name)
    if found is None:
        raise DataError(f"{path}: ", *no_column(name, known))
    return found


def _text_column(columns: Sequence[Column], label: str | None, path: str) -> str:
    """Return the column with the longest texts; among like ones, one that is called so."""
    able = [column for column in columns if column.name != label and column.n_values > 1]
    longest = max((column.mean_words for column in able), default=0.0)
    if longest < 1.5:
        raise _unclear(path, "texts", "text", columns)
    like = [column for column in able if column.mean_words >= longest / 2]
    named = [column for column in like if _TEXT_NAMES.search(column.name)]
    return max(named or like, key=lambda column: column.mean_words).name


def _label_column(columns: Sequence[Column], text: str, n_rows: int, path: str) -> str:
    """Return the column with few values, each of several rows; best one that is called so."""
    most = min(_MOST_LABELS, max(2, n_rows // 3))
    able = [
        column
        for column in columns
        if column.name != text and 2 <= column.n_values <= most and column.mean_words < 4
    ]
    if not able:
        raise _unclear(path, "labels", "label", columns)
    named = [column for column in able if _LABEL_NAMES.search(column.name)]
    return min(named or able, key=lambda column: (column.n_empty, column.n_values)).name


def _unclear(path: str, what: str, option: str, columns: Sequence[Column]) -> DataError:
    names = ", ".join(column.name for column in columns)
    return DataError(
        f"{path}: no column looks like {what}; name it: ",
        Parameter(option, "COLUMN"),
        f" (of {names})",
    )

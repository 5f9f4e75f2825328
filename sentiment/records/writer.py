"""Files of answers: records with what the model says of them, written a batch at a time."""

from __future__ import annotations

import contextlib
import csv
import heapq
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sentiment.errors import DataError
from sentiment.files import write_whole
from sentiment.records.answers import BatchAnswers, Note
from sentiment.records.batch import Batch
from sentiment.records.reader import one_line
from sentiment.records.suffixes import Format

if TYPE_CHECKING:
    import pyarrow as pa


_END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream


class Writer:
    """Writes records with what the model says of them.

    Parameters
    ----------
    stream : binary file
    kind : str
        One of `sentiment.records.FORMATS`.
    labels : sequence of str
        The model's labels, in order.
    withholds : bool
        Whether a label may be withheld: then there is a column ``would_be``.
    top : int, optional
        Write only the probabilities of so many labels, the likeliest first; 0 for none.
    header : bool
        Whether a CSV or TSV begins with its header (not when it is gone on with).
    schema : pyarrow.Schema, optional
        Columns of a Parquet input.
    """

    def __init__(
        self,
        stream: IO[bytes],
        kind: Format,
        labels: Sequence[str],
        *,
        withholds: bool = False,
        top: int | None = None,
        header: bool = True,
        schema: pa.Schema | None = None,
    ) -> None:
        self._stream = stream
        self._kind = kind
        self._labels = list(labels)
        self._withholds = withholds
        self._top = None if top is None else min(top, len(self._labels))
        self._header = header
        self._schema = schema
        self._names: list[str] | None = None
        self._arrow: pa.Schema | None = None

    def write(self, batch: Batch, answers: BatchAnswers) -> None:
        """Write one batch; a row without text has an empty label and no numbers."""
        if self._kind == "lines":
            lines = map(_line, answers.labels, answers.confidence, answers.notes, answers.would_be)
            self._stream.write("".join(lines).encode())
        elif self._kind == "jsonl":
            self._write_jsonl(batch, answers)
        elif self._kind == "parquet":
            self._write_parquet(batch, answers)
        else:
            self._write_csv(batch, answers)

    def begin(self, columns: Sequence[str]) -> None:
        """Write what stands before the first row: the header of a CSV or TSV without rows too."""
        if self._kind in ("csv", "tsv") and self._names is None:
            self._csv_header(list(columns))

    def go_on(self, path: Path) -> None:
        """Keep the columns of what was written before, where they do not stand in each row."""
        if self._kind != "parquet":
            return
        import pyarrow as pa

        with path.open("rb") as file:
            self._arrow = next(arrow_streams(file)).schema
        self._schema = pa.schema(list(self._arrow)[: -len(self._kinds())])

    def close(self) -> None:
        """Finish the file; the stream stays open."""
        if self._kind == "parquet" and self._arrow is None and self._header:
            # No row came: an empty table is still a table.
            self._write_stream(self._answered(self._schema).empty_table())

    def _added(self, names: Sequence[str]) -> list[str]:
        """Return the names of the added columns; one that is taken gets a prefix."""
        if self._top is None:
            numbers = [f"probability_{label}" for label in self._labels]
        else:
            places = range(1, self._top + 1)
            numbers = [name for n in places for name in (f"top_{n}", f"top_{n}_probability")]
        taken = set(names)
        result = []
        last = ("note", "would_be") if self._withholds else ("note",)
        for name in ("label", "confidence", *numbers, *last):
            fresh = name
            while fresh in taken:
                fresh = f"predicted_{fresh}"
            taken.add(fresh)
            result.append(fresh)
        return result

    def _likeliest(self, row: Sequence[float]) -> list[tuple[str, float]]:
        pairs = zip(self._labels, row, strict=True)
        return heapq.nlargest(self._top or 0, pairs, key=lambda pair: pair[1])

    def _numbers(self, row: Sequence[float] | None) -> list[Any]:
        """Return the cells between confidence and note; None where there is no text."""
        if self._top is None:
            return [None] * len(self._labels) if row is None else list(row)
        if row is None:
            return [None] * (2 * self._top)
        return [cell for pair in self._likeliest(row) for cell in pair]

    def _answer(
        self,
        label: str | None,
        number: float | None,
        row: Sequence[float] | None,
        note: Note | None,
        withheld: str | None,
    ) -> list[Any]:
        """Return the added cells of one row."""
        last = [note, withheld] if self._withholds else [note]
        return [label, number, *self._numbers(row), *last]

    def _write_jsonl(self, batch: Batch, answers: BatchAnswers) -> None:
        lines = []
        for record, label, number, row, note, withheld in zip(
            batch.records(), *answers, strict=True
        ):
            answer: dict[str, Any] = {"label": label, "confidence": number}
            if self._top != 0:
                pairs = zip(self._labels, row or (), strict=False)
                shown = pairs if self._top is None or row is None else self._likeliest(row)
                answer["probabilities"] = None if row is None else dict(shown)
            answer["note"] = note
            if self._withholds:
                answer["would_be"] = withheld
            named = {
                (f"predicted_{name}" if name in record else name): value
                for name, value in answer.items()
            }
            lines.append(_json({**record, **named}) + "\n")
        # A lone surrogate of a JSON escape has no UTF-8: it stays the escape that it was.
        self._stream.write("".join(lines).encode("utf-8", "backslashreplace"))

    def _csv_header(self, names: list[str]) -> None:
        self._names = names
        if self._header:
            self._write_cells([[*names, *self._added(names)]])

    def _write_cells(self, rows: list[list[Any]]) -> None:
        text = io.StringIO()
        delimiter = "," if self._kind == "csv" else "\t"
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
        self._stream.write(text.getvalue().encode("utf-8", "replace"))

    def _write_csv(self, batch: Batch, answers: BatchAnswers) -> None:
        records = batch.records()
        if self._names is None:
            self._csv_header(list(records[0]))
        names = self._names or []
        rows = []
        for record, *answer in zip(records, *answers, strict=True):
            if len(record) != len(names) or not all(name in record for name in names):
                extra = [name for name in record if name not in names] or names
                raise DataError(
                    f"columns differ between rows ({', '.join(map(str, extra[:5]))}): "
                    "write .jsonl instead"
                )
            cells = [_cell(record[name]) for name in names]
            rows.append([*cells, *map(_answer_cell, self._answer(*answer))])
        self._write_cells(rows)

    def _write_parquet(self, batch: Batch, answers: BatchAnswers) -> None:
        """Write one batch as an Arrow stream of its own; `to_parquet` makes a file of them all.

        A Parquet file cannot be read before its last byte is written, nor gone on with.
        """
        import pyarrow as pa

        table = batch.table
        if table is None:
            try:
                kept = None if self._arrow is None else self._schema
                table = pa.RecordBatch.from_pylist(batch.records(), schema=kept)
            except (pa.ArrowException, TypeError) as error:
                raise DataError(
                    f"a column holds different types ({one_line(error)}): write .jsonl instead"
                ) from None
        if self._arrow is None:
            self._arrow = self._answered(table.schema)
        rows = [self._answer(*answer) for answer in zip(*answers, strict=True)]
        kinds = self._kinds()
        columns = [pa.array([row[place] for row in rows], kind) for place, kind in enumerate(kinds)]
        self._write_stream(
            pa.RecordBatch.from_arrays([*table.columns, *columns], schema=self._arrow)
        )

    def _answered(self, schema: pa.Schema | None) -> pa.Schema:
        """Return the columns of the output, and keep those of the input."""
        import pyarrow as pa

        if schema is None:
            schema = pa.schema([pa.field("text", pa.string())])
        self._schema = schema
        added = zip(self._added(schema.names), self._kinds(), strict=True)
        return pa.schema([*schema, *(pa.field(name, kind) for name, kind in added)])

    def _write_stream(self, table: pa.RecordBatch | pa.Table) -> None:
        import pyarrow as pa

        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(self._stream, table.schema, options=options) as stream:
            stream.write(table)

    def _kinds(self) -> list[Any]:
        import pyarrow as pa

        text, number = pa.string(), pa.float64()
        numbers = [number] * len(self._labels) if self._top is None else [text, number] * self._top
        return [text, number, *numbers, text, *([text] if self._withholds else [])]


def arrow_streams(file: IO[bytes]) -> Iterator[pa.Table]:
    """Yield what each of the streams that stand in a file holds, up to the first that is cut off.

    Parameters
    ----------
    file : binary file
        Its position is after the last whole stream at each step.
    """
    import pyarrow as pa

    while True:
        start = file.tell()
        try:
            with pa.ipc.open_stream(pa.PythonFile(file, "r")) as stream:
                table = stream.read_all()
            file.seek(-len(_END), os.SEEK_CUR)
            whole = file.read(len(_END)) == _END  # Arrow itself takes the end of a file for one
        except (pa.ArrowException, OSError):
            whole = False
        if not whole:
            file.seek(start)
            return
        yield table


def to_parquet(source: Path, target: Path) -> None:
    """Make a Parquet file of the Arrow streams that a `Writer` has written.

    Raises
    ------
    DataError
        The streams differ in their columns.
    """
    from pyarrow import parquet

    with source.open("rb") as file, contextlib.ExitStack() as stack:
        writer: Any = None
        for table in arrow_streams(file):
            if writer is None:
                writer = stack.enter_context(
                    parquet.ParquetWriter(
                        target, table.schema, compression="zstd", compression_level=1
                    )
                )
            try:
                writer.write_table(table)
            except ValueError as error:
                raise DataError(
                    f"a column holds different types ({one_line(error)}): write .jsonl instead"
                ) from None


def _line(label: str | None, number: float | None, note: Note | None, withheld: str | None) -> str:
    cells = [label or "", _answer_cell(number), note, withheld]
    while cells[-1] is None:
        cells.pop()
    return "\t".join(cell or "" for cell in cells) + "\n"


def _answer_cell(value: Any) -> str:
    if value is None:
        return ""
    return format_number(value) if isinstance(value, float) else value


def _json(record: Any) -> str:
    """Return a record as JSON, which has no word for NaN and Infinity: they become null."""
    try:
        return json.dumps(record, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(finite(record), ensure_ascii=False, default=str, allow_nan=False)


def finite(value: Any) -> Any:
    """Return plain containers with null for each number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return _json(value)
    return value


def format_number(number: float) -> str:
    """Return a probability with every digit that counts, and no more."""
    return repr(float(number))


TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
"""Ends of the names of files that `write_table` writes."""


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV, TSV, JSON Lines or Parquet, as the file's name says; whole or not at all.

    Parameters
    ----------
    path : Path
    rows : sequence of mappings
    columns : sequence of str
        Their keys, in order.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        import polars as pl

        beside = path.with_name(f".{path.name}.partial")
        try:
            pl.DataFrame(rows, schema=list(columns)).write_parquet(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    if kind == ".jsonl":
        text.writelines(_json(row) + "\n" for row in rows)
    else:
        writer = csv.DictWriter(text, columns, delimiter="\t" if kind == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    write_whole(path, text.getvalue())

"""Files of records, read a batch at a time: CSV, TSV, JSON, Parquet, plain lines.

One row is one record; blank lines of a table or of JSON Lines are none. What cannot be read is one
`DataError` that names the file and the row. Text formats may be compressed (``.gz``, ``.bz2``,
``.zst``, ``.xz``, ``.zip`` with one file) and of any encoding; see `sentiment.records.dialect`.
"""

from __future__ import annotations

import codecs
import csv
import json
import lzma
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Any

from sentiment.errors import DataError, Parameter, UsageError
from sentiment.records import places
from sentiment.records.batch import Batch, flat, flat_column, flat_fields
from sentiment.records.dialect import (
    NAMES,
    Dialect,
    find_column,
    find_encoding,
    no_column,
    recoded,
)
from sentiment.records.encoding import not_decodable, wide_encoding
from sentiment.records.formats import FASTTEXT
from sentiment.records.json_items import find_layout, items
from sentiment.records.packed import unpacked
from sentiment.records.peek import Peekable, foreign
from sentiment.records.suffixes import Format
from sentiment.records.table import (
    RETURNS,
    BadRecordError,
    find_delimiter,
    looks_like_data,
    no_header,
    records,
)

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROW_BYTES = 16 << 20
_RETURN = re.compile(rb"[^\r\n]*\r(?!\n)")  # ends the first line
_DAMAGED = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zipfile.BadZipFile)


class Reader:
    """A file of records, iterated a batch at a time.

    Parameters
    ----------
    path : str
        A file, or ``-`` for standard input.
    kind : str
        One of `FORMATS`.
    text_column : str
        The column that holds the text (all formats but plain lines).
    batch_size : int
        Rows per batch.
    dialect : Dialect, optional
        How the file is written, where that is known.
    columns : mapping of str to (str or None), optional
        Further columns, the same in all rows: what the folders of a partition say.

    Attributes
    ----------
    n_rows : int or None
        How many rows there are, where the file says so.
    columns : list of str
        Names of the columns, as far as the format has them before the first row.
    text_column : str
        As the file writes it, once it is known.
    files : list of str
        The path alone.
    found : dict of str to str
        What was found out about how the file is written, where it is not the usual.
    """

    def __init__(
        self,
        path: str,
        kind: Format,
        *,
        text_column: str = "text",
        batch_size: int = 1024,
        dialect: Dialect | None = None,
        columns: Mapping[str, str | None] | None = None,
    ) -> None:
        self._added = dict(columns or {})
        self.dialect = (dialect or Dialect()).checked()
        self.found: dict[str, str] = {}
        self.path = path
        self.files = [path]
        self.kind = kind
        self.text_column = text_column
        self.batch_size = batch_size
        self.n_rows: int | None = None
        self.columns: list[str] = []
        self._raw: IO[bytes] | None = None
        self._size = 0
        self._rows_read = 0
        self._line = 0
        self._spool: IO[bytes] | None = None
        if path != "-":
            self._raw, self._size = places.open_read(path)
        self._version = places.version(path)
        read = {"csv": self._csv, "tsv": self._csv, "jsonl": self._json, "lines": self._plain}
        try:
            self._batches = self._parquet() if kind == "parquet" else read[kind](self._text())
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Batch]:
        with places.refusals(self.path):
            for batch in self._batches:
                self._rows_read += len(batch)
                yield self._partitioned(batch) if self._added else batch
        if self._version and places.version(self.path) != self._version:
            raise DataError(
                f"{self.path}: has changed while it was read: its rows are of two versions; "
                "read a copy, or when nobody writes it"
            )

    def identity(self) -> str:
        """Return what tells whether the input is still what it was."""
        return f"{self.path} {self._version}"

    @property
    def size(self) -> int:
        """Bytes as they are stored; 0 where that is not known."""
        return self._size

    def _partitioned(self, batch: Batch) -> Batch:
        """Return a batch with the columns that its folders say."""
        if batch.table is None:
            rows = [{**row, **self._added} for row in batch.records()]
            return Batch(batch.texts, rows)
        import pyarrow as pa

        table = batch.table
        for name, value in self._added.items():
            cells = pa.array([value] * len(batch), pa.string())
            if name in table.schema.names:
                table = table.set_column(table.schema.names.index(name), name, cells)
            else:
                table = table.append_column(name, cells)
        return Batch(batch.texts, table=table)

    def fraction(self) -> float | None:
        """Return how much of the file has been read, or None when that cannot be told."""
        if self.n_rows is not None:
            return self._rows_read / self.n_rows if self.n_rows else 1.0
        if self._raw is None or self._raw.closed or not self._size:
            return None
        return self._raw.tell() / self._size

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._spool is not None:
            self._spool.close()
        if self._raw is not None:
            self._raw.close()

    def _fail(self, row: int, *what: str | Parameter) -> DataError:
        return DataError(f"{self.path}: row {row}: ", *what)

    def _text(self, raw: IO[bytes] | None = None) -> Peekable:
        """Return the file as UTF-8."""
        try:
            packed = raw or self._raw or sys.stdin.buffer
            stream = Peekable(unpacked(packed, places.plain_name(self.path), self.path))
            head = stream.head()
        except _DAMAGED as error:  # a damaged compressed file
            raise self._fail(1, f"cannot be read ({one_line(error)})") from None
        if self.kind != "lines" and (told := foreign(head, table=self.kind != "jsonl")):
            raise DataError(f"{self.path}: {told}")
        encoding = find_encoding(head, self.dialect.encoding)
        if encoding == "utf-8" and self.dialect.encoding is None and (wide := wide_encoding(head)):
            raise DataError(
                f"{self.path}: not UTF-8 but {wide} without a byte order mark: give ",
                Parameter("encoding", wide, key="data.encoding"),
            )
        if encoding != "utf-8":
            self.found["encoding"] = encoding
            stream = Peekable(recoded(stream, encoding))
            head = stream.head()
        table = self.kind in ("csv", "tsv")  # whose cells may hold line feeds
        if b"\r" in head.rstrip(b"\r") and (b"\n" not in head or (table and _RETURN.match(head))):
            stream = Peekable(stream, only_returns=True)  # as old Macintosh programs end lines
        return stream

    def _lines(self, stream: IO[bytes]) -> Iterator[bytes]:
        """Yield lines with their ends; a line without bounds is an error, not a full memory."""
        number = 0
        while True:
            number += 1
            try:
                line = stream.readline(MAX_ROW_BYTES + 1)
            except UnicodeDecodeError as error:
                raise self._fail(
                    number, f"not {self.found.get('encoding', 'UTF-8')} ({one_line(error)})"
                ) from None
            except _DAMAGED as error:  # a damaged compressed file
                raise self._fail(number, f"cannot be read ({one_line(error)})") from None
            if not line:
                return
            if len(line) > MAX_ROW_BYTES:
                raise self._fail(number, f"longer than {MAX_ROW_BYTES >> 20} MB")
            yield line.removeprefix(codecs.BOM_UTF8) if number == 1 else line

    def _decode(self, line: bytes, row: int) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise self._fail(row, *not_decodable(line, error)) from None

    def _plain(self, stream: Peekable) -> Iterator[Batch]:
        if stream.head().lstrip().startswith(FASTTEXT.encode()):
            yield from self._fasttext(stream)
            return
        self.columns = ["text"]
        texts: list[str | None] = []
        for row, line in enumerate(self._lines(stream), start=1):
            # Only the end of the line goes; a carriage return belongs to it.
            texts.append(self._decode(line, row).removesuffix("\n").removesuffix("\r"))
            if len(texts) == self.batch_size:
                yield Batch(texts)
                texts = []
        if texts:
            yield Batch(texts)

    def _fasttext(self, stream: Peekable) -> Iterator[Batch]:
        """Read lines as fastText's: labels with their prefix, then the text."""
        self.columns = ["text", "label"]
        rows: list[dict[str, Any]] = []
        for number, line in enumerate(self._lines(stream), start=1):
            words = self._decode(line, number).strip()
            label = None
            while words.startswith(FASTTEXT):
                if label is not None:
                    raise self._fail(number, f"has several labels ({words[:40]!r}): give one")
                label, *rest = words.removeprefix(FASTTEXT).split(maxsplit=1) or [""]
                words = "".join(rest)
            rows.append({"text": words, "label": label})
            if len(rows) == self.batch_size:
                yield Batch([row["text"] for row in rows], rows)
                rows = []
        if rows:
            yield Batch([row["text"] for row in rows], rows)

    def _json(self, stream: Peekable) -> Iterator[Batch]:
        """Read JSON Lines, an array of objects, or a table as pandas writes it by columns."""
        layout = find_layout(stream.head(), self.text_column)
        if layout == "lines":
            found = self._json_lines(stream)
        else:
            self.found["json"] = layout
            if layout == "columns" and self._raw is None:
                # It is read at several places at once: a pipe goes to disk first.
                self._spool = NamedTemporaryFile()  # noqa: SIM115 - until this is closed
                shutil.copyfileobj(stream, self._spool)
                self._spool.flush()
            found = items(stream, layout, self.text_column, self._again, self._fail)
        rows: list[dict[str, Any]] = []
        texts: list[str | None] = []
        for number, row in enumerate(found, start=1):
            if not isinstance(row, dict):
                raise self._fail(number, f"not a JSON object but {type(row).__name__}")
            # What lies inside has the names of both: review.text.
            known = row if self.text_column in row else flat(row)
            if self.text_column not in known:
                self._find_text_column(list(known), number)
                if self.text_column not in known:
                    raise self._fail(number, *self._no_column(known))
            text = known[self.text_column]
            if not isinstance(text, str | None):
                raise self._fail(
                    number, f"{self.text_column!r} is not a text but {type(text).__name__}"
                )
            rows.append(row)
            texts.append(text)
            if len(rows) == self.batch_size:
                yield Batch(texts, rows)
                texts, rows = [], []
        if rows:
            yield Batch(texts, rows)

    @contextmanager
    def _again(self) -> Iterator[IO[bytes]]:
        if self._spool is not None:
            with Path(self._spool.name).open("rb") as spooled:
                yield spooled
            return
        raw, _ = places.open_read(self.path)
        with raw:
            yield self._text(raw)

    def _json_lines(self, stream: Peekable) -> Iterator[Any]:
        number = 0
        for line in self._lines(stream):
            if not line.strip():
                continue
            number += 1
            try:
                yield json.loads(self._decode(line, number))
            except (ValueError, RecursionError) as error:
                raise self._fail(number, f"not JSON ({one_line(error)})") from None

    def _csv(self, stream: Peekable) -> Iterator[Batch]:
        usual = "," if self.kind == "csv" else "\t"
        delimiter, skip = find_delimiter(stream.head(), usual, self.text_column, self.dialect)
        if delimiter != usual:
            self.found["delimiter"] = delimiter
        csv.field_size_limit(MAX_ROW_BYTES)
        lines = self._decoded(stream)
        for _ in range(skip):
            next(lines)
        patient = self.path != "-" or self.batch_size > 1
        found = records(
            lines, delimiter, self.dialect.quote, patient=patient, decided=self._decided
        )
        names: list[str] = []
        rows: list[dict[str, Any]] = []
        row = 0
        try:
            for begun, cells in found:
                if not names:
                    if any(map(str.strip, cells)):
                        names = self._header(cells)
                    continue
                if len(names) > 1 and len(cells) == 1 and not cells[0].strip():
                    continue  # a line of blanks
                row += 1
                if len(cells) != len(names):
                    self._cut_blank_cells(cells, len(names), row, begun + skip)
                # Columns without a name, as spreadsheets leave them, are none.
                rows.append({name: cell for name, cell in zip(names, cells, strict=True) if name})
                if len(rows) == self.batch_size:
                    yield self._csv_batch(rows)
                    rows = []
        except BadRecordError as error:
            raise self._fail(
                row + 1,
                f"line {error.line + skip}: {error}; if quotes are text here, give ",
                Parameter("quote", "none", key="data.quote"),
            ) from None
        if not names:
            raise DataError(f"{self.path}: empty: it has no header row")
        if rows:
            yield self._csv_batch(rows)

    def _cut_blank_cells(self, cells: list[str], wanted: int, row: int, line: int) -> None:
        """Remove empty cells behind the last column; a row of another length is none of this table."""
        if len(cells) < wanted or any(map(str.strip, cells[wanted:])):
            raise self._fail(
                row,
                f"line {line}: {len(cells)} cells, the header has {wanted}"
                + (f" ({RETURNS})" if "\r" in "".join(cells).rstrip() else ""),
            )
        del cells[wanted:]

    def _decided(self, quote: str) -> None:
        self.found["quote"] = quote

    def _csv_batch(self, rows: list[dict[str, Any]]) -> Batch:
        # CSV has no word for null: an empty cell is one.
        return Batch([row[self.text_column] or None for row in rows], rows)

    def _header(self, cells: list[str]) -> list[str]:
        names = [cell.strip() for cell in cells]
        filled = [name for name in names if name]
        if len(set(filled)) != len(filled):
            said = no_header(filled) if looks_like_data(filled) else None
            said = said or f"the header names a column twice: {', '.join(filled)}"
            raise DataError(f"{self.path}: {said}")
        self.columns = [*filled, *(name for name in self._added if name not in filled)]
        self._find_text_column(filled, 0)
        if self.text_column not in filled:
            raise DataError(f"{self.path}: ", *self._no_column(filled))
        return names

    def _find_text_column(self, columns: list[str], row: int) -> None:
        """Take the column that differs from the wanted one by case or blanks alone."""
        if row <= 1:
            self.text_column = find_column(columns, self.text_column) or self.text_column

    def _decoded(self, stream: Peekable) -> Iterator[str]:
        for line in self._lines(stream):
            self._line += 1
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self.path}: line {self._line}: ", *not_decodable(line, error)
                ) from None

    def _parquet(self) -> Iterator[Batch]:
        import pyarrow as pa
        from pyarrow import parquet

        if self._raw is None:
            raise UsageError("Parquet cannot be read from standard input: give a file")
        try:
            # A column chunk is read through a small buffer, not whole.
            file = parquet.ParquetFile(self._raw, buffer_size=1 << 20, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path}: not a Parquet file ({one_line(error)})") from None
        self.n_rows = file.metadata.num_rows
        self.schema: pa.Schema = file.schema_arrow
        for name in self._added:
            if name not in self.schema.names:
                self.schema = self.schema.append(pa.field(name, pa.string()))
        self.columns = list(self.schema.names)
        if len(set(self.columns)) != len(self.columns):
            raise DataError(f"{self.path}: names a column twice: {', '.join(self.columns)}")
        known = flat_fields(self.schema)
        self._find_text_column(list(known), 0)
        if self.text_column not in known:
            raise DataError(f"{self.path}: ", *self._no_column(known))
        kind = known[self.text_column]
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (
            pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_null(kind)
            or kind == pa.string_view()
            or pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
            or kind == pa.binary_view()
        ):
            raise DataError(f"{self.path}: column {self.text_column!r} is not text but {kind}")
        return self._parquet_batches(file)

    def _parquet_batches(self, file: Any) -> Iterator[Batch]:
        import pyarrow as pa

        batches = file.iter_batches(batch_size=self.batch_size)
        row = 1
        while True:
            try:
                table = next(batches, None)
                if table is None:
                    return
                texts = [
                    text.decode() if isinstance(text, bytes) else text
                    for text in flat_column(table, self.text_column).to_pylist()
                ]
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise self._fail(row, f"or after it: cannot be read ({one_line(error)})") from None
            row += len(texts)
            yield Batch(texts, table=table)

    def _no_column(self, names: Sequence[str] | dict[str, Any]) -> tuple[str | Parameter, ...]:
        shown = ", ".join(list(names)[:10])
        if len(names) == 1:
            for delimiter in ",;|\t^~:\x01 ":
                if delimiter in shown:
                    called = NAMES.get(delimiter, delimiter)
                    return (
                        f"no column {self.text_column!r}; is {shown!r} several? Give ",
                        Parameter("delimiter", called, key="data.delimiter"),
                    )
        if self.kind in ("csv", "tsv") and looks_like_data(names):
            return (f"no column {self.text_column!r}: {no_header(names)}",)
        return no_column(self.text_column, names, Parameter("text_column", key="data.text_column"))


def one_line(error: BaseException) -> str:
    """Return what an error says, short and on one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__

"""Files of records, read a batch at a time: CSV, TSV, JSON Lines, Parquet, plain lines.

One row is one record; nothing is skipped. What cannot be read is one `DataError` that names the
file and the row. Text formats may be compressed (``.gz``, ``.bz2``, ``.zst``).
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from sentiment.errors import DataError, Parameter, UsageError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["csv", "tsv", "jsonl", "parquet", "lines"]
FORMATS: tuple[Format, ...] = ("csv", "tsv", "jsonl", "parquet", "lines")
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "lines",
    ".text": "lines",
    ".lines": "lines",
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
MAX_ROW_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive rows of a file.

    Attributes
    ----------
    texts : list of (str or None)
        The text column.
    rows : list of dict, optional
        Every column of each row (None for plain lines and for Parquet).
    table : pyarrow.RecordBatch, optional
        The same of a Parquet file.
    """

    texts: list[str | None]
    rows: list[dict[str, Any]] | None = None
    table: pa.RecordBatch | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def records(self) -> list[dict[str, Any]]:
        """Return every row as a dictionary; a plain line is its text."""
        if self.rows is not None:
            return self.rows
        if self.table is not None:
            records: list[dict[str, Any]] = self.table.to_pylist()
            return records
        return [{"text": text} for text in self.texts]

    def skip(self, n: int) -> Batch:
        """Return the batch without its first n rows."""
        return Batch(
            self.texts[n:],
            None if self.rows is None else self.rows[n:],
            None if self.table is None else self.table.slice(n),
        )


def find_format(path: str, given: str | None, *, otherwise: Format | None = None) -> Format:
    """Return the format that a file's name (less its compression) or the caller says.

    Raises
    ------
    UsageError
        Neither does.
    """
    if given is not None:
        for known in FORMATS:
            if given == known:
                return known
        raise UsageError(
            f"format {given!r} is none of {', '.join(FORMATS)}{nearest(given, FORMATS)}"
        )
    if path == "-" and otherwise is not None:
        return otherwise
    name = Path(path)
    if name.suffix.lower() in COMPRESSIONS:
        name = name.with_suffix("")
    found = _SUFFIXES.get(name.suffix.lower())
    if found is None:
        known_suffixes = ", ".join(_SUFFIXES)
        raise UsageError(
            f"{path}: its name does not tell the format ({known_suffixes}); give ",
            Parameter("format"),
            " or ",
            Parameter("output_format"),
            f": {', '.join(FORMATS)}",
        )
    return found


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

    Attributes
    ----------
    n_rows : int or None
        How many rows there are, where the file says so.
    columns : list of str
        Names of the columns, as far as the format has them before the first row.
    """

    def __init__(
        self,
        path: str,
        kind: Format,
        *,
        text_column: str = "text",
        batch_size: int = 1024,
    ) -> None:
        self.path = path
        self.kind = kind
        self.text_column = text_column
        self.batch_size = batch_size
        self.n_rows: int | None = None
        self.columns: list[str] = []
        self._raw: IO[bytes] | None = None
        self._size = 0
        self._rows_read = 0
        if path != "-":
            file = Path(path)
            if file.is_dir():
                raise DataError(f"{path}: is a directory; give a file")
            try:
                self._raw = file.open("rb")
                self._size = os.fstat(self._raw.fileno()).st_size
            except OSError as error:
                raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        read = {"csv": self._csv, "tsv": self._csv, "jsonl": self._jsonl, "lines": self._plain}
        try:
            self._batches = (
                self._parquet() if kind == "parquet" else read[kind](self._lines(self._open()))
            )
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            self._rows_read += len(batch)
            yield batch

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
        if self._raw is not None:
            self._raw.close()

    def _fail(self, row: int, *what: str | Parameter) -> DataError:
        return DataError(f"{self.path}: row {row}: ", *what)

    def _open(self) -> IO[bytes]:
        stream = sys.stdin.buffer if self._raw is None else self._raw
        compression = COMPRESSIONS.get(Path(self.path).suffix.lower())
        if compression == "gzip":
            import gzip

            return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
        if compression == "bz2":
            import bz2

            return bz2.BZ2File(stream)
        if compression == "zstd":
            import io

            import pyarrow as pa

            return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(stream), "zstd"))
        return stream

    def _lines(self, stream: IO[bytes]) -> Iterator[bytes]:
        """Yield lines with their ends; a line without bounds is an error, not a full memory."""
        number = 0
        while True:
            number += 1
            try:
                line = stream.readline(MAX_ROW_BYTES + 1)
            except (OSError, EOFError, ValueError) as error:  # a damaged compressed file
                raise self._fail(number, f"cannot be read ({one_line(error)})") from None
            if not line:
                return
            if len(line) > MAX_ROW_BYTES:
                raise self._fail(number, f"longer than {MAX_ROW_BYTES >> 20} MB")
            yield line

    def _decode(self, line: bytes, row: int) -> str:
        try:
            return line.decode("utf-8-sig" if row == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise self._fail(row, _not_utf8(line[error.start])) from None

    def _plain(self, lines: Iterator[bytes]) -> Iterator[Batch]:
        self.columns = ["text"]
        texts: list[str | None] = []
        for row, line in enumerate(lines, start=1):
            # Only the end of the line goes; a carriage return belongs to it.
            texts.append(self._decode(line, row).removesuffix("\n").removesuffix("\r"))
            if len(texts) == self.batch_size:
                yield Batch(texts)
                texts = []
        if texts:
            yield Batch(texts)

    def _jsonl(self, lines: Iterator[bytes]) -> Iterator[Batch]:
        rows: list[dict[str, Any]] = []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(self._decode(line, number))
            except (ValueError, RecursionError) as error:
                raise self._fail(number, f"not JSON ({one_line(error)})") from None
            if not isinstance(row, dict):
                raise self._fail(number, f"not a JSON object but {type(row).__name__}")
            if self.text_column not in row:
                raise self._fail(number, *self._no_column(row))
            text = row[self.text_column]
            if not isinstance(text, str | None):
                raise self._fail(
                    number, f"{self.text_column!r} is not a text but {type(text).__name__}"
                )
            rows.append(row)
            if len(rows) == self.batch_size:
                yield Batch([row[self.text_column] for row in rows], rows)
                rows = []
        if rows:
            yield Batch([row[self.text_column] for row in rows], rows)

    def _csv(self, lines: Iterator[bytes]) -> Iterator[Batch]:
        decoded = self._decoded_records(lines)
        csv.field_size_limit(MAX_ROW_BYTES)
        reader = csv.reader(decoded, delimiter="," if self.kind == "csv" else "\t", strict=True)
        row = 0
        names: list[str] = []
        rows: list[dict[str, Any]] = []
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                raise self._fail(row + 1, f"line {reader.line_num}: {error}") from None
            if not names:
                names = self._header(cells)
                continue
            row += 1
            if len(cells) != len(names):
                if not cells and len(names) == 1:
                    cells = [""]  # an empty line is the empty cell of a single column
                else:
                    raise self._fail(
                        row,
                        f"line {reader.line_num}: {len(cells)} cells, the header has {len(names)}",
                    )
            rows.append(dict(zip(names, cells, strict=True)))
            if len(rows) == self.batch_size:
                yield self._csv_batch(rows)
                rows = []
        if not names:
            raise DataError(f"{self.path}: empty: it has no header row")
        if rows:
            yield self._csv_batch(rows)

    def _csv_batch(self, rows: list[dict[str, Any]]) -> Batch:
        # CSV has no word for null: an empty cell is one.
        return Batch([row[self.text_column] or None for row in rows], rows)

    def _header(self, cells: list[str]) -> list[str]:
        if len(set(cells)) != len(cells):
            raise DataError(f"{self.path}: the header names a column twice: {', '.join(cells)}")
        if self.text_column not in cells:
            raise DataError(f"{self.path}: ", *self._no_column(cells))
        self.columns = cells
        return cells

    def _decoded_records(self, lines: Iterator[bytes]) -> Iterator[str]:
        for number, line in enumerate(lines, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self.path}: line {number}: {_not_utf8(line[error.start])}"
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
        self.columns = list(self.schema.names)
        if self.text_column not in self.columns:
            raise DataError(f"{self.path}: ", *self._no_column(self.columns))
        kind = self.schema.field(self.text_column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (
            pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_null(kind)
            or kind == pa.string_view()
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
                texts = table.column(self.text_column).to_pylist()
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise self._fail(row, f"or after it: cannot be read ({one_line(error)})") from None
            row += len(texts)
            yield Batch(texts, table=table)

    def _no_column(self, names: Sequence[str] | dict[str, Any]) -> tuple[str | Parameter, ...]:
        shown = ", ".join(list(names)[:10])
        if len(names) == 1 and ";" in shown:
            return (f"its columns are separated by semicolons ({shown}): commas or tabs are read",)
        return (
            f"no column {self.text_column!r} (there are: {shown}); give ",
            Parameter("text_column", key="data.text_column"),
            nearest(self.text_column, names),
        )


def _not_utf8(byte: int) -> str:
    return f"not UTF-8 (byte {byte:#04x}); convert it first: iconv -f latin1 -t utf-8"


def one_line(error: BaseException) -> str:
    """Return what an error says, short and on one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__

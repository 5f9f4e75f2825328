"""Files of answers: records with what the model says of them, written a batch at a time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sentiment.errors import DataError
from sentiment.files import write_whole
from sentiment.records.reader import Batch, Format, one_line

if TYPE_CHECKING:
    import pyarrow as pa


class Writer:
    """Writes records with what the model says of them.

    Parameters
    ----------
    stream : binary file
    kind : str
        One of `sentiment.records.FORMATS`.
    labels : sequence of str
        The model's labels, in order.
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
        header: bool = True,
        schema: pa.Schema | None = None,
    ) -> None:
        self._stream = stream
        self._kind = kind
        self._labels = list(labels)
        self._header = header
        self._schema = schema
        self._names: list[str] | None = None
        self._parquet: Any = None

    def write(
        self,
        batch: Batch,
        labels: Sequence[str],
        confidence: Sequence[float | None],
        probabilities: Sequence[Sequence[float] | None],
    ) -> None:
        """Write one batch; a null text has an empty label and no numbers."""
        if self._kind == "lines":
            lines = [
                f"{label}\t{'' if number is None else format_number(number)}\n"
                for label, number in zip(labels, confidence, strict=True)
            ]
            self._stream.write("".join(lines).encode())
        elif self._kind == "jsonl":
            self._write_jsonl(batch, labels, confidence, probabilities)
        elif self._kind == "parquet":
            self._write_parquet(batch, labels, confidence, probabilities)
        else:
            self._write_csv(batch, labels, confidence, probabilities)

    def begin(self, columns: Sequence[str]) -> None:
        """Write what stands before the first row: the header of a CSV or TSV without rows too."""
        if self._kind in ("csv", "tsv") and self._names is None:
            self._csv_header(list(columns))

    def close(self) -> None:
        """Finish the file; the stream stays open."""
        if self._kind == "parquet":
            if self._parquet is None:  # no row came: an empty table is still a table
                self._open_parquet(self._schema)
            self._parquet.close()

    def _added(self, names: Sequence[str]) -> list[str]:
        """Return the names of the added columns; one that is taken gets a prefix."""
        added = ["label", "confidence", *(f"probability_{label}" for label in self._labels)]
        taken = set(names)
        result = []
        for name in added:
            fresh = name
            while fresh in taken:
                fresh = f"predicted_{fresh}"
            taken.add(fresh)
            result.append(fresh)
        return result

    def _write_jsonl(self, batch: Batch, labels: Any, confidence: Any, probabilities: Any) -> None:
        lines = []
        for record, label, number, row in zip(
            batch.records(), labels, confidence, probabilities, strict=True
        ):
            answer = {
                "label": label,
                "confidence": number,
                "probabilities": None if row is None else dict(zip(self._labels, row, strict=True)),
            }
            named = {
                (f"predicted_{name}" if name in record else name): value
                for name, value in answer.items()
            }
            lines.append(json.dumps({**record, **named}, ensure_ascii=False, default=str) + "\n")
        # A lone surrogate of a JSON escape has no UTF-8: it stays the escape that it was.
        self._stream.write("".join(lines).encode("utf-8", "backslashreplace"))

    def _csv_header(self, names: list[str]) -> None:
        self._names = names
        if self._header:
            self._write_cells([[*names, *self._added(names)]])

    def _write_cells(self, rows: list[list[Any]]) -> None:
        import io

        text = io.StringIO()
        delimiter = "," if self._kind == "csv" else "\t"
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
        self._stream.write(text.getvalue().encode("utf-8", "replace"))

    def _write_csv(self, batch: Batch, labels: Any, confidence: Any, probabilities: Any) -> None:
        records = batch.records()
        if self._names is None:
            self._csv_header(list(records[0]))
        names = self._names or []
        rows = []
        for record, label, number, row in zip(
            records, labels, confidence, probabilities, strict=True
        ):
            if len(record) != len(names) or not all(name in record for name in names):
                extra = [name for name in record if name not in names] or names
                raise DataError(
                    f"columns differ between rows ({', '.join(map(str, extra[:5]))}): "
                    "write .jsonl instead"
                )
            cells = [_cell(record[name]) for name in names]
            numbers = [""] * len(self._labels) if row is None else list(map(format_number, row))
            rows.append([*cells, label, "" if number is None else format_number(number), *numbers])
        self._write_cells(rows)

    def _write_parquet(
        self, batch: Batch, labels: Any, confidence: Any, probabilities: Any
    ) -> None:
        import pyarrow as pa

        table = batch.table
        if table is None:
            try:
                kept = None if self._parquet is None else self._schema
                table = pa.RecordBatch.from_pylist(batch.records(), schema=kept)
            except (pa.ArrowException, TypeError) as error:
                raise DataError(
                    f"a column holds different types ({one_line(error)}): write .jsonl instead"
                ) from None
        if self._parquet is None:
            self._open_parquet(table.schema)
        by_label = [
            [None if row is None else row[number] for row in probabilities]
            for number in range(len(self._labels))
        ]
        columns = [
            pa.array(labels, pa.string()),
            pa.array(confidence, pa.float64()),
            *(pa.array(column, pa.float64()) for column in by_label),
        ]
        self._parquet.write_batch(
            pa.RecordBatch.from_arrays([*table.columns, *columns], schema=self._parquet.schema)
        )

    def _open_parquet(self, schema: Any) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        if schema is None:
            schema = pa.schema([pa.field("text", pa.string())])
        self._schema = schema
        kinds = [pa.string()] + [pa.float64()] * (1 + len(self._labels))
        added = [
            pa.field(name, kind)
            for name, kind in zip(self._added(schema.names), kinds, strict=True)
        ]
        self._parquet = parquet.ParquetWriter(
            self._stream, pa.schema([*schema, *added]), compression="zstd", compression_level=1
        )


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def format_number(number: float) -> str:
    """Return a probability with every digit that counts, and no more."""
    return repr(float(number))


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
        text.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        writer = csv.DictWriter(text, columns, delimiter="\t" if kind == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    write_whole(path, text.getvalue())

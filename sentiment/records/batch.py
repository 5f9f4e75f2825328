"""Consecutive rows of a file, as they go from a reader to a model and to a writer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


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


def flat_fields(fields: Iterable[pa.Field]) -> dict[str, pa.DataType]:
    """Return the columns of Parquet and their types, those inside structures as `flat` names them."""
    import pyarrow as pa

    fields = list(fields)
    inner = {
        f"{field.name}.{name}": kind
        for field in fields
        if pa.types.is_struct(field.type)
        for name, kind in flat_fields(field.type).items()
    }
    outer = {field.name: field.type for field in fields}
    return {**outer, **inner, **outer}


def flat_column(table: pa.RecordBatch, name: str) -> pa.Array:
    """Return a column of Parquet by one of the names of `flat_fields`."""
    import pyarrow as pa

    if name in table.schema.names:
        return table.column(name)
    above = next(
        field.name
        for field in table.schema
        if pa.types.is_struct(field.type) and name.startswith(f"{field.name}.")
    )
    inside = table.column(above)
    # What lies in a structure that is null is null.
    return flat_column(
        pa.RecordBatch.from_arrays(inside.flatten(), schema=pa.schema(list(inside.type))),
        name.removeprefix(f"{above}."),
    )


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of JSON with what lies in objects beside them: ``{"a": {"b": 1}}`` has ``a.b`` too.

    Of a list of objects, as annotations are written, ``a.b`` is the value of its only one, or all of them.
    """
    if not any(isinstance(value, dict) or _is_objects(value) for value in row.values()):
        return row
    found = dict(row)
    for key, value in row.items():
        if isinstance(value, dict):
            found |= {f"{key}.{inner}": item for inner, item in flat(value).items()}
        elif _is_objects(value):
            inside: dict[str, list[Any]] = {}
            for item in map(flat, value):
                for inner, cell in item.items():
                    inside.setdefault(f"{key}.{inner}", []).append(cell)
            found |= {n: cells[0] if len(cells) == 1 else cells for n, cells in inside.items()}
    return found


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)

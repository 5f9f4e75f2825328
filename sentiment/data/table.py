"""A table in memory, kept as the file that a training reads."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentiment.data.labels import is_missing
from sentiment.data.sources import NoColumnError, group_like
from sentiment.data.teacher import meant, teacher_columns
from sentiment.errors import DataError
from sentiment.files import write_whole
from sentiment.records.dialect import find_column


def keep_table(data: Any, asked: Mapping[str, Any], output_dir: Path) -> Path:
    """Write what a training reads of a table to a file that its content names, and return it.

    Parameters
    ----------
    data : DataFrame or (texts, labels)
        Of pandas or polars, or two sequences.
    asked : mapping
        The ``data`` of the config, which names columns.
    output_dir : Path

    Raises
    ------
    DataError
        A column that is named is not there, or the lengths differ.
    """
    if hasattr(data, "columns"):
        columns = _columns(data, asked)
    else:
        texts, labels = (list(part) for part in data)
        if len(texts) != len(labels):
            raise DataError(f"{len(texts)} texts and {len(labels)} labels")
        columns = {asked["text_column"]: texts, asked["label_column"]: labels}
    plain = [list(map(_plain, values)) for values in columns.values()]
    rows = [
        json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=True, default=_written)
        for row in zip(*plain, strict=True)
    ]
    content = "\n".join(rows) + "\n"
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    file = output_dir / "data" / f"{digest}.jsonl"
    if not file.exists():
        write_whole(file, content)
    return file.resolve()


def _columns(table: Any, asked: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the columns of a table that a training reads, as it would of a file.

    Others may hold what JSON cannot, and would make the same training another one.
    """
    known = {str(name): name for name in table.columns}
    soft = teacher_columns(asked["soft_labels"])
    named = {key: name for key, name in asked.items() if name and key.endswith("_column")}
    if soft and asked["label_column"] not in known:
        del named["label_column"]
    further = [("slice_columns", name) for name in asked["slice_columns"] or ()]
    further += [("soft_labels", name) for pattern in soft for name in meant(pattern, list(known))]
    found: dict[str, Any] = {}
    for key, name in (*named.items(), *further):
        own = find_column(list(known), name)
        if own is None:
            raise NoColumnError(name, list(known), "the table", f"data.{key}")
        found[own] = known[own]
    # Those are read too, to warn of what train and test share.
    found |= {name: known[name] for name in group_like(list(known), list(found))}
    return {name: list(table[own]) for name, own in found.items()}


def _plain(value: Any) -> Any:
    """Return a cell as JSON has it: a numpy scalar as Python's value, a missing one as null."""
    if getattr(value, "shape", None) == ():
        value = value.item()
    if is_missing(value) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def _written(value: Any) -> str:
    """Return what JSON has no value for as a file would hold it."""
    return str(value.isoformat() if hasattr(value, "isoformat") else value)

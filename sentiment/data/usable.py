"""Which rows can be used: those with a text and a label that has a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sentiment.data.labels import named_labels
from sentiment.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def usable(
    frame: pl.DataFrame,
    label_names: Mapping[Any, str] | Sequence[str] | None,
    on_bad_rows: str,
    report: dict[str, int],
    split: str,
    *,
    first_row: int = 0,
) -> pl.DataFrame:
    """Name the labels, count rows that cannot be used, and drop or refuse them.

    Parameters
    ----------
    frame : DataFrame
        Columns ``text`` and ``label``, and maybe others; n rows.
    label_names, on_bad_rows
        As for `load_splits`.
    report : dict of str to int
        Its counts grow.
    split : str
        ``train`` or ``test``, for the counts and for errors.
    first_row : int
        Rows of the file that came before.

    Returns
    -------
    DataFrame
        The rows that can be used, with ``row``: where each stands in the file, from 1.

    Raises
    ------
    DataError
        If the text column holds no text, a label has no name, or bad rows are refused.
    """
    import polars as pl

    if frame["text"].dtype != pl.String:
        raise DataError(
            f"the text column of {split} holds {frame['text'].dtype}, not text: set data.text_column=…"
        )
    label = frame["label"]
    mapping = named_labels(label_names)
    if mapping is not None:
        unnamed = sorted(set(label.drop_nulls().unique()) - set(mapping) - set(mapping.values()))
        if unnamed:
            raise DataError(
                f"data.label_names names {', '.join(mapping)} but {split} also holds "
                f"{', '.join(map(repr, unnamed[:5]))}: name every label, or set data.label_names=null"
            )
        label = label.replace(mapping)
    empty = frame["text"].is_null() | (frame["text"].str.strip_chars() == "").fill_null(value=True)
    unlabelled = label.is_null() & ~empty
    counts = {"empty_texts": int(empty.sum()), "missing_labels": int(unlabelled.sum())}
    for reason, count in counts.items():
        key = f"{reason}_{split}"
        report[key] = report.get(key, 0) + count
        if count and on_bad_rows == "error":
            first = first_row + (empty if reason == "empty_texts" else unlabelled).arg_true()[0] + 1
            raise DataError(
                f"{split} has {count} rows with {reason.replace('_', ' ')} (first: row {first}); "
                "mend them, or set data.on_bad_rows=drop"
            )
    numbered = frame.with_columns(label=label).with_row_index("row", offset=first_row + 1)
    return numbered.filter(~(empty | unlabelled))

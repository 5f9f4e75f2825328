"""Labels that someone has looked at: a file of them wins over what the data says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sentiment.data.labels import label_of
from sentiment.data.sources import sound
from sentiment.data.teacher import without_doubt
from sentiment.errors import DataError, nearest
from sentiment.records.dialect import find_column

if TYPE_CHECKING:
    import polars as pl

ROW, TEXT, STATUS = "row", "text", "status"
_LABELLED = (
    "labelled"  # as `sentiment label` says of a text that was not skipped and not left in doubt
)
# A file of suspects comes back as it is, or with a column of the answers of who has looked.
_LABELS = ("label", "suggested")


def corrected(
    frames: Mapping[str, pl.DataFrame],
    file: str,
    names: Mapping[str, str] | None,
    report: dict[str, int],
) -> dict[str, pl.DataFrame]:
    """Return the rows with the labels of a file where it names them.

    A line names rows by ``text`` (every row that holds it, held-out ones too), or, where it has no
    text, by ``row``: where it stands in the training data, counted from 0. Its label is ``label``,
    or ``suggested`` where that is missing; a line without one changes nothing, nor does one whose
    ``status`` is another than ``labelled``: who looked was not sure. Of two lines for one row the
    later counts.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        Rows of ``train``, ``val`` and ``test``, as `sentiment.data.splits.usable` gives them.
    file : str
        CSV, TSV, JSON Lines or Parquet.
    names : mapping, optional
        Raw label to label.
    report : dict of str to int
        Gets ``labels_corrected`` and ``corrections_not_found``.

    Raises
    ------
    DataError
        It cannot be read, names a row that is none, or a label that the data lacks.
    """
    import polars as pl

    by_text: dict[str, str] = {}
    by_row: dict[int, str] = {}
    known = {label for frame in frames.values() for label in frame["label"].unique()}
    last = max(frames["train"]["row"].to_list(), default=0) - 1
    for number, record in enumerate(_records(file), start=1):
        label = next(
            (found for key in _LABELS if (found := label_of(record.get(key))) is not None), None
        )
        if label is None or record.get(STATUS) not in (None, "", _LABELLED):
            continue
        label = (names or {}).get(label, label)
        if label not in known:
            raise DataError(
                f"data.corrections={file}: row {number} says {label!r}, which is no label of the data"
                f"{nearest(label, known)} (there are: {', '.join(sorted(known)[:20])})"
            )
        text = sound(record.get(TEXT))
        if text:
            by_text[text] = label
            continue
        by_row[_row(record.get(ROW), last, f"data.corrections={file}: row {number}")] = label
    result: dict[str, pl.DataFrame] = {}
    used_texts: set[str] = set()
    used_rows: set[int] = set()
    changed = 0
    for part, frame in frames.items():
        labels = frame["label"].to_list()
        texts, rows = frame["text"].to_list(), frame["row"].to_list()
        sure: set[int] = set()
        for place, (text, row) in enumerate(zip(texts, rows, strict=True)):
            label = by_text.get(text)
            if label is not None:
                used_texts.add(text)
            if part == "train" and row - 1 in by_row:
                used_rows.add(row - 1)
                label = by_row[row - 1]
            if label is not None:
                sure.add(place)
                changed += label != labels[place]
                labels[place] = label
        result[part] = without_doubt(
            frame.with_columns(label=pl.Series(labels, dtype=pl.String)), sorted(sure)
        )
    report["labels_corrected"] = changed
    report["corrections_not_found"] = len(by_text) + len(by_row) - len(used_texts) - len(used_rows)
    return result


def _row(value: Any, last: int, where: str) -> int:
    if value in (None, ""):
        raise DataError(f"{where} has neither a text nor a row")
    try:
        row = int(value)
    except (TypeError, ValueError):
        raise DataError(f"{where} has the row {value!r}, which is no whole number") from None
    if not 0 <= row <= last:
        raise DataError(
            f"{where} names row {row}: rows of the training data are counted from 0 to {last}"
        )
    return row


def _records(file: str) -> list[dict[str, Any]]:
    """Return the lines with the columns that count, under their own names."""
    from sentiment.records.formats import find_format
    from sentiment.records.reader import Reader

    kind = find_format(file, None)
    first: DataError | None = None
    # A reader wants one column of text: of a file of rows and labels that is the label.
    for column in (TEXT, *_LABELS):
        try:
            with Reader(file, kind, text_column=column) as reader:
                return [_named(record) for batch in reader for record in batch.records()]
        except DataError as error:
            first = first or error
    raise DataError(f"data.corrections: {first}") from first


def _named(record: Mapping[str, Any]) -> dict[str, Any]:
    columns = list(record)
    found = {name: find_column(columns, name) for name in (ROW, TEXT, STATUS, *_LABELS)}
    if found["label"] is None and found["suggested"] is None:
        raise DataError(
            f"corrections have the columns {', '.join(columns[:10])}: they need label (or suggested), "
            "and text or row"
        )
    return {name: record[column] for name, column in found.items() if column is not None}

"""What there is to label: a pool, suspected labels, or what users answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentiment.errors import DataError
from sentiment.labelling.desk import Item

_LABELS = ("given", "suggested", "predicted")
_KEPT = ("row", "given", "suggested", "split", "predicted")


def pool(path: str, text_column: str) -> list[Item]:
    """Return the texts of files, with ``row``: where each stands, counted from 0.

    Raises
    ------
    DataError
        They cannot be read.
    """
    from sentiment.data.pool import read_texts

    texts = read_texts(path, text_column=text_column)
    return [Item(text, {"row": row}) for row, text in enumerate(texts)]


def suspects(path: str) -> list[Item]:
    """Return suspected labels as ``sentiment data --labels`` wrote them, in that order.

    Raises
    ------
    DataError
        The file cannot be read, or has no text.
    """
    return [
        Item(
            row["text"], {key: _plain(row[key]) for key in _KEPT if row.get(key) not in (None, "")}
        )
        for row in _records(path)
        if row.get("text")
    ]


def feedback(output_dir: Path, *, mistakes: bool = True) -> list[Item]:
    """Return the texts of which users said another label than was predicted.

    Raises
    ------
    DataError
        Nobody has answered yet.
    """
    from sentiment.feedback import labelled_rows, place_of

    rows, _ = labelled_rows(place_of(output_dir), mistakes=mistakes)
    if not rows:
        raise DataError(f"{output_dir} holds no text that users corrected")
    return [
        Item(row["text"], {"given": row["label"], "predicted": row["predicted"]}) for row in rows
    ]


def labelled(path: str, text_column: str, label_column: str) -> list[tuple[str, str]]:
    """Return texts with their labels; rows without a label are left out.

    Raises
    ------
    DataError
        They cannot be read.
    """
    from sentiment.data.sources import labelled_chunks

    found: dict[str, str] = {}
    for chunk in labelled_chunks(path, text_column=text_column, label_column=label_column):
        for text, label in chunk.select("text", "label").drop_nulls().iter_rows():
            found[text] = label
    return list(found.items())


def label_names(
    items: Sequence[Item], known: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return the labels that texts, known labels and earlier answers speak of.

    Parameters
    ----------
    items : sequence of Item
    known : sequence of (str, str)
        Texts with labels.
    rows : sequence of mapping
        Earlier answers.
    """
    found = {label for _, label in known}
    found |= {row["label"] for row in rows if row.get("label") is not None}
    for item in items:
        found |= {str(item.about[key]) for key in _LABELS if key in item.about}
    return sorted(found)


def _records(path: str) -> list[dict[str, Any]]:
    from sentiment.records.rows import open_rows

    with open_rows(path, text_column="text", batch_size=10_000) as reader:
        return [record for batch in reader for record in batch.records()]


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value

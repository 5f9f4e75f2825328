"""Texts without label that a model learns from too: those of files, or rows of the training data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sentiment.data.sources import sound
from sentiment.errors import DataError
from sentiment.records.dialect import Dialect

ROWS = "rows"
"""Instead of a file: the rows of the training data that have no label."""


def read_texts(path: str, *, text_column: str, dialect: Dialect | None = None) -> list[str]:
    """Return every text of a file or of several.

    Parameters
    ----------
    path : str
        Whatever `sentiment.records.places.find` knows.
    text_column : str
    dialect : Dialect, optional

    Raises
    ------
    DataError
        If they cannot be read.
    """
    from sentiment.records.rows import open_rows

    texts: list[str] = []
    with open_rows(path, text_column=text_column, batch_size=10_000, dialect=dialect) as reader:
        for batch in reader:
            texts += [sound(text) or "" for text in batch.texts]
    return texts


def usable_pool(
    texts: Iterable[str],
    *,
    learned: Sequence[str],
    held_out: Iterable[str],
    report: dict[str, int],
    source: str,
) -> list[str]:
    """Return each text once, without those that stand among the labelled rows.

    Parameters
    ----------
    texts : iterable of str
    learned : sequence of str
        Training texts: the same text without its label says nothing new.
    held_out : iterable of str
        Validation and test texts: a model that has read them is judged too well.
    report : dict of str to int
        Gets the counts.
    source : str
        Named in the error.

    Raises
    ------
    DataError
        If no text is left.
    """
    held, known = set(held_out), set(learned)
    n_read = n_held = n_known = n_empty = 0
    found: dict[str, None] = {}
    for text in texts:
        n_read += 1
        if not text.strip():
            n_empty += 1
        elif text in held:
            n_held += 1
        elif text in known:
            n_known += 1
        else:
            found[text] = None
    report |= {
        "rows_unlabelled": len(found),
        "unlabelled_empty": n_empty,
        "unlabelled_held_out": n_held,
        "unlabelled_labelled": n_known,
        "unlabelled_repeated": n_read - n_held - n_known - n_empty - len(found),
    }
    if not found:
        raise DataError(
            f"data.unlabelled={source}: of {n_read} texts none is left: {n_empty} are empty, {n_held} are "
            f"validation or test texts, {n_known} are training texts"
        )
    return list(found)

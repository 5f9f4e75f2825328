"""Rows of labelled text: the texts, their labels, and what else is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sentiment.data.division import Plan, column, groups_of

if TYPE_CHECKING:
    import polars as pl

SOFT, WEIGHT, JUDGED = "soft", "weight", "judged"
"""Columns of a frame: probabilities (not-a-number where the label is sure), weight, and whether the row has a
label of its own, which figures are made of."""


@dataclass(frozen=True)
class Split:
    """Texts with their labels, row by row.

    Attributes
    ----------
    texts, labels : list of str
    groups : list of str, optional
        Where ``group_column`` names them.
    rows : list of int, optional
        Where each stands in the data that training rows are cut from, counted from 0; None for a
        validation or test set of its own.
    columns : mapping of str to list of str
        The values of ``slice_columns``.
    soft : float64[rows, classes], optional
        Probability of each class, in the order of `Splits.classes`; not-a-number where the label is sure.
    weights : float64[rows], optional
        How much each row counts; 1 without them.
    """

    texts: list[str]
    labels: list[str]
    groups: list[str] | None = None
    rows: list[int] | None = None
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    soft: NDArray[np.float64] | None = field(default=None, compare=False)
    weights: NDArray[np.float64] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, places: Sequence[int]) -> Split:
        """Return some of the rows, in this order."""
        return Split(
            [self.texts[i] for i in places],
            [self.labels[i] for i in places],
            None if self.groups is None else [self.groups[i] for i in places],
            None if self.rows is None else [self.rows[i] for i in places],
            {name: [values[i] for i in places] for name, values in self.columns.items()},
            None if self.soft is None else self.soft[list(places)],
            None if self.weights is None else self.weights[list(places)],
        )

    def shares(self, classes: Sequence[str]) -> NDArray[np.float64]:
        """Return how much each row is of each class, shape (rows, classes): a sure label is one of them."""
        index = {label: place for place, label in enumerate(classes)}
        sure = np.zeros((len(self), len(classes)))
        sure[np.arange(len(self)), [index[label] for label in self.labels]] = 1.0
        if self.soft is None:
            return sure
        return np.where(np.isnan(self.soft), sure, self.soft)

    def joined(self, other: Split) -> Split:
        """Return the rows of both; those of the other are groups of their own unless it names some."""
        soft, weights = self.soft, self.weights
        if soft is not None or other.soft is not None:
            width = next(part.shape[1] for part in (soft, other.soft) if part is not None)
            soft = np.concatenate([
                np.full((len(part), width), np.nan) if part.soft is None else part.soft
                for part in (self, other)
            ])  # fmt: skip
        if weights is not None or other.weights is not None:
            weights = np.concatenate([
                np.ones(len(part)) if part.weights is None else part.weights for part in (self, other)
            ])  # fmt: skip
        groups = other.groups or [f"text {text}" for text in other.texts]
        return Split(
            [*self.texts, *other.texts],
            [*self.labels, *other.labels],
            None if self.groups is None else [*self.groups, *groups],
            soft=soft,
            weights=weights,
        )

    def fingerprint(self) -> str:
        """Return the SHA-256 of all texts and labels in order, with what is known beyond these."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for rows in (self.texts, self.labels):
            encoded = [row.encode("utf-8", "surrogatepass") for row in rows]
            digest.update(np.array([len(row) for row in encoded], dtype="<u8").tobytes())
            digest.update(b"".join(encoded))
        for numbers in (self.soft, self.weights):
            if numbers is not None:
                digest.update(numbers.astype("<f8").tobytes())
        return digest.hexdigest()


def as_split(
    frame: pl.DataFrame,
    plan: Plan,
    slice_columns: Sequence[str] | None = None,
    *,
    apart: bool = False,
) -> Split:
    """Return the rows of a frame as a split; `apart` says that they are a set of their own."""
    grouped = plan.group_column is not None and column(plan.group_column) in frame.columns
    return Split(
        frame["text"].to_list(),
        frame["label"].to_list(),
        groups_of(frame, plan) if grouped else None,
        None if apart else [row - 1 for row in frame["row"].to_list()],
        {name: _values(frame[column(name)]) for name in slice_columns or ()},
        frame[SOFT].to_numpy().copy() if SOFT in frame.columns else None,
        frame[WEIGHT].to_numpy().copy() if WEIGHT in frame.columns else None,
    )


def _values(series: pl.Series) -> list[str]:
    return ["(none)" if value is None else str(value) for value in series.to_list()]

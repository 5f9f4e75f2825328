"""A model held against a labelled file, and figures against bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sentiment.data.labels import label_of
from sentiment.errors import DataError, Parameter, UsageError, nearest
from sentiment.records.dialect import find_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sentiment.records.rows import Rows
    from sentiment.scorer import Scorer

Bound = tuple[str, str, float]
"""``min`` or ``max``, metric, limit."""


def score_labelled(
    scorer: Scorer, reader: Rows, label_column: str, names: Mapping[str, str]
) -> tuple[list[str], NDArray[np.float64], int]:
    """Score a labelled file; texts are not kept.

    Parameters
    ----------
    scorer : Scorer
    reader : Reader or Several
    label_column : str
        The column of true labels.
    names : mapping
        Raw label to the model's.

    Returns
    -------
    labels : list of str
        True labels.
    probabilities : float64[n, labels]
    n_null : int
        Rows without text or label, which are left out.

    Raises
    ------
    DataError
        There is no such column.
    """
    labels: list[str] = []
    parts = [np.empty((0, len(scorer.labels)))]
    n_null = 0
    for batch in reader:
        texts = []
        for text, record in zip(batch.texts, batch.records(), strict=True):
            label_column = find_column(list(record), label_column) or label_column
            if label_column not in record:
                raise DataError(
                    f"{reader.path}: no column {label_column!r} (there are: {', '.join(record)}); give ",
                    Parameter("label_column"),
                    nearest(label_column, record),
                )
            label = label_of(record[label_column])
            if text is None or label is None:
                n_null += 1
                continue
            texts.append(text)
            labels.append(names.get(label, label))
        parts.append(scorer.predict(texts).probabilities)
    return labels, np.concatenate(parts), n_null


def missed_bounds(bounds: Sequence[Bound], metrics: Mapping[str, float]) -> list[str]:
    """Return one line per bound that is not met.

    Raises
    ------
    UsageError
        A bound names no metric.
    """
    missed = []
    for side, metric, bound in bounds:
        if metric not in metrics:
            raise UsageError(
                Parameter(f"{side}-{metric}"),
                f": no such metric here{nearest(metric, metrics)} "
                f"(there are: {', '.join(metrics)})",
            )
        value = metrics[metric]
        met = value >= bound if side == "min" else value <= bound
        if not met:
            missed.append(f"{metric} {value:.4f}, {side} {bound:g}")
    return missed

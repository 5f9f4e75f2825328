"""A model held against a labelled file, and figures against bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.data.labels import label_of, none_known
from sentiment.errors import DataError, Parameter, UsageError, nearest
from sentiment.evaluation.answers import Answers, read
from sentiment.evaluation.metrics import evaluate
from sentiment.records.batch import flat
from sentiment.records.dialect import find_column, no_column

if TYPE_CHECKING:
    from sentiment.records.rows import Rows
    from sentiment.scorer import Scorer

Bound = tuple[str, str, float]
"""``min`` or ``max``, metric, limit."""


@dataclass(frozen=True)
class JudgedRows:
    """What a model answered to a labelled file, and how good that is.

    Attributes
    ----------
    answers : Answers
    metrics : dict of str to float
    n_null : int
        Rows without text or label, which are left out.
    """

    answers: Answers
    metrics: dict[str, float]
    n_null: int


def judge_labelled(
    scorer: Scorer,
    reader: Rows,
    label_column: str,
    names: Mapping[str, str],
    *,
    keep: bool = False,
    columns: Sequence[str] = (),
    progress: Callable[[int, float | None], None] | None = None,
) -> JudgedRows:
    """Score a labelled file and measure the answers.

    Parameters
    ----------
    scorer : Scorer
    reader : Reader or Several
    label_column : str
        The column of true labels.
    names : mapping
        Raw label to the model's.
    keep : bool
        Whether texts are kept, and what the model knows of them; memory is then that of the file.
    columns : sequence of str
        Further columns to keep.
    progress : callable, optional
        Told the rows that are done and the share of the file that is read.

    Raises
    ------
    DataError
        There is no such column, no row, or no label that the model knows.
    """
    labels: list[str] = []
    kept: list[str] = []
    values: dict[str, list[str]] = {name: [] for name in columns}
    parts = [np.empty((0, len(scorer.labels)))]
    n_null = 0
    for batch in reader:
        texts = []
        for text, record in zip(batch.texts, map(flat, batch.records()), strict=True):
            label_column = _column(record, label_column, reader, "label_column")
            label = label_of(record[label_column])
            if text is None or label is None:
                n_null += 1
                continue
            texts.append(text)
            labels.append(names.get(label, label))
            for name, own in values.items():
                value = record[_column(record, name, reader, "slice_column")]
                own.append("(none)" if value is None else str(value))
        if keep:
            kept += texts
        parts.append(scorer.predict(texts).probabilities)
        if progress is not None:
            progress(len(labels) + n_null, reader.fraction())
    _check_labels(labels, scorer.labels, reader.path)
    probabilities = np.concatenate(parts)
    metrics = evaluate(
        labels,
        probabilities,
        scorer.labels,
        positive_label=scorer.positive_label,
        decision=scorer.decision,
    )
    answers = Answers(
        kept,
        labels,
        scorer.labels,
        probabilities,
        [scorer.labels[place] for place in scorer.decision.best(probabilities).tolist()],
        scorer.positive_label,
        values,
        read(scorer, kept) if kept and scorer.compiled else None,
        scorer.decision,
    )
    return JudgedRows(answers, metrics, n_null)


def _check_labels(labels: Sequence[str], known: Sequence[str], path: str) -> None:
    if not labels:
        raise DataError(f"{path}: holds no row with text and label")
    if told := none_known(labels, known):
        raise DataError(
            f"{path}: its labels {told}; name them: ", Parameter("label_name", "RAW=LABEL")
        )


def _column(record: Mapping[str, Any], name: str, reader: Rows, option: str) -> str:
    found = find_column(list(record), name)
    if found is None:
        raise DataError(f"{reader.path}: ", *no_column(name, record, Parameter(option)))
    return found


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

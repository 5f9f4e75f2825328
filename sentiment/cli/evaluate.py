"""``sentiment evaluate``: every metric of a model on a labelled file, and a gate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentiment.cli.console import emit_json
from sentiment.cli.output_dir import OutputDir
from sentiment.cli.predict import Model, load
from sentiment.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    from sentiment.records.reader import Reader
    from sentiment.scorer import Scorer

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def evaluate(
    context: typer.Context,
    input: Annotated[  # noqa: A002 - the name of the option
        str, typer.Option("--input", "-i", metavar="FILE|-", help="Labelled rows.")
    ],
    label_column: Annotated[str, typer.Option(help="Column that holds the true label.")] = "label",
    text_column: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    label_name: Annotated[
        list[str] | None,
        typer.Option(metavar="RAW=LABEL", help="What the file calls a label: 0=negative."),
    ] = None,
    format: Annotated[  # noqa: A002 - the name of the option
        str | None, typer.Option(help="Format of the input: csv, tsv, jsonl, parquet.")
    ] = None,
    model: Model = None,
    output_dir: OutputDir = Path("outputs"),
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Measure a model on a labelled file.

    Gate a pipeline with --min-accuracy 0.9, or --min-METRIC X and --max-METRIC X for any metric
    that is printed: the exit code is 1 when one is not met.
    """
    bounds = parse_bounds(context.args)
    from sentiment.records.reader import Reader, find_format

    kind = find_format(input, format, otherwise="jsonl")
    with Reader(input, kind, text_column=text_column) as reader:
        scorer = load(model, output_dir)
        labels, probabilities, n_null = read_answers(
            scorer, reader, label_column, _label_names(label_name)
        )
    if not labels:
        raise DataError(f"{input}: holds no row with text and label")
    if not set(labels) & set(scorer.labels):
        raise DataError(
            f"{input}: its labels ({', '.join(sorted(set(labels))[:5])}) are none of the model's "
            f"({', '.join(scorer.labels)}); name them: --label-name RAW=LABEL"
        )
    from sentiment.evaluation.metrics import evaluate as measure

    metrics = measure(labels, probabilities, scorer.labels, positive_label=scorer.positive_label)
    missed = check_bounds(bounds, metrics)
    if json:
        emit_json(
            {
                "model": scorer.digest,
                "input": input,
                "n": len(labels),
                "n_skipped": n_null,
                "metrics": metrics,
                "missed": missed,
            }
        )
    else:
        print(f"{'rows':24} {len(labels)}")
        for name, value in metrics.items():
            whole = name.endswith(("positives", "negatives"))
            shown = f"{value:.0f}" if whole else f"{value:.4f}"
            print(f"{name:24} {shown}")
    if n_null:
        print(f"{n_null} rows without text or label were left out", file=sys.stderr)
    for line in missed:
        print(f"not met: {line}", file=sys.stderr)
    if missed:
        raise typer.Exit(1)


Bound = tuple[str, str, float]


def parse_bounds(arguments: list[str]) -> list[Bound]:
    """Read ``--min-METRIC X`` and ``--max-METRIC X`` from the words Typer does not know.

    Returns
    -------
    list of (str, str, float)
        ``min`` or ``max``, metric, bound.

    Raises
    ------
    UsageError
        Another word stands there, or X is no number.
    """
    bounds: list[Bound] = []
    words = iter(arguments)
    for word in words:
        option, separator, value = word.partition("=")
        side, _, metric = option.removeprefix("--").partition("-")
        if not option.startswith("--") or side not in ("min", "max") or not metric:
            known = ["--input", "--label-column", "--text-column", "--label-name", "--model"]
            raise UsageError(f"no such option or argument: {word}{nearest(option, known)}")
        if not separator:
            value = next(words, "")
        try:
            bounds.append((side, metric.replace("-", "_"), float(value)))
        except ValueError:
            raise UsageError(f"{option} needs a number, not {value!r}") from None
    return bounds


def check_bounds(bounds: list[Bound], metrics: dict[str, float]) -> list[str]:
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
                f"--{side}-{metric}: no such metric here{nearest(metric, metrics)} "
                f"(there are: {', '.join(metrics)})"
            )
        value = metrics[metric]
        met = value >= bound if side == "min" else value <= bound
        if not met:
            missed.append(f"{metric} {value:.4f}, {side} {bound:g}")
    return missed


def _label_names(words: list[str] | None) -> dict[str, str]:
    names = {}
    for word in words or ():
        raw, separator, label = word.partition("=")
        if not separator:
            raise UsageError(f"--label-name {word}: write RAW=LABEL, e.g. 0=negative")
        names[raw] = label
    return names


def read_answers(
    scorer: Scorer, reader: Reader, label_column: str, names: dict[str, str]
) -> tuple[list[str], Any, int]:
    """Score a labelled file; texts are not kept.

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
    import numpy as np

    labels: list[str] = []
    parts = [np.empty((0, len(scorer.labels)))]
    n_null = 0
    for batch in reader:
        texts = []
        for text, record in zip(batch.texts, batch.records(), strict=True):
            if label_column not in record:
                raise DataError(
                    f"{reader.path}: no column {label_column!r} (there are: {', '.join(record)}); "
                    f"give --label-column{nearest(label_column, record)}"
                )
            label = record[label_column]
            if text is None or label is None or label == "":
                n_null += 1
                continue
            texts.append(text)
            labels.append(names.get(str(label), str(label)))
        parts.append(scorer.predict(texts).probabilities)
    return labels, np.concatenate(parts), n_null

"""``sentiment evaluate``: every metric of a model on a labelled file, and a gate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment.cli.console import emit_json, few_metrics
from sentiment.cli.options import INPUT, Delimiter, Encoding, Quote
from sentiment.cli.output_dir import OutputDir
from sentiment.cli.predict import Model, load
from sentiment.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    from sentiment.evaluation.labelled import Bound

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def evaluate(
    context: typer.Context,
    input: Annotated[  # noqa: A002 - the name of the option
        str, typer.Option("--input", "-i", metavar=INPUT, help="Labelled rows.")
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
    delimiter: Delimiter = None,
    quote: Quote = None,
    encoding: Encoding = None,
    output_dir: OutputDir = Path("outputs"),
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Measure a model on a labelled file.

    Gate a pipeline with --min-accuracy 0.9, or --min-METRIC X and --max-METRIC X for any metric
    that is printed: the exit code is 1 when one is not met.
    """
    bounds = parse_bounds(context.args)
    from sentiment.evaluation.labelled import missed_bounds, score_labelled
    from sentiment.records.dialect import Dialect
    from sentiment.records.rows import open_rows

    with open_rows(
        input,
        format,
        otherwise="jsonl",
        text_column=text_column,
        dialect=Dialect(delimiter, quote, encoding),
    ) as reader:
        scorer = load(model, output_dir)
        labels, probabilities, n_null = score_labelled(
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
    missed = missed_bounds(bounds, metrics)
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
        shown_names, note = few_metrics(list(metrics), metrics.__getitem__)
        for name in shown_names:
            value = metrics[name]
            whole = name.endswith(("positives", "negatives"))
            shown = f"{value:.0f}" if whole else f"{value:.4f}"
            print(f"{name:24} {shown}")
        if note:
            print(note, file=sys.stderr)
    if n_null:
        print(f"{n_null} rows without text or label were left out", file=sys.stderr)
    for line in missed:
        print(f"not met: {line}", file=sys.stderr)
    if missed:
        raise typer.Exit(1)


def parse_bounds(arguments: list[str]) -> list[Bound]:
    """Read ``--min-METRIC X`` and ``--max-METRIC X`` from the words Typer does not know.

    Returns
    -------
    list of Bound

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


def _label_names(words: list[str] | None) -> dict[str, str]:
    names = {}
    for word in words or ():
        raw, separator, label = word.partition("=")
        if not separator:
            raise UsageError(f"--label-name {word}: write RAW=LABEL, e.g. 0=negative")
        names[raw] = label
    return names

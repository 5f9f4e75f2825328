"""``sentiment evaluate``: every metric of a model on a labelled file, and a gate."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment.cli.console import Meter, emit_json, stdout
from sentiment.cli.options import INPUT, Delimiter, Encoding, Quote, own_options
from sentiment.cli.output_dir import OutputDir
from sentiment.cli.predict import Model, load
from sentiment.errors import UsageError, nearest

if TYPE_CHECKING:
    from rich.table import Table

    from sentiment.evaluation.answers import Answers
    from sentiment.evaluation.labelled import Bound, JudgedRows
    from sentiment.evaluation.slices import Slice
    from sentiment.scorer import Scorer

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}
_CLASSES, _MATRIX = 10, 8


def evaluate(
    context: typer.Context,
    input: Annotated[  # noqa: A002 - the name of the option
        str | None,
        typer.Option("--input", "-i", metavar=INPUT, help="Labelled rows; not with --behavior."),
    ] = None,
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
    slices: Annotated[
        bool,
        typer.Option("--slices", help="Judge kinds of texts: length, negation, unknown words."),
    ] = False,
    slice_column: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Judge each value of a column too; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write each row's answer and what speaks for it."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page about the model.")
    ] = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    encoding: Encoding = None,
    output_dir: OutputDir = Path("outputs"),
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Measure a model on a labelled file, or test its behaviour.

    --behavior runs behavioural tests of sentiment in English, --behavior FILE.yaml your own (the
    comments of the one that is shipped say how); the exit code is 1 when a test fails.

    Gate a pipeline with --min-accuracy 0.9, or --min-METRIC X and --max-METRIC X for any metric
    that is printed: the exit code is 1 when one is not met.
    """
    asked, file, arguments = _behavior(context.args)
    bounds = _bounds(arguments, [*own_options(context), "--behavior"])
    if asked:
        if input is not None or bounds or report or output or slices or slice_column:
            raise UsageError("--behavior makes its own texts: leave out --input and what is for it")
        _test_behavior(file, load(model, output_dir), json=json)
        return
    if input is None:
        raise UsageError("--input FILE names the labelled rows (or --behavior tests without any)")
    from sentiment.evaluation.labelled import judge_labelled, missed_bounds
    from sentiment.evaluation.slices import make_slices
    from sentiment.files import check_no_input
    from sentiment.records.dialect import Dialect
    from sentiment.records.rows import open_rows

    _check_targets(output, report)
    by_slice = slices or bool(slice_column)
    with (
        Meter() as meter,
        open_rows(
            input,
            format,
            otherwise="jsonl",
            text_column=text_column,
            dialect=Dialect(delimiter, quote, encoding),
        ) as reader,
    ):
        if output is not None:
            check_no_input(output, reader.files)
        scorer = load(model, output_dir)
        judged = judge_labelled(
            scorer, reader, label_column, _label_names(label_name),
            keep=by_slice or bool(output or report), columns=slice_column or (),
            progress=meter,
        )  # fmt: skip
    answers, metrics = judged.answers, judged.metrics
    missed = missed_bounds(bounds, metrics)
    sliced = make_slices(answers) if by_slice or report else []
    if output is not None:
        _write_rows(output, answers, scorer)
    if report is not None:
        _write_report(report, judged, scorer, input, sliced)
    if json:
        emit_json(
            {
                "model": scorer.digest,
                "input": input,
                "n": len(answers),
                "n_skipped": judged.n_null,
                "metrics": metrics,
                "missed": missed,
                "classes": list(scorer.labels),
                "confusion": answers.confusion.tolist(),
                **({"slices": [asdict(one) for one in sliced]} if by_slice else {}),
            }
        )
    else:
        _show(answers, metrics, sliced if by_slice else [])
    if judged.n_null:
        print(f"{judged.n_null} rows without text or label were left out", file=sys.stderr)
    for line in missed:
        print(f"not met: {line}", file=sys.stderr)
    if missed:
        raise typer.Exit(1)


def _check_targets(output: Path | None, report: Path | None) -> None:
    from sentiment.files import PAGES, check_target
    from sentiment.records.writer import TABLES

    if output is not None:
        check_target(output, *TABLES)
    if report is not None:
        check_target(report, *PAGES)


def _write_rows(output: Path, answers: Answers, scorer: Scorer) -> None:
    from sentiment.evaluation.rows import COLUMNS, answered_rows
    from sentiment.records.writer import write_table

    with Meter() as meter:
        rows = answered_rows(answers, scorer, meter)
    write_table(output, rows, COLUMNS)


def _write_report(
    report: Path, judged: JudgedRows, scorer: Scorer, where: str, slices: list[Slice]
) -> None:
    from sentiment.evaluation.report import Facts, model_report
    from sentiment.files import write_whole

    facts = Facts(
        f"{scorer.digest[:12]} on {where}", judged.metrics, "labelled rows",
        about={"model": scorer.digest, "input": where},
    )  # fmt: skip
    explains = scorer if scorer.compiled else None
    write_whole(report, model_report(judged.answers, facts, explains, slices))


def _behavior(words: list[str]) -> tuple[bool, Path | None, list[str]]:
    """Take ``--behavior [FILE]`` out of the words that Typer does not know."""
    for place, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option != "--behavior":
            continue
        rest = words[:place] + words[place + 1 :]
        if not equals and place < len(rest) and not rest[place].startswith("-"):
            value = rest.pop(place)
        return True, Path(value) if value else None, rest
    return False, None, words


def _test_behavior(file: Path | None, scorer: Scorer, *, json: bool) -> None:
    from sentiment.evaluation.behavior import load_suite, run_suite, told

    found = run_suite(load_suite(file), scorer.predict, scorer.labels)
    if json:
        emit_json({"model": scorer.digest, **found.to_dict()})
    else:
        from rich.table import Table

        table = Table(title=f"{found.pass_rate:.1%} of cases pass, by {found.source}")
        for column in ("test", "kind", "cases", "failed", "allowed", ""):
            table.add_column(column, justify="right" if column in ("cases", "failed") else "left")
        for one in found.findings:
            table.add_row(
                one.name, one.kind, f"{one.cases:,}", f"{one.failures:,}", f"{one.allow:.0%}",
                "ok" if one.passed else "FAIL",
            )  # fmt: skip
        stdout().print(table)
        for line in told(found):
            stdout().print(line)
    if not found.passed:
        raise typer.Exit(1)


def _show(answers: Answers, metrics: dict[str, float], slices: list[Slice]) -> None:
    from sentiment.evaluation.metrics import is_bound, leading

    print(f"{'rows':24} {len(answers)}")
    own = ("precision_", "recall_", "f1_score_")
    for name in leading(metrics, rare=answers.rare):
        if is_bound(name, metrics) or (len(answers.classes) > 2 and name.startswith(own)):
            continue  # beside its figure, or in the table below
        whole, low = name.endswith(("positives", "negatives")), metrics.get(f"{name}_low")
        span = "" if low is None else f" [{low:.4f}, {metrics[f'{name}_high']:.4f}]"
        print(f"{name:24} {f'{metrics[name]:.0f}' if whole else f'{metrics[name]:.4f}'}{span}")
    console = stdout()
    console.print(_class_table(answers))
    console.print(_error_table(answers))
    if len(answers.classes) > _CLASSES:
        note = (
            f"of {len(answers.classes):,} classes, the {_CLASSES} with the lowest F1 are shown; "
            "--json has all"
        )
        print(note, file=sys.stderr)
    if slices:
        console.print(_slice_table(slices))


def _class_table(answers: Answers) -> Table:
    from rich.table import Table

    from sentiment.evaluation.by_class import per_class

    table = Table(title="classes, the lowest F1 first")
    for column in ("class", "rows", "precision", "recall", "F1"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, rows, *figures in per_class(answers)[:_CLASSES]:
        table.add_row(name, f"{rows:,}", *(f"{figure:.4f}" for figure in figures))
    return table


def _error_table(answers: Answers) -> Table:
    """Return the confusion matrix; of many classes, what is taken for what most often."""
    from rich.table import Table

    from sentiment.evaluation.by_class import confused

    if len(answers.classes) <= _MATRIX:
        table = Table(title="confusion: true classes in rows, answers in columns")
        for column in ("", *answers.classes):
            table.add_column(column, justify="right" if column else "left")
        for name, counts in zip(answers.classes, answers.confusion.tolist(), strict=True):
            table.add_row(name, *(f"{count:,}" for count in counts))
        return table
    table = Table(title="most frequent errors")
    for column in ("true", "answered", "rows", "of the class"):
        table.add_column(column, justify="right" if column.startswith(("rows", "of")) else "left")
    for true, said, count, share in confused(answers):
        table.add_row(true, said, f"{count:,}", f"{share:.1%}")
    return table


def _slice_table(slices: list[Slice]) -> Table:
    from rich.table import Table

    table = Table(title="slices")
    for column in ("slice", "rows", "accuracy", "95 % interval", "others", "p", ""):
        table.add_column(column, justify="left" if column in ("slice", "") else "right")
    for one in slices:
        table.add_row(
            one.name, f"{one.rows:,}", f"{one.accuracy:.4f}", f"{one.low:.4f} to {one.high:.4f}",
            f"{one.rest:.4f}", f"{one.p_value:.2g}", "worse" if one.worse else "",
        )  # fmt: skip
    return table


def _bounds(arguments: list[str], known: list[str]) -> list[Bound]:
    """Read ``--min-METRIC X`` and ``--max-METRIC X`` from the words that Typer does not know."""
    bounds: list[Bound] = []
    words = iter(arguments)
    for word in words:
        option, separator, value = word.partition("=")
        side, _, metric = option.removeprefix("--").partition("-")
        if not option.startswith("--") or side not in ("min", "max") or not metric:
            raise UsageError(f"no such option or argument: {word}{nearest(option, known)}")
        if not separator:
            value = next(words, "")
        try:
            bound = float(value)
        except ValueError:
            bound = math.nan
        if math.isnan(bound):  # NaN would be met by everything, or by nothing
            raise UsageError(f"{option} needs a number, not {value!r}")
        bounds.append((side, metric.replace("-", "_"), bound))
    return bounds


def _label_names(words: list[str] | None) -> dict[str, str]:
    names = {}
    for word in words or ():
        raw, separator, label = word.partition("=")
        if not separator:
            raise UsageError(f"--label-name {word}: write RAW=LABEL, e.g. 0=negative")
        names[raw] = label
    return names

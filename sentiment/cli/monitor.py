"""``sentiment monitor``: tell whether what the model sees has drifted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentiment.cli import console
from sentiment.cli.options import INPUT, Delimiter, Encoding, Quote
from sentiment.cli.output_dir import OutputDir
from sentiment.cli.predict import Model, load

if TYPE_CHECKING:
    from rich.table import Table

_ANSWERS = 500  # the last ones, as in the service's window


def monitor(
    input: Annotated[  # noqa: A002 - the name of the option
        str, typer.Option("--input", "-i", metavar=INPUT, help="A file of texts.")
    ],
    text_column: Annotated[
        str, typer.Option(help="Column of the file that holds the text.")
    ] = "text",
    format: Annotated[  # noqa: A002 - the name of the option
        str | None, typer.Option(help="Format of the input: csv, tsv, jsonl, parquet, lines.")
    ] = None,
    limits: Annotated[
        str, typer.Option("--limits", help="Limits that differ, e.g. score=0.4,words=0.1.")
    ] = "",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a report, one HTML page.")
    ] = None,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="Exit with 1 when there is drift.")
    ] = False,
    model: Model = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    encoding: Encoding = None,
    output_dir: OutputDir = Path("outputs"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Tell whether texts have drifted from what the model was made for; needs no labels.

    The numbers of the service's GET /model/drift, offline: drift of scores, labels, lengths and
    words, the words that moved, the words that the model does not know, the share that it answers
    (of a model that withholds unsure answers), an estimate of the accuracy, and what feedback about
    this model says of it. A file is CSV, TSV, JSON Lines,
    Parquet or plain lines, told by its name.
    """
    from sentiment.drift.monitor import monitor_texts
    from sentiment.drift.signals import parse_limits
    from sentiment.errors import DataError
    from sentiment.feedback import observed, place_of
    from sentiment.files import PAGES, check_target, write_whole
    from sentiment.records.dialect import Dialect
    from sentiment.records.rows import open_rows

    own_limits = parse_limits(limits)
    if html is not None:
        check_target(html, *PAGES)
    reader = open_rows(
        input,
        format,
        otherwise="lines",
        text_column=text_column,
        dialect=Dialect(delimiter, quote, encoding),
    )
    scorer = load(model, output_dir)
    right, answered = observed(place_of(output_dir), scorer.digest, _ANSWERS)
    told = (right, answered) if answered else None
    with reader:
        document = monitor_texts(scorer, (batch.texts for batch in reader), own_limits, told)
    if not document["texts"]:
        raise DataError(f"{input}: holds no text")
    document = {"input": "standard input" if input == "-" else Path(input).name, **document}
    if html is not None:
        from sentiment.drift.report import html_report

        write_whole(html, html_report(document))
        console.stderr().print(f"report: {html}")
    if json:
        console.emit_json(document)
    else:
        _print(document)
    if fail_on_drift and document["drift"]:
        raise typer.Exit(1)


def _print(document: dict[str, Any]) -> None:
    from rich.text import Text

    out = console.stdout()
    verdict = {
        True: Text("drift", "bold red"),
        False: Text("no drift", "bold green"),
        None: Text(f"too few texts to tell (fewer than {document['minimum_texts']})"),
    }[document["drift"]]
    reference = document["reference"]
    out.print(
        Text.assemble(
            f"{document['input']}: ",
            verdict,
            f" in {document['texts']:,} texts, "
            f"against {reference['texts']:,} {reference['name']} texts",
        )
    )
    out.print(_signal_table(document["signals"]))
    out.print(_share_table(document))
    words = document["words"]
    named = [
        ("used more", [word["word"] for word in words["more"]]),
        ("used less", [word["word"] for word in words["less"]]),
        ("unknown", [word["word"] for word in document["new_words"]]),
    ]
    for title, found in named:
        out.print(f"{title + ':':<11}{', '.join(found) or 'none beyond chance'}")


def _signal_table(signals: dict[str, Any]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    table.add_column("signal")
    table.add_column("value", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("drift")
    table.add_column("what it is", style="dim")
    words = {True: Text("yes", "red"), False: Text("no", "green"), None: Text("?")}
    for name, signal in signals.items():
        if signal["value"] is not None:
            table.add_row(
                name,
                f"{signal['value']:.3f}",
                f"{signal['limit']:.3f}",
                words[signal["drift"]],
                signal["meaning"],
            )
    return table


def _share_table(document: dict[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    from sentiment.drift.report import accuracies, shares

    table = Table(box=box.SIMPLE)
    for title in ("", "here", "reference"):
        table.add_column(title, justify="left" if not title else "right")

    for name, window, usual, band in shares(document):
        table.add_row(name, _shown(window), _shown(usual))
        if band is not None:
            table.add_row("  no drift between", "", f"{band[0]:.1%} to {band[1]:.1%}")
    for name, window, usual, _ in accuracies(document):
        table.add_row(f"accuracy, {name}", _shown(window), _shown(usual))
    return table


def _shown(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"

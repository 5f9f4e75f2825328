"""``sentiment predict``: texts, files and streams."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentiment.cli.console import Meter
from sentiment.cli.options import INPUT, Delimiter, Encoding, Quote
from sentiment.cli.output_dir import OutputDir
from sentiment.errors import UsageError

if TYPE_CHECKING:
    from sentiment.batch import Summary
    from sentiment.parts import PlannedParts
    from sentiment.records.rows import Rows
    from sentiment.records.suffixes import Format
    from sentiment.scorer import Scorer


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="REF",
        help="A directory, latest, champion, a digest, runs:/… or models:/….",
    ),
]


def predict(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to classify.")] = None,
    input: Annotated[  # noqa: A002 - the name of the option
        str | None, typer.Option("--input", "-i", metavar=INPUT, help="Read rows from files.")
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|URL|-", help="Write rows to a file.")
    ] = "-",
    text_column: Annotated[
        str, typer.Option(help="Column of the file that holds the text.")
    ] = "text",
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Below it no label is given; by default as the model decides."
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=0, help="Write only the probabilities of so many labels."),
    ] = None,
    no_probabilities: Annotated[
        bool, typer.Option("--no-probabilities", help="Write labels and confidence alone.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows scored at a time.")] = 512,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; by default one per core for large files.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    engine: Annotated[
        str, typer.Option(help="local; ray or spark: one part of the output for each file.")
    ] = "local",
    engine_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Of a cluster: auto, ray://…, spark://… (this machine)."
        ),
    ] = None,
    line_buffered: Annotated[
        bool, typer.Option("--line-buffered", help="Answer each line of stdin at once.")
    ] = False,
    format: Annotated[  # noqa: A002 - the name of the option
        str | None,
        typer.Option(help="Format of the input: csv, tsv, jsonl, parquet, lines."),
    ] = None,
    output_format: Annotated[
        str | None, typer.Option(help="Format of the output, where its name does not tell.")
    ] = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    encoding: Encoding = None,
    model: Model = None,
    output_dir: OutputDir = Path("outputs"),
    json: Annotated[bool, typer.Option("--json", help="One JSON object per text.")] = False,
) -> None:
    """Classify texts, or every row of a file.

    A file is CSV, TSV, JSON, JSON Lines, Parquet or plain lines (one text a line), told by its name and
    perhaps compressed (.gz, .bz2, .zst). Several are read as one: a.csv,b.csv, a folder (partitions such
    as year=2026/ become columns), a glob in quotes; on this machine or at s3://, gs://, abfs://, https://
    and hf:// (extras s3, gcs, azure). Every row stays, in order, with label, confidence and
    probabilities added; a row without text has an empty label. A note says where there was no text,
    where the model knows no word of it, and where the label was withheld.
    """
    if no_probabilities:
        top = 0
    if min_confidence is not None and math.isnan(min_confidence):  # which no range leaves out
        raise UsageError("--min-confidence nan: give a number from 0 to 1")
    if texts and input is not None:
        raise UsageError("give texts or --input FILE, not both")
    if not texts and input is None:
        raise UsageError('nothing to predict: give a text ("…"), or --input FILE (- for stdin)')
    if texts:
        if output != "-":
            raise UsageError("--output goes with --input FILE; texts are answered on stdout")
        _predict_texts(load(model, output_dir), texts, min_confidence, top, json=json)
        return
    from sentiment.records.dialect import Dialect
    from sentiment.records.formats import find_format
    from sentiment.records.rows import open_rows

    assert input is not None
    if engine != "local":
        if resume or line_buffered or workers is not None:
            raise UsageError(
                f"--engine {engine} goes without --resume, --line-buffered and --workers"
            )
        from sentiment.parts import plan_parts

        plan = plan_parts(
            input, output, kind=format, output_format=output_format, text_column=text_column,
            dialect=Dialect(delimiter, quote, encoding), force=force,
        )  # fmt: skip
        _predict_parts(
            model, output_dir, plan, engine, engine_address,
            min_confidence=min_confidence, top=top, batch_size=batch_size,
        )  # fmt: skip
        return
    if json and output_format is None and output == "-":
        output_format = "jsonl"
    if input == "-" and (line_buffered or sys.stdin.isatty()):
        batch_size = 1
    if output_format == "parquet" and output == "-":  # before a word of the input is read
        raise UsageError("Parquet cannot be written to standard output: give --output FILE.parquet")
    reader = open_rows(
        input,
        format,
        otherwise="lines",
        text_column=text_column,
        batch_size=batch_size,
        dialect=Dialect(delimiter, quote, encoding),
    )
    write_as = find_format(
        output, output_format, otherwise="csv" if reader.kind == "parquet" else reader.kind
    )
    _predict_file(
        load(model, output_dir),
        reader,
        output,
        write_as,
        min_confidence=min_confidence,
        top=top,
        workers=workers,
        resume=resume,
        force=force,
        line_buffered=batch_size == 1,
    )


def load(model: str | None, output_dir: Path) -> Scorer:
    """Find and load a model, and name it on stderr."""
    from sentiment.registry.lookup import find_model
    from sentiment.scorer import Scorer

    stored = find_model(model, output_dir)
    scorer = Scorer.load(stored.path, digest=stored.digest)
    slower = "" if scorer.compiled else "; it does not compile: scikit-learn answers, slower"
    print(f"model: {stored}{slower}", file=sys.stderr)
    return scorer


def _predict_texts(
    scorer: Scorer, texts: list[str], min_confidence: float | None, top: int | None, *, json: bool
) -> None:
    from sentiment.answering import score_texts

    # Bytes of the command line that are no UTF-8 arrive as surrogates.
    texts = [text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in texts]
    answers = score_texts(scorer, texts, min_confidence)
    if json:
        from sentiment.records.batch import Batch
        from sentiment.records.writer import Writer

        sys.stdout.flush()
        least = scorer.decision.least(min_confidence)
        Writer(sys.stdout.buffer, "jsonl", scorer.labels, withholds=least > 0.0, top=top).write(
            Batch(list(texts)), answers
        )
        return
    for label, number, _, note, withheld in zip(*answers, strict=True):
        shown = "" if number is None else f"{number:.4f}"
        said = f"{note}: would be {withheld}" if withheld else note
        print("\t".join([label or "", shown, *([said] if said else [])]))


def _predict_file(
    scorer: Scorer,
    reader: Rows,
    output: str,
    output_format: Format,
    *,
    min_confidence: float | None,
    top: int | None,
    workers: int | None,
    resume: bool,
    force: bool,
    line_buffered: bool,
) -> None:
    from sentiment.batch import score_file
    from sentiment.records.target import partial_of

    meter = Meter()
    try:
        summary = score_file(
            scorer,
            reader,
            output,
            output_format,
            min_confidence=min_confidence,
            top=top,
            workers=workers,
            resume=resume,
            force=force,
            line_buffered=line_buffered,
            progress=None if line_buffered else meter,
        )
    except KeyboardInterrupt:
        meter.clear()
        if output != "-" and meter.rows and partial_of(output).exists():
            print(f"{meter.rows} rows are kept; --resume goes on", file=sys.stderr)
        raise
    finally:
        meter.clear()
    print(_describe(summary), file=sys.stderr)


def _describe(summary: Summary) -> str:
    done = summary.n_rows - summary.n_resumed
    parts = [f"{summary.n_rows} rows in {summary.seconds:.1f} s"]
    if summary.seconds > 0 and done:
        parts[0] += f" ({done / summary.seconds:.0f} rows/s)"
    if summary.n_resumed:
        parts.append(f"{summary.n_resumed} of them from before")
    if summary.n_null:
        parts.append(f"{summary.n_null} without text")
    if summary.n_unknown:
        parts.append(f"{summary.n_unknown} of which no word is known")
    if summary.n_abstained:
        parts.append(f"{summary.n_abstained} abstained")
    return ", ".join(parts)


def _predict_parts(
    model: str | None,
    output_dir: Path,
    plan: PlannedParts,
    engine_name: str,
    address: str | None,
    **options: Any,
) -> None:
    from sentiment import engines
    from sentiment.parts import nothing_begun, score_parts
    from sentiment.registry.lookup import find_model

    stored = find_model(model, output_dir)
    print(f"model: {stored}", file=sys.stderr)
    # Once the engine has ended: its tasks end with it.
    with nothing_begun(plan.output), engines.engine(engine_name, address) as engine:
        summary = score_parts(stored.path, stored.digest, plan, engine, **options)
    print(_describe(summary), file=sys.stderr)
